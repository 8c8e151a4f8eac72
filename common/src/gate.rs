//! The gate: which flows may skip the host stack.
//!
//! A flow may go fast only if the host stack has nothing to do to it. The
//! dangerous case is a Service: a pod sends to a virtual address, conntrack
//! turns it into a backend, and the backend's answer must pass conntrack
//! again. Two kinds of hook tell the cases apart:
//!
//! - *origin* hooks see a packet before the host stack: as its pod sent it,
//!   or as it left the tunnel;
//! - *delivery* hooks see what comes out of the host stack, translated or not.
//!
//! [`tag`] ties the two together: an origin hook writes the tag of the tuple
//! that it saw into the packet, and a delivery hook knows by comparing whether
//! the stack changed the tuple on the way.
//!
//! Promises: an entry never outlives its epoch; a miss, an eviction or a full
//! map means the stack, never a drop; a translated flow never becomes direct.

use crate::abi::{FastPath, FlowState};
use crate::flow::{Direction, Phase, Tuple};

const SEEN_LOW: u32 = 1;
const SEEN_HIGH: u32 = 2;
const SEEN_BOTH: u32 = SEEN_LOW | SEEN_HIGH;
const OPENED: u32 = 4;

/// Where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Straight to its receiver.
    Fast,
    /// Through the host stack.
    Stack,
}

/// What to do with a flow's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Leave it.
    Keep,
    /// Write this.
    Write(FlowState),
    /// Delete it: the flow was direct, its tuple now belongs to another.
    Revoke,
}

/// The answer to one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Where the packet goes.
    pub way: Way,
    /// What to do with the entry.
    pub entry: Entry,
}

impl FlowState {
    /// Whether the flow is direct in `epoch`.
    #[inline(always)]
    #[must_use]
    pub const fn is_direct(&self, epoch: u32) -> bool {
        self.epoch == epoch && (self.seen & OPENED != 0 || self.seen & SEEN_BOTH == SEEN_BOTH)
    }
}

/// The tag of a tuple: what an origin hook writes into `skb->tc_index`.
///
/// Always odd, so neither zero (no hook of ours saw the packet) nor
/// [`ACCEPTED`] is the tag of a tuple.
#[inline(always)]
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "sixteen bits are all the room there is")]
pub fn tag(tuple: &Tuple) -> u16 {
    let hash = tuple.hash();
    (hash ^ (hash >> 16)) as u16 | 1
}

/// The tag of a packet that an origin hook saw but that has no flow.
pub const ACCEPTED: u16 = 0x7a7a;

/// One packet at an origin hook.
#[inline(always)]
#[must_use]
pub fn at_origin(
    mode: FastPath,
    epoch: u32,
    entry: Option<FlowState>,
    direction: Direction,
    phase: Phase,
) -> Step {
    match mode {
        FastPath::Off => stack(Entry::Keep),
        FastPath::On => origin_on(epoch, entry, direction, phase),
        FastPath::AfterAccept => origin_after_accept(epoch, entry, phase),
    }
}

#[inline(always)]
fn origin_on(epoch: u32, entry: Option<FlowState>, direction: Direction, phase: Phase) -> Step {
    let bit = bit(direction);
    if phase == Phase::Opening {
        // An untranslated SYN: the flow is direct from its first packet on.
        return upsert(entry, FlowState { epoch, seen: OPENED | bit }, Way::Fast);
    }
    let seen = current(entry, epoch);
    let state = FlowState { epoch, seen: seen | bit };
    if state.is_direct(epoch) {
        // A direct flow's entry is not touched again: no write per packet.
        let was = FlowState { epoch, seen };
        let step = if was.is_direct(epoch) { Entry::Keep } else { Entry::Write(state) };
        return Step { way: Way::Fast, entry: step };
    }
    upsert(entry, state, Way::Stack)
}

#[inline(always)]
fn origin_after_accept(epoch: u32, entry: Option<FlowState>, phase: Phase) -> Step {
    let direct = entry.is_some_and(|state| state.is_direct(epoch));
    match phase {
        // A new connection on an old tuple has to be accepted anew.
        Phase::Opening if entry.is_some() => stack(Entry::Revoke),
        Phase::Middle if direct => Step { way: Way::Fast, entry: Entry::Keep },
        // Conntrack must see the end, too, or its entry lingers as established.
        Phase::Opening | Phase::Closing | Phase::Middle => stack(Entry::Keep),
    }
}

/// One packet at a delivery hook; `untranslated` says that its tag is that of its tuple.
#[inline(always)]
#[must_use]
pub fn at_delivery(
    mode: FastPath,
    epoch: u32,
    entry: Option<FlowState>,
    direction: Direction,
    phase: Phase,
    untranslated: bool,
) -> Entry {
    if !untranslated {
        return if entry.is_some() { Entry::Revoke } else { Entry::Keep };
    }
    match (mode, phase) {
        (FastPath::AfterAccept, Phase::Middle | Phase::Opening) => {
            let state = FlowState { epoch, seen: current(entry, epoch) | bit(direction) };
            if entry == Some(state) { Entry::Keep } else { Entry::Write(state) }
        }
        (FastPath::AfterAccept, Phase::Closing) | (FastPath::Off | FastPath::On, _) => Entry::Keep,
    }
}

#[inline(always)]
const fn bit(direction: Direction) -> u32 {
    match direction {
        Direction::FromLow => SEEN_LOW,
        Direction::FromHigh => SEEN_HIGH,
    }
}

#[inline(always)]
fn current(entry: Option<FlowState>, epoch: u32) -> u32 {
    match entry {
        Some(state) if state.epoch == epoch => state.seen,
        Some(_) | None => 0,
    }
}

#[inline(always)]
fn upsert(entry: Option<FlowState>, state: FlowState, way: Way) -> Step {
    let entry = if entry == Some(state) { Entry::Keep } else { Entry::Write(state) };
    Step { way, entry }
}

#[inline(always)]
const fn stack(entry: Entry) -> Step {
    Step { way: Way::Stack, entry }
}

#[cfg(test)]
mod tests;
