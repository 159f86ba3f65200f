//! Unauthenticated failures by address: whoever fails too often in a minute is told to come back later,
//! before anything costs us a signature check. It counts failures only, so that nobody's good requests
//! are ever in its way.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use crate::refusal::{Advice, Code, Refusal};

/// Addresses remembered in one minute; when there are more, all are forgotten.
const CAPACITY: usize = 100_000;

pub struct FailureLimit {
    per_minute: u32,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    minute: i64,
    counts: HashMap<IpAddr, u32>,
}

impl FailureLimit {
    pub fn new(per_minute: u32) -> Self {
        Self { per_minute, state: Mutex::default() }
    }

    pub fn check(&self, address: IpAddr, now: i64) -> Result<(), Refusal> {
        let state = self.lock(now);
        match state.counts.get(&network(address)) {
            Some(count) if *count >= self.per_minute => {
                let left = 60 - u32::try_from(now.rem_euclid(60)).unwrap_or(0);
                Err(Refusal::new(Code::RateLimited, "too many requests failed before anybody was authenticated")
                    .advise(Advice::RetryAfter(left)))
            }
            _ => Ok(()),
        }
    }

    pub fn note(&self, address: IpAddr, now: i64) {
        let mut state = self.lock(now);
        if state.counts.len() >= CAPACITY {
            state.counts.clear();
        }
        let count = state.counts.entry(network(address)).or_default();
        *count = count.saturating_add(1);
    }

    fn lock(&self, now: i64) -> std::sync::MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = now.div_euclid(60);
        if state.minute != minute {
            state.minute = minute;
            state.counts.clear();
        }
        state
    }
}

/// Whoever has one IPv6 address has a /64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => v4.into(),
            None => std::net::Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_limited_per_address_and_minute() {
        let limit = FailureLimit::new(2);
        let (bad, good): (IpAddr, IpAddr) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        for _ in 0..2 {
            assert!(limit.check(bad, 90).is_ok());
            limit.note(bad, 90);
        }
        let refused = limit.check(bad, 100).expect_err("limited");
        assert_eq!((refused.code, refused.advice), (Code::RateLimited, Some(Advice::RetryAfter(20))));
        assert!(limit.check(good, 100).is_ok());
        assert!(limit.check(bad, 120).is_ok());
    }

    #[test]
    fn one_ipv6_network_is_one_address() {
        let limit = FailureLimit::new(1);
        limit.note("2001:db8:1:2::1".parse().expect("an address"), 0);
        assert!(limit.check("2001:db8:1:2:ffff::9".parse().expect("an address"), 0).is_err());
        assert!(limit.check("2001:db8:1:3::1".parse().expect("an address"), 0).is_ok());
    }
}
