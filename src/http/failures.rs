//! Failures from before a request was authenticated: whoever fails too often in a minute is told to come back later, before
//! anything costs us a signature check. Counted by the agent that the connection's certificate names, else by address: what
//! others do behind the same address is not in an agent's way.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

use crate::refusal::{Advice, Code, Refusal};

/// Callers remembered in one minute; when there are more, all are forgotten.
const CAPACITY: usize = 100_000;

/// Whom a failure counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    /// The agent or operator that a certificate of ours names, on the gateway's or the operators' listener.
    Named(Uuid),
    Address(IpAddr),
}

impl Caller {
    /// Whoever has one IPv6 address has a /64 of them.
    pub fn at(address: IpAddr) -> Self {
        Self::Address(match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
                Some(v4) => v4.into(),
                None => std::net::Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
            },
        })
    }
}

pub struct FailureLimit {
    per_minute: u32,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    minute: i64,
    counts: HashMap<Caller, u32>,
}

impl FailureLimit {
    pub fn new(per_minute: u32) -> Self {
        Self { per_minute, state: Mutex::default() }
    }

    pub fn check(&self, caller: Caller, now: i64) -> Result<(), Refusal> {
        let state = self.lock(now);
        match state.counts.get(&caller) {
            Some(count) if *count >= self.per_minute => {
                let left = 60 - u32::try_from(now.rem_euclid(60)).unwrap_or(0);
                Err(Refusal::new(Code::RateLimited, "too many requests failed before anybody was authenticated")
                    .advise(Advice::RetryAfter(left)))
            }
            _ => Ok(()),
        }
    }

    pub fn note(&self, caller: Caller, now: i64) {
        let mut state = self.lock(now);
        if state.counts.len() >= CAPACITY {
            state.counts.clear();
        }
        let count = state.counts.entry(caller).or_default();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_limited_per_address_and_minute() {
        let limit = FailureLimit::new(2);
        let (bad, good) = (Caller::at([192, 0, 2, 1].into()), Caller::at([192, 0, 2, 2].into()));
        for _ in 0..2 {
            assert!(limit.check(bad, 90).is_ok());
            limit.note(bad, 90);
        }
        let refused = limit.check(bad, 100).expect_err("limited");
        assert_eq!((refused.code, refused.advice), (Code::RateLimited, Some(Advice::RetryAfter(20))));
        assert!(limit.check(good, 100).is_ok());
        assert!(limit.check(Caller::Named(Uuid::nil()), 100).is_ok(), "whatever its address");
        assert!(limit.check(bad, 120).is_ok());
    }

    #[test]
    fn one_ipv6_network_is_one_address() {
        let limit = FailureLimit::new(1);
        let at = |text: &str| Caller::at(text.parse().expect("an address"));
        limit.note(at("2001:db8:1:2::1"), 0);
        assert!(limit.check(at("2001:db8:1:2:ffff::9"), 0).is_err());
        assert!(limit.check(at("2001:db8:1:3::1"), 0).is_ok());
    }
}
