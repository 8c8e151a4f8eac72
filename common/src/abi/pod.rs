//! Where a local pod is.

use super::layout::abi;
use crate::Mac;

abi! {
    /// One local pod, keyed by its address.
    #[repr(C)]
    pub struct PodEntry {
        /// Interface index of the host's end of the pod's veth.
        pub ifindex: u32,
        /// Bit 0: this pod's flows never skip the host stack; the others say why. Bit 1: the pod asks for it; bit 2: somebody else's qdisc, filter or program on its link would be skipped.
        pub flags: u32,
        /// MAC address of the pod's end.
        pub pod_mac: Mac,
        /// MAC address of the host's end.
        pub host_mac: Mac,
    }
}

impl PodEntry {
    /// The flag of a pod whose flows never skip the host stack.
    pub const NO_FAST_PATH: u32 = 1;
    /// The pod was made with the wish not to skip it.
    const ASKED: u32 = 2;
    /// What others put on the pod's link would be skipped.
    const STRANGER: u32 = 4;

    /// Whether this pod's flows may skip the host stack.
    #[inline(always)]
    #[must_use]
    pub const fn may_be_fast(&self) -> bool {
        self.flags & Self::NO_FAST_PATH == 0
    }

    /// The flags of a new pod: whether it asks for the host stack, and whether somebody is about
    /// to put something on its link.
    #[must_use]
    pub const fn flags_of(asks_for_stack: bool, has_stranger: bool) -> u32 {
        let asked = if asks_for_stack { Self::NO_FAST_PATH | Self::ASKED } else { 0 };
        asked | if has_stranger { Self::NO_FAST_PATH | Self::STRANGER } else { 0 }
    }

    /// Whether the pod asks for the host stack.
    #[must_use]
    pub const fn asks_for_stack(&self) -> bool {
        self.flags & Self::ASKED != 0
    }

    /// Whether something of somebody else's on its link would be skipped.
    #[must_use]
    pub const fn has_stranger(&self) -> bool {
        self.flags & Self::STRANGER != 0
    }

    /// The same pod after a look at its link.
    #[must_use]
    pub const fn with_stranger(self, has_stranger: bool) -> Self {
        Self { flags: Self::flags_of(self.asks_for_stack(), has_stranger), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_fast_again_when_the_last_reason_is_gone() {
        let fast = PodEntry {
            ifindex: 3,
            flags: PodEntry::flags_of(false, false),
            pod_mac: Mac([2; 6]),
            host_mac: Mac([4; 6]),
        };
        assert!(fast.may_be_fast());
        let shaped = fast.with_stranger(true);
        assert!(!shaped.may_be_fast() && shaped.has_stranger() && !shaped.asks_for_stack());
        assert_eq!(shaped.with_stranger(false), fast);
        let asking = PodEntry { flags: PodEntry::flags_of(true, true), ..fast };
        let asking = asking.with_stranger(false);
        assert!(!asking.may_be_fast() && asking.asks_for_stack() && !asking.has_stranger());
    }
}
