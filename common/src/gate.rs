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
//! In mode `on` conntrack never hears of a direct connection, and would give its
//! source port to a translated one with the same ends. So a destination that
//! connections of this node are translated to is remembered, and connections
//! that go there directly open through the stack ([`opening_beside_a_service`]).
//!
//! Promises: an entry never outlives its [`Regime`]; a miss, an eviction or a full
//! map means the stack, never a drop; a translated flow never becomes direct.

mod regime;

pub use regime::Regime;

use crate::abi::{FastPath, FlowState};
use crate::flow::{Address, Direction, Phase, Tuple};

const SEEN_LOW: u32 = 1;
const SEEN_HIGH: u32 = 2;
const SEEN_BOTH: u32 = SEEN_LOW | SEEN_HIGH;
const OPENED: u32 = 4;
/// Conntrack knows the flow, though the mode is `on`.
const TRACKED: u32 = 8;
/// Not a flow: a destination that connections are translated to.
const SERVED: u32 = 16;

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
    /// Whether the flow is direct in `regime`.
    #[inline(always)]
    #[must_use]
    pub const fn is_direct(&self, regime: &Regime) -> bool {
        regime.knows(self) && (self.seen & OPENED != 0 || self.seen & SEEN_BOTH == SEEN_BOTH)
    }
}

/// The tag of a tuple: what an origin hook writes into `skb->tc_index`.
///
/// Always odd, so neither zero (no hook of ours saw the packet) nor
/// [`ACCEPTED`] is the tag of a tuple.
#[inline(always)]
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "sixteen bits are all the room there is")]
pub fn tag<A: Address>(tuple: &Tuple<A>) -> u16 {
    let hash = tuple.hash();
    (hash ^ (hash >> 16)) as u16 | 1
}

/// The tag of a packet that an origin hook saw but that has no flow.
pub const ACCEPTED: u16 = 0x7a7a;

/// The tag of a packet that an origin hook sends onto the link as it is, past the host stack: at
/// the delivery hook there it is none of the stack's. Even, and so no tuple's.
pub const FORWARDED: u16 = 0x7a7c;

/// The tag of a packet that an origin hook sent to the overlay device with a tunnel key: the
/// device's own hook has nothing left to do. No tuple has it, for it is even.
pub const KEYED: u16 = 0x5e5e;

/// One packet at an origin hook; `entry` may be [`FlowState::UNKNOWN`].
#[inline(always)]
#[must_use]
pub fn at_origin(regime: &Regime, entry: FlowState, direction: Direction, phase: Phase) -> Step {
    match regime.mode() {
        FastPath::Off => stack(Entry::Keep),
        FastPath::On => origin_on(regime, entry, direction, phase),
        FastPath::AfterAccept => origin_after_accept(regime, entry, phase),
    }
}

#[inline(always)]
fn origin_on(regime: &Regime, entry: FlowState, direction: Direction, phase: Phase) -> Step {
    let bit = bit(direction);
    if phase == Phase::Opening {
        // An untranslated SYN: the flow is direct from its first packet on.
        return upsert(entry, regime.state(OPENED | bit), Way::Fast);
    }
    let seen = current(entry, regime);
    if seen & TRACKED != 0 {
        // As in `after-accept`: conntrack sees the beginning and the end.
        let fast = seen & SEEN_BOTH == SEEN_BOTH && phase == Phase::Middle;
        let way = if fast { Way::Fast } else { Way::Stack };
        return Step { way, entry: Entry::Keep };
    }
    let state = regime.state(seen | bit);
    if state.is_direct(regime) {
        // A direct flow's entry is not touched again: no write per packet.
        let step =
            if regime.state(seen).is_direct(regime) { Entry::Keep } else { Entry::Write(state) };
        return Step { way: Way::Fast, entry: step };
    }
    upsert(entry, state, Way::Stack)
}

/// A connection that opens, in mode `on`, towards a destination that other connections are
/// translated to: conntrack must know it, or it gives its source port away.
#[inline(always)]
#[must_use]
pub fn opening_beside_a_service(regime: &Regime, entry: FlowState) -> Step {
    upsert(entry, regime.state(TRACKED), Way::Stack)
}

/// What is written for a destination that connections are translated to.
#[inline(always)]
#[must_use]
pub const fn served(regime: &Regime) -> FlowState {
    regime.state(SERVED)
}

#[inline(always)]
fn origin_after_accept(regime: &Regime, entry: FlowState, phase: Phase) -> Step {
    let direct = entry.is_direct(regime);
    match phase {
        // A new connection on an old tuple has to be accepted anew.
        Phase::Opening if entry.is_known() => stack(Entry::Revoke),
        Phase::Middle if direct => Step { way: Way::Fast, entry: Entry::Keep },
        // Conntrack must see the end, too, or its entry lingers as established.
        Phase::Opening | Phase::Closing | Phase::Middle => stack(Entry::Keep),
    }
}

/// One packet at a delivery hook; `untranslated` says that its tag is that of its tuple.
#[inline(always)]
#[must_use]
pub fn at_delivery(
    regime: &Regime,
    entry: FlowState,
    direction: Direction,
    phase: Phase,
    untranslated: bool,
) -> Entry {
    if !untranslated {
        return if entry.is_known() { Entry::Revoke } else { Entry::Keep };
    }
    let seen = current(entry, regime);
    let counts = match regime.mode() {
        FastPath::Off => false,
        FastPath::On => seen & TRACKED != 0,
        FastPath::AfterAccept => true,
    };
    if !counts || phase == Phase::Closing {
        return Entry::Keep;
    }
    let state = regime.state(seen | bit(direction));
    if entry == state { Entry::Keep } else { Entry::Write(state) }
}

#[inline(always)]
const fn bit(direction: Direction) -> u32 {
    match direction {
        Direction::FromLow => SEEN_LOW,
        Direction::FromHigh => SEEN_HIGH,
    }
}

#[inline(always)]
const fn current(entry: FlowState, regime: &Regime) -> u32 {
    if regime.knows(&entry) { entry.seen } else { 0 }
}

#[inline(always)]
fn upsert(entry: FlowState, state: FlowState, way: Way) -> Step {
    let entry = if entry == state { Entry::Keep } else { Entry::Write(state) };
    Step { way, entry }
}

#[inline(always)]
const fn stack(entry: Entry) -> Step {
    Step { way: Way::Stack, entry }
}

#[cfg(test)]
mod tests;
