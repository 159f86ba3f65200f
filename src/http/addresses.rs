//! How many connections each address has open: none may take all of them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Counts by IPv4 address and by IPv6 /64, which is what one customer gets.
pub struct Addresses {
    most: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

impl Addresses {
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, open: Mutex::default() })
    }

    /// A place, unless the address has as many as it may.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = block(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Place { addresses: Arc::clone(self), address })
    }
}

fn block(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

/// One open connection.
pub struct Place {
    addresses: Arc<Addresses>,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.addresses.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_places_and_gets_them_back() {
        let addresses = Addresses::new(2);
        let enter = |text: &str| addresses.enter(text.parse().expect("an address"));
        let places = (enter("192.0.2.1"), enter("::ffff:192.0.2.1"));
        assert!(places.0.is_some() && places.1.is_some());
        assert!(enter("192.0.2.1").is_none());
        assert!(enter("192.0.2.2").is_some());
        let six = (enter("2001:db8:0:1::1"), enter("2001:db8:0:1:ffff::2"));
        assert!(six.0.is_some() && six.1.is_some() && enter("2001:db8:0:1::3").is_none(), "one customer");
        assert!(enter("2001:db8:0:2::3").is_some());
        drop(places);
        assert!(enter("192.0.2.1").is_some());
        drop(six);
        assert!(addresses.open.lock().expect("not poisoned").is_empty());
    }
}
