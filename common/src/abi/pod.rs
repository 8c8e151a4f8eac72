//! Where a local pod is.

use super::layout::abi;
use crate::Mac;

abi! {
    /// One local pod, keyed by its address.
    #[repr(C)]
    pub struct PodEntry {
        /// Interface index of the host's end of the pod's veth.
        pub ifindex: u32,
        /// Bit 0: this pod's flows never skip the host stack.
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

    /// Whether this pod's flows may skip the host stack.
    #[inline(always)]
    #[must_use]
    pub const fn may_be_fast(&self) -> bool {
        self.flags & Self::NO_FAST_PATH == 0
    }
}
