//! The peers of this node, and who may send to it.

use std::net::Ipv4Addr;

use tartan_common::abi::{NodeEntry, Peer};

use crate::error::DatapathError;
use crate::table::Table;

macro_rules! node_table {
    ($(#[$meta:meta])* $name:ident, $value:ty, $map:literal, $kind:literal) => {
        $(#[$meta])*
        pub struct $name(Table<$value>);

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
            pub fn get(&self, key: Ipv4Addr) -> Result<Option<$value>, DatapathError> {
                self.0.get(key.octets())
            }

            /// Adds or replaces an entry.
            ///
            /// # Errors
            /// [`DatapathError::Full`], or when the kernel refuses.
            pub fn insert(&mut self, key: Ipv4Addr, value: &$value) -> Result<(), DatapathError> {
                self.0.insert(key.octets(), value, || format!(concat!($kind, " {}"), key))
            }

            /// Removes an entry; says whether it was there.
            ///
            /// # Errors
            /// When the kernel refuses.
            pub fn remove(&mut self, key: Ipv4Addr) -> Result<bool, DatapathError> {
                self.0.remove(key.octets())
            }

            /// Every entry.
            ///
            /// # Errors
            /// When the kernel refuses.
            pub fn entries(&self) -> Result<Vec<(Ipv4Addr, $value)>, DatapathError> {
                let entries = self.0.entries()?;
                Ok(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
            }
        }
    };
}

node_table!(
    /// The `PEERS` map: from a subnet's network address to what reaches it.
    Peers, Peer, "PEERS", "peer"
);
node_table!(
    /// The `NODES` map: from a node's address to the subnet that it leases.
    Nodes, NodeEntry, "NODES", "node"
);
