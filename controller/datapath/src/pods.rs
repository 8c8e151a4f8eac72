//! The pods of this node.

use std::net::{Ipv4Addr, Ipv6Addr};

use tartan_common::abi::PodEntry;

use crate::error::DatapathError;
use crate::pins;
use crate::table::Table;

macro_rules! pod_table {
    ($(#[$meta:meta])* $name:ident, $address:ty, $len:literal, $map:literal) => {
        $(#[$meta])*
        pub struct $name(Table<PodEntry, $len>);

        impl $name {
            /// Opens the pinned map.
            ///
            /// # Errors
            /// [`DatapathError::NotSetUp`] when the agent did not run since boot.
            pub fn open() -> Result<Self, DatapathError> {
                Table::open($map).map(Self)
            }

            /// The pod with this address.
            ///
            /// # Errors
            /// When the kernel refuses.
            pub fn get(&self, address: $address) -> Result<Option<PodEntry>, DatapathError> {
                self.0.get(address.octets())
            }

            /// Adds or replaces a pod.
            ///
            /// # Errors
            /// [`DatapathError::Full`], or when the kernel refuses.
            pub fn insert(&mut self, address: $address, entry: &PodEntry) -> Result<(), DatapathError> {
                let _lock = pins::lock(&pins::pod_links())?;
                self.0.insert(address.octets(), entry, || format!("pod {address}"))
            }

            /// Removes a pod; says whether it was there.
            ///
            /// # Errors
            /// When the kernel refuses.
            pub fn remove(&mut self, address: $address) -> Result<bool, DatapathError> {
                let _lock = pins::lock(&pins::pod_links())?;
                self.0.remove(address.octets())
            }

            /// Removes a pod if its entry is still `entry`: its address may have been
            /// given to a new pod meanwhile.
            ///
            /// # Errors
            /// When the kernel refuses.
            pub fn remove_stale(
                &mut self,
                address: $address,
                entry: &PodEntry,
            ) -> Result<bool, DatapathError> {
                let _lock = pins::lock(&pins::pod_links())?;
                if self.0.get(address.octets())?.as_ref() == Some(entry) {
                    return self.0.remove(address.octets());
                }
                Ok(false)
            }

            /// Replaces a pod's entry if it is still `old`; says whether it was.
            ///
            /// # Errors
            /// When the kernel refuses.
            pub fn replace(
                &mut self,
                address: $address,
                old: &PodEntry,
                new: &PodEntry,
            ) -> Result<bool, DatapathError> {
                let _lock = pins::lock(&pins::pod_links())?;
                if self.0.get(address.octets())?.as_ref() != Some(old) {
                    return Ok(false);
                }
                self.0.insert(address.octets(), new, || format!("pod {address}"))?;
                Ok(true)
            }

            /// Every pod.
            ///
            /// # Errors
            /// When the kernel refuses.
            pub fn entries(&self) -> Result<Vec<($address, PodEntry)>, DatapathError> {
                let entries = self.0.entries()?;
                Ok(entries.into_iter().map(|(key, pod)| (key.into(), pod)).collect())
            }
        }
    };
}

pod_table!(
    /// The `PODS` map.
    Pods, Ipv4Addr, 4, "PODS"
);
pod_table!(
    /// The `PODS6` map: the same pods by their IPv6 addresses.
    Pods6, Ipv6Addr, 16, "PODS6"
);
