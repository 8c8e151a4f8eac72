//! The index space of the `COUNTERS` map.

use super::layout::abi;
use crate::{event::Event, path::Path, reason::Reason};

/// Slots of the `COUNTERS` map. Room to grow: numbers are never reused.
pub const COUNTER_SLOTS: u32 = 160;

const REASONS_AT: u32 = 0;
const PATHS_AT: u32 = 64;
const EVENTS_AT: u32 = 112;

abi! {
    /// One counter on one CPU.
    #[repr(C)]
    pub struct Tally {
        /// Packets; a packet that offloads will cut into many counts once.
        pub packets: u64,
        /// Bytes of their frames.
        pub bytes: u64,
    }
}

/// Anything that has a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// A drop.
    Reason(Reason),
    /// A way.
    Path(Path),
    /// An event.
    Event(Event),
}

impl Counted {
    /// The slot in the `COUNTERS` map.
    #[inline(always)]
    #[must_use]
    pub const fn slot(self) -> u32 {
        match self {
            Self::Reason(reason) => REASONS_AT + reason.number() as u32,
            Self::Path(path) => PATHS_AT + path.number() as u32,
            Self::Event(event) => EVENTS_AT + event.number() as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::vec::Vec;

    #[test]
    fn every_counter_has_its_own_slot() {
        let reasons = Reason::ALL.iter().map(|r| Counted::Reason(*r));
        let paths = Path::ALL.iter().map(|p| Counted::Path(*p));
        let events = Event::ALL.iter().map(|e| Counted::Event(*e));
        let slots: Vec<_> = reasons.chain(paths).chain(events).map(Counted::slot).collect();
        assert_eq!(slots.iter().collect::<BTreeSet<_>>().len(), slots.len());
        assert!(slots.iter().all(|slot| *slot < COUNTER_SLOTS));
    }
}
