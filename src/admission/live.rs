//! How many nonces of each agent are live: signed, admitted, and not yet past their own end. It bounds what one agent can
//! make the replay memory hold. Counted by the gateway that admits: an index and a count in the admission statement cost
//! more than the rest of it, and what an agent can spend at several gateways is bounded all the same.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

/// Agents that are remembered before those without live nonces are dropped.
const SWEEP_AT: usize = 1024;

pub(super) struct LiveNonces {
    cap: u32,
    agents: Mutex<Agents>,
}

#[derive(Default)]
struct Agents {
    by_id: HashMap<Uuid, Live>,
    /// How many were left after the last sweep.
    swept: usize,
}

/// Counts by the second in which they end, in no order: signed windows differ.
#[derive(Default)]
struct Live(VecDeque<(i64, u32)>);

impl Live {
    fn count(&mut self, now: i64) -> u32 {
        self.0.retain(|(expires, _)| *expires > now);
        self.0.iter().map(|(_, count)| count).sum()
    }

    fn add(&mut self, expires: i64) {
        match self.0.iter_mut().find(|(second, _)| *second == expires) {
            Some((_, count)) => *count += 1,
            None => self.0.push_back((expires, 1)),
        }
    }
}

impl LiveNonces {
    pub(super) fn new(cap: u32) -> Self {
        Self { cap, agents: Mutex::default() }
    }

    /// Counts one more, unless the agent has as many as it may. Unix seconds.
    #[must_use]
    pub(super) fn take(&self, agent: Uuid, expires: i64, now: i64) -> bool {
        let mut agents = self.lock();
        if agents.by_id.len() >= SWEEP_AT.max(2 * agents.swept) {
            agents.by_id.retain(|_, live| live.count(now) > 0);
            agents.swept = agents.by_id.len();
        }
        let live = agents.by_id.entry(agent).or_default();
        if live.count(now) >= self.cap {
            return false;
        }
        live.add(expires);
        true
    }

    /// A nonce that was counted and then not spent.
    pub(super) fn give_back(&self, agent: Uuid, expires: i64) {
        if let Some(live) = self.lock().by_id.get_mut(&agent)
            && let Some((_, count)) = live.0.iter_mut().find(|(second, _)| *second == expires)
        {
            *count = count.saturating_sub(1);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Agents> {
        // Every change is whole before the lock is released.
        self.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_has_its_cap_and_ended_nonces_do_not_count() {
        let (live, agent) = (LiveNonces::new(3), Uuid::new_v4());
        assert!([60, 61, 60].iter().all(|expires| live.take(agent, *expires, 0)));
        assert!(!live.take(agent, 90, 59));
        assert!(live.take(Uuid::new_v4(), 60, 59), "another agent has its own");
        assert!(live.take(agent, 90, 60), "two have ended");
        assert!(live.take(agent, 90, 60));
        assert!(!live.take(agent, 90, 60));
        live.give_back(agent, 90);
        assert!(live.take(agent, 90, 60));
    }

    #[test]
    fn agents_without_live_nonces_are_forgotten() {
        let live = LiveNonces::new(1);
        for _ in 0..3 * SWEEP_AT {
            assert!(live.take(Uuid::new_v4(), 10, 0));
        }
        assert!(live.take(Uuid::new_v4(), 20, 15));
        for _ in 0..2 * SWEEP_AT {
            assert!(live.take(Uuid::new_v4(), 20, 15));
        }
        assert!(live.lock().by_id.len() < 4 * SWEEP_AT, "{}", live.lock().by_id.len());
    }
}
