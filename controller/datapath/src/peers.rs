//! The peers of this node, and who may send to it.

use std::net::{Ipv4Addr, Ipv6Addr};

use tartan_common::abi::{NodeEntry, NodeEntry6, Peer, Peer6};

use crate::error::DatapathError;
use crate::table::Table;

macro_rules! node_table {
    ($(#[$meta:meta])* $name:ident, $address:ty, $len:literal, $value:ty, $map:literal, $kind:literal) => {
        $(#[$meta])*
        pub struct $name(Table<$value, $len>);

        impl $name {
            /// Opens the pinned map.
            ///
            /// # Errors
            /// [`DatapathError::NotSetUp`] when the agent did not run since boot.
            pub fn open() -> Result<Self, DatapathError> {
                Table::open($map).map(Self)
            }

            /// The entry with this key.
            ///
            /// # Errors
            /// When the kernel refuses.
            pub fn get(&self, key: $address) -> Result<Option<$value>, DatapathError> {
                self.0.get(key.octets())
            }

            /// Adds or replaces an entry.
            ///
            /// # Errors
            /// [`DatapathError::Full`], or when the kernel refuses.
            pub fn insert(&mut self, key: $address, value: &$value) -> Result<(), DatapathError> {
                self.0.insert(key.octets(), value, || format!(concat!($kind, " {}"), key))
            }

            /// Removes an entry; says whether it was there.
            ///
            /// # Errors
            /// When the kernel refuses.
            pub fn remove(&mut self, key: $address) -> Result<bool, DatapathError> {
                self.0.remove(key.octets())
            }

            /// Every entry.
            ///
            /// # Errors
            /// When the kernel refuses.
            pub fn entries(&self) -> Result<Vec<($address, $value)>, DatapathError> {
                let entries = self.0.entries()?;
                Ok(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
            }
        }
    };
}

node_table!(
    /// The `PEERS` map: from a subnet's network address to what reaches it.
    Peers, Ipv4Addr, 4, Peer, "PEERS", "peer"
);
node_table!(
    /// The `NODES` map: from a node's address to the subnet that it leases.
    Nodes, Ipv4Addr, 4, NodeEntry, "NODES", "node"
);
node_table!(
    /// The `PEERS6` map: from an IPv6 subnet's network address to what reaches it.
    Peers6, Ipv6Addr, 16, Peer6, "PEERS6", "peer"
);
node_table!(
    /// The `NODES6` map: from a node's IPv6 address to the subnet that it leases.
    Nodes6, Ipv6Addr, 16, NodeEntry6, "NODES6", "node"
);
