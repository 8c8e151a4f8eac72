//! The pods of this node.

use std::net::Ipv4Addr;

use tartan_common::abi::PodEntry;

use crate::error::DatapathError;
use crate::pins;
use crate::table::Table;

/// The `PODS` map.
pub struct Pods(Table<PodEntry>);

impl Pods {
    /// Opens the pinned map.
    ///
    /// # Errors
    /// [`DatapathError::NotSetUp`] when the agent did not run since boot.
    pub fn open() -> Result<Self, DatapathError> {
        Table::open("PODS").map(Self)
    }

    /// The pod with this address.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn get(&self, address: Ipv4Addr) -> Result<Option<PodEntry>, DatapathError> {
        self.0.get(address.octets())
    }

    /// Adds or replaces a pod.
    ///
    /// # Errors
    /// [`DatapathError::Full`], or when the kernel refuses.
    pub fn insert(&mut self, address: Ipv4Addr, entry: &PodEntry) -> Result<(), DatapathError> {
        let _lock = pins::lock(&pins::pod_links())?;
        self.0.insert(address.octets(), entry, || format!("pod {address}"))
    }

    /// Removes a pod; says whether it was there.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn remove(&mut self, address: Ipv4Addr) -> Result<bool, DatapathError> {
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
        address: Ipv4Addr,
        entry: &PodEntry,
    ) -> Result<bool, DatapathError> {
        let _lock = pins::lock(&pins::pod_links())?;
        if self.0.get(address.octets())?.as_ref() == Some(entry) {
            return self.0.remove(address.octets());
        }
        Ok(false)
    }

    /// Every pod.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn entries(&self) -> Result<Vec<(Ipv4Addr, PodEntry)>, DatapathError> {
        let entries = self.0.entries()?;
        Ok(entries.into_iter().map(|(key, pod)| (key.into(), pod)).collect())
    }
}
