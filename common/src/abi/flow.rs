//! What the gate remembers of a flow.

use super::layout::abi;
use crate::{NetAddr, NetAddr6};

abi! {
    /// A flow without direction: the end with the lower (address, port) comes first.
    #[repr(C)]
    pub struct FlowKey {
        /// Address of the lower end.
        pub low: NetAddr,
        /// Address of the higher end.
        pub high: NetAddr,
        /// Port of the lower end, or the ICMP echo identifier.
        pub low_port: u16,
        /// Port of the higher end, or the ICMP echo identifier.
        pub high_port: u16,
        /// IP protocol.
        pub protocol: u32,
    }
}

abi! {
    /// A flow between IPv6 addresses, as [`FlowKey`].
    #[repr(C)]
    pub struct FlowKey6 {
        /// Address of the lower end.
        pub low: NetAddr6,
        /// Address of the higher end.
        pub high: NetAddr6,
        /// Port of the lower end, or the ICMPv6 echo identifier.
        pub low_port: u16,
        /// Port of the higher end, or the ICMPv6 echo identifier.
        pub high_port: u16,
        /// Next header.
        pub protocol: u32,
    }
}

abi! {
    /// What was seen of a flow.
    #[repr(C)]
    pub struct FlowState {
        /// Twice the configuration's epoch in which it was seen, plus one where a right to `on` had run out.
        pub epoch: u32,
        /// The time slot in which it was seen; zero where slots play no role.
        pub slot: u32,
        /// Bit 0: seen from the lower end; bit 1: from the higher; bit 2: its opening packet was seen; bit 3: conntrack knows it, too; bit 4: no flow, but a destination (lower end zero) that connections are translated to.
        pub seen: u32,
    }
}

impl FlowState {
    /// What the gate knows of a flow without an entry: no entry says that nothing was seen.
    ///
    /// A value instead of an `Option`: the compiler leaves the fields of `None` undefined, and
    /// the verifier refuses to copy what is undefined.
    pub const UNKNOWN: Self = Self { epoch: 0, slot: 0, seen: 0 };

    /// Whether there is an entry.
    #[inline(always)]
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.seen != 0
    }
}
