//! What is in force at one moment: how long a right lasts.
//!
//! An entry counts only in the regime in which it was written. Three things
//! end a regime: the agent begins a new epoch, the right to `on` runs out, or,
//! where netfilter has a say, the flow's time slot is over. What is forgotten
//! is learned again from packets that the host stack saw.

use crate::abi::{FastPath, FlowState, NodeConfig};
use crate::flow::FlowId;

const NS_PER_S: u64 = 1_000_000_000;

/// What an entry must have been written in to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Regime {
    mode: FastPath,
    epoch: u32,
    slot: u32,
}

impl Regime {
    /// The mode in force.
    #[inline(always)]
    #[must_use]
    pub const fn mode(&self) -> FastPath {
        self.mode
    }

    /// A state of this regime.
    #[inline(always)]
    #[must_use]
    pub const fn state(&self, seen: u32) -> FlowState {
        FlowState { epoch: self.epoch, slot: self.slot, seen }
    }

    /// Whether `state` was written in this regime.
    #[inline(always)]
    #[must_use]
    pub const fn knows(&self, state: &FlowState) -> bool {
        state.epoch == self.epoch && state.slot == self.slot
    }

    #[inline(always)]
    const fn new(config: &NodeConfig, mode: FastPath, is_over: bool, slot: u32) -> Self {
        // The lowest bit keeps what comes after a right apart from every epoch of the agent's.
        Self { mode, epoch: config.epoch << 1 | is_over as u32, slot }
    }
}

impl NodeConfig {
    /// What is in force for the flow of `key` at `now`, nanoseconds of CLOCK_MONOTONIC.
    ///
    /// The clock is read only where the answer depends on it.
    #[inline(always)]
    #[must_use]
    pub fn regime<K: FlowId>(&self, key: &K, now: impl FnOnce() -> u64) -> Regime {
        match self.fast_path() {
            FastPath::Off => Regime::new(self, FastPath::Off, false, 0),
            FastPath::On if self.on_until == 0 => Regime::new(self, FastPath::On, false, 0),
            FastPath::On => {
                let now = now();
                if self.is_over(now) {
                    Regime::new(self, FastPath::AfterAccept, true, slot(key, now))
                } else {
                    Regime::new(self, FastPath::On, false, 0)
                }
            }
            FastPath::AfterAccept => {
                Regime::new(self, FastPath::AfterAccept, false, slot(key, now()))
            }
        }
    }

    /// Whether a right to `on` has run out at `now`, nanoseconds of CLOCK_MONOTONIC.
    #[inline(always)]
    #[must_use]
    pub const fn is_over(&self, now: u64) -> bool {
        self.fast_path == FastPath::On as u32
            && self.on_until != 0
            && now >= self.on_until as u64 * NS_PER_S
    }
}

/// The time slot of a flow, 2^32 ns (4.3 s) long: well below the 30 s after
/// which conntrack forgets a datagram's flow (`nf_conntrack_udp_timeout`).
///
/// Flows change slots at different moments, or a node's whole traffic would
/// meet the host stack at once.
#[inline(always)]
fn slot<K: FlowId>(key: &K, now: u64) -> u32 {
    // The golden ratio's multiplier (Knuth, The Art of Computer Programming 6.4) spreads
    // neighbouring ports over the whole slot.
    let (low, high) = key.ports();
    let phase = u32::from(low ^ high);
    (now.wrapping_add(u64::from(phase.wrapping_mul(0x9e37_79b1))) >> 32) as u32
}
