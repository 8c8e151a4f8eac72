//! Who may send tunnel packets, and from which inner addresses.

use super::layout::abi;
use crate::NetAddr;

abi! {
    /// One known sender, keyed by its address.
    #[repr(C)]
    pub struct NodeEntry {
        /// The subnet that it leases.
        pub subnet: NetAddr,
        /// Mask of `subnet`.
        pub mask: NetAddr,
    }
}
