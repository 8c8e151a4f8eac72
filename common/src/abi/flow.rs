//! What the gate remembers of a flow.

use super::layout::abi;
use crate::NetAddr;

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
    /// What was seen of a flow.
    #[repr(C)]
    pub struct FlowState {
        /// The epoch in which it was seen.
        pub epoch: u32,
        /// Bit 0: seen from the lower end; bit 1: from the higher; bit 2: its opening packet was seen.
        pub seen: u32,
    }
}
