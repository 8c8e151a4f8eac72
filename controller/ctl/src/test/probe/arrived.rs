//! The numbers of the datagrams that arrived, so that a client whose question is not answered can
//! ask, by TCP, which of the two ways it was lost on.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many are kept: those of the last seconds, whoever asks.
const KEPT: usize = 8192;

/// The latest numbers.
#[derive(Debug, Default)]
pub(super) struct Arrived(Mutex<VecDeque<u32>>);

impl Arrived {
    /// One more.
    pub(super) fn add(&self, number: u32) {
        let mut numbers = self.lock();
        if numbers.len() == KEPT {
            numbers.pop_front();
        }
        numbers.push_back(number);
    }

    /// Whether this one is among them.
    pub(super) fn has(&self, number: u64) -> bool {
        self.lock().iter().any(|one| u64::from(*one) == number)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_kept() {
        let arrived = Arrived::default();
        (0..=u32::try_from(KEPT).unwrap()).for_each(|number| arrived.add(number));
        assert!(arrived.has(1) && arrived.has(KEPT as u64));
        assert!(!arrived.has(0));
    }
}
