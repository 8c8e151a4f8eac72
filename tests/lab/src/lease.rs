//! Leases as files of the shared directory.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context as _, Result};
use ipnet::Ipv4Net;
use serde_json::{Value, json};

use crate::paths;

/// What a node tells the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The node's name.
    pub name: String,
    /// The node's part of the pod network.
    pub subnet: Ipv4Net,
    /// The node's address on the wire.
    pub node: Ipv4Addr,
    /// The MAC address of the node's overlay device.
    pub vtep: String,
}

impl Lease {
    /// Every lease of the shared directory, in the order of the subnets.
    ///
    /// # Errors
    /// When a file cannot be read or is no lease.
    pub fn all() -> Result<Vec<Self>> {
        let mut leases = Vec::new();
        for entry in fs::read_dir(paths::LEASES)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                leases.push(Self::read(&path).with_context(|| format!("{}", path.display()))?);
            }
        }
        leases.sort_by_key(|lease| lease.subnet.network());
        Ok(leases)
    }

    fn read(path: &Path) -> Result<Self> {
        let value: Value = serde_json::from_str(&fs::read_to_string(path)?)?;
        let text = |value: &Value, what: &str| -> Result<String> {
            Ok(value.as_str().with_context(|| format!("the lease has no {what}"))?.to_owned())
        };
        Ok(Self {
            name: text(&value["NodeName"], "NodeName")?,
            subnet: text(&value["Subnet"], "Subnet")?.parse()?,
            node: text(&value["PublicIP"], "PublicIP")?.parse()?,
            vtep: text(&value["BackendData"]["VtepMAC"], "BackendData.VtepMAC")?,
        })
    }

    /// Publishes the lease, as a file written by hand: it never expires, and of two claims it is
    /// the older one.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn publish(&self) -> Result<()> {
        let lease = json!({
            "Subnet": self.subnet,
            "NodeName": self.name,
            "PublicIP": self.node,
            "BackendType": "vxlan",
            "BackendData": { "VNI": 1, "VtepMAC": self.vtep },
        });
        let path = Path::new(paths::LEASES).join(self.file_name());
        // Readers must never see half a lease.
        let new = path.with_extension("new");
        fs::write(&new, lease.to_string())?;
        Ok(fs::rename(&new, &path)?)
    }

    /// Takes the lease back.
    ///
    /// # Errors
    /// When there is none.
    pub fn withdraw(&self) -> Result<()> {
        Self::remove(self.subnet)
    }

    /// Takes any lease of this subnet back.
    ///
    /// # Errors
    /// When there is none.
    pub fn remove(subnet: Ipv4Net) -> Result<()> {
        Ok(fs::remove_file(Path::new(paths::LEASES).join(file_name(subnet)))?)
    }

    /// `10.244.1.0-24.json`.
    #[must_use]
    pub fn file_name(&self) -> String {
        file_name(self.subnet)
    }
}

fn file_name(subnet: Ipv4Net) -> String {
    format!("{}-{}.json", subnet.network(), subnet.prefix_len())
}
