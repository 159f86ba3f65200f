//! Failures from before anybody was authenticated: counted by code, so that whoever floods us fills a
//! number and not a disk.

use std::collections::HashMap;
use std::sync::Mutex;

/// Codes are ours and few, which bounds the map.
#[derive(Default)]
pub(super) struct Failures(Mutex<HashMap<&'static str, u64>>);

impl Failures {
    pub(super) fn count(&self, code: &'static str) {
        self.add(code, 1);
    }

    pub(super) fn take(&self) -> Vec<(&'static str, u64)> {
        self.0.lock().expect("no holder of this lock panics").drain().collect()
    }

    pub(super) fn put_back(&self, counted: Vec<(&'static str, u64)>) {
        for (code, count) in counted {
            self.add(code, count);
        }
    }

    fn add(&self, code: &'static str, count: u64) {
        let mut counts = self.0.lock().expect("no holder of this lock panics");
        let sum = counts.entry(code).or_default();
        *sum = sum.saturating_add(count);
    }
}
