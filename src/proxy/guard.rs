//! Which addresses the proxy may connect to. A name is resolved once and the connection goes to
//! the very addresses that were checked, so a second answer from DNS changes nothing.
//!
//! Refused always: link-local and metadata addresses, multicast, reserved and unspecified ones,
//! our own listeners and PostgreSQL, in each of the forms that IPv6 has for an IPv4 address.
//! Refused unless the tool allows it: private and loopback addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// What a tool's owner allows the proxy to reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reach {
    Public,
    /// Loopback, RFC 1918 and their like too.
    Private,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum GuardError {
    #[error("{0} is a link-local or metadata address")]
    LinkLocal(IpAddr),
    #[error("{0} is reserved, multicast or unspecified")]
    Reserved(IpAddr),
    #[error("{0} is one of the gateway's own listeners or its database")]
    Own(SocketAddr),
    #[error("{0} is a private address, which this tool does not allow")]
    Private(IpAddr),
    #[error("the upstream's name has no address")]
    NoAddress,
}

enum Class {
    Public,
    Private,
    LinkLocal,
    Reserved,
}

/// Holds the addresses that are ours.
#[derive(Debug)]
pub struct Guard {
    own: Vec<SocketAddr>,
}

impl Guard {
    /// `own`: listeners and database addresses; an unspecified one stands for each local address.
    pub fn new(own: Vec<SocketAddr>) -> Self {
        Self { own }
    }

    /// Checks all addresses of one answer; a single bad one refuses the whole.
    pub fn check_all(&self, addresses: &[SocketAddr], reach: Reach) -> Result<(), GuardError> {
        if addresses.is_empty() {
            return Err(GuardError::NoAddress);
        }
        addresses.iter().try_for_each(|address| self.check(*address, reach))
    }

    pub fn check(&self, address: SocketAddr, reach: Reach) -> Result<(), GuardError> {
        let ip = plain(address.ip());
        match classify(ip) {
            Class::LinkLocal => return Err(GuardError::LinkLocal(ip)),
            Class::Reserved => return Err(GuardError::Reserved(ip)),
            Class::Private if reach == Reach::Public => return Err(GuardError::Private(ip)),
            Class::Private | Class::Public => {}
        }
        if self.own.iter().any(|own| own.port() == address.port() && same_host(own.ip(), ip)) {
            return Err(GuardError::Own(address));
        }
        Ok(())
    }
}

/// Whether a listener bound to `own` answers on `ip`.
fn same_host(own: IpAddr, ip: IpAddr) -> bool {
    let own = plain(own);
    own == ip || own.is_unspecified() && is_local(ip) || own.is_loopback() && ip.is_loopback()
}

/// An address is ours when the kernel lets us bind to it; nothing is sent.
fn is_local(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

/// IPv4-mapped addresses are the IPv4 address that the kernel will connect to.
fn plain(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    }
}

fn classify(ip: IpAddr) -> Class {
    match ip {
        IpAddr::V4(v4) => classify_v4(v4),
        IpAddr::V6(v6) => classify_v6(v6),
    }
}

fn classify_v4(ip: Ipv4Addr) -> Class {
    match ip.octets() {
        [169, 254, ..] => Class::LinkLocal,
        // Metadata and host services outside link-local: Alibaba, Oracle, Azure's wire server.
        [100, 100, 100, 200] | [192, 0, 0, 192] | [168, 63, 129, 16] => Class::LinkLocal,
        [0, ..] | [224..=255, ..] => Class::Reserved,
        [10 | 127, ..] | [172, 16..=31, ..] | [192, 168, ..] => Class::Private,
        // RFC 6598 shared space, RFC 6890 protocol assignments, RFC 2544 benchmarking.
        [100, 64..=127, ..] | [192, 0, 0, _] | [198, 18..=19, ..] => Class::Private,
        // RFC 5737 documentation, RFC 7526 6to4 relays.
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] | [192, 88, 99, _] => Class::Reserved,
        _ => Class::Public,
    }
}

fn classify_v6(ip: Ipv6Addr) -> Class {
    let segments = ip.segments();
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        classify_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        [0, 0, 0, 0, 0, 0, 0, 1] => Class::Private,
        // Metadata on EC2 and on Google Cloud.
        [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254] | [0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254] => Class::LinkLocal,
        // IPv4-compatible (deprecated): nothing real lives there.
        [0, 0, 0, 0, 0, 0, ..] => Class::Reserved,
        // Mapped ones are already plain; translated ones (RFC 2765) are like them.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => embedded(high, low),
        // NAT64, RFC 6052 and the local-use prefix of RFC 8215.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x64, 0xff9b, 1, ..] => Class::Reserved,
        // 6to4 and Teredo, whose client address is inverted.
        [0x2002, high, low, ..] => embedded(high, low),
        [0x2001, 0, _, _, _, _, high, low] => match embedded(!high, !low) {
            Class::Public => Class::Public,
            _ => Class::Reserved,
        },
        // Documentation, discard-only.
        [0x2001, 0x0db8, ..] | [0x0100, 0, 0, 0, ..] => Class::Reserved,
        [first, ..] if first & 0xffc0 == 0xfe80 => Class::LinkLocal,
        [first, ..] if first & 0xffc0 == 0xfec0 => Class::Private,
        [first, ..] if first & 0xfe00 == 0xfc00 => Class::Private,
        [first, ..] if first & 0xff00 == 0xff00 => Class::Reserved,
        // Only 2000::/3 is assigned.
        [first, ..] if first & 0xe000 == 0x2000 => Class::Public,
        _ => Class::Reserved,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ip: &str, port: u16) -> SocketAddr {
        SocketAddr::new(ip.parse().expect("an address"), port)
    }

    fn guard() -> Guard {
        Guard::new(vec![at("0.0.0.0", 8443), at("127.0.0.1", 5432), at("10.1.2.3", 5432)])
    }

    #[test]
    fn metadata_and_link_local_are_refused_in_every_form() {
        for ip in [
            "169.254.169.254",
            "169.254.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "::ffff:0:a9fe:a9fe",
            "fe80::1",
            "febf::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
        ] {
            for reach in [Reach::Public, Reach::Private] {
                assert!(matches!(guard().check(at(ip, 80), reach), Err(GuardError::LinkLocal(_))), "{ip}");
            }
        }
    }

    #[test]
    fn reserved_addresses_are_refused_always() {
        for ip in [
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "::",
            "::1.2.3.4",
            "ff02::1",
            "2001:db8::1",
            "4000::1",
            "64:ff9b:1::1",
            "2001:0:1:2:3:4:5601:5601", // Teredo around 169.254.169.254
        ] {
            assert!(matches!(guard().check(at(ip, 80), Reach::Private), Err(GuardError::Reserved(_))), "{ip}");
        }
    }

    #[test]
    fn private_addresses_need_the_tools_permission() {
        for ip in [
            "127.0.0.1",
            "127.9.9.9",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "::1",
            "fc00::1",
            "fdff::1",
            "fec0::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "198.18.0.1",
        ] {
            assert!(matches!(guard().check(at(ip, 80), Reach::Public), Err(GuardError::Private(_))), "{ip}");
            assert_eq!(guard().check(at(ip, 80), Reach::Private), Ok(()), "{ip}");
        }
    }

    #[test]
    fn public_addresses_pass() {
        for ip in ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "64:ff9b::101:101"] {
            assert_eq!(guard().check(at(ip, 443), Reach::Public), Ok(()), "{ip}");
        }
    }

    #[test]
    fn our_own_listeners_and_the_database_are_refused_even_where_private_is_allowed() {
        for (ip, port) in [
            ("127.0.0.1", 8443),
            ("::1", 8443),
            ("::ffff:127.0.0.1", 8443),
            ("127.0.0.1", 5432),
            ("127.0.0.2", 5432),
            ("::1", 5432),
            ("10.1.2.3", 5432),
        ] {
            assert!(matches!(guard().check(at(ip, port), Reach::Private), Err(GuardError::Own(_))), "{ip}:{port}");
        }
        assert_eq!(guard().check(at("127.0.0.1", 9999), Reach::Private), Ok(()));
        assert_eq!(guard().check(at("10.1.2.4", 5432), Reach::Private), Ok(()));
    }

    #[test]
    fn one_bad_address_refuses_the_whole_answer() {
        let mixed = [at("1.1.1.1", 80), at("169.254.169.254", 80)];
        assert!(guard().check_all(&mixed, Reach::Public).is_err());
        assert_eq!(guard().check_all(&[], Reach::Public), Err(GuardError::NoAddress));
    }
}
