//! Nodes that are objects only: what an agent reads of a cluster larger than the lab.

use std::net::Ipv4Addr;

use anyhow::Result;
use ipnet::Ipv4Net;

use crate::api::{Client, NodeSpec};
use crate::frames::MacBytes;
use crate::kernel_tables::PeerRow;
use crate::kube_cluster::PREFIX;

/// A Node object as a node with flannel or Tartan leaves it, and no machine behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ghost {
    /// The node's name.
    pub name: String,
    /// Its podCIDR.
    pub subnet: Ipv4Net,
    /// Where it says that it is.
    pub address: Ipv4Addr,
    /// What it says its VTEP has.
    pub vtep: MacBytes,
}

impl Ghost {
    /// A ghost of this name; subnets and addresses follow from the number.
    #[must_use]
    pub fn new(name: &str, number: u8) -> Self {
        Self {
            name: name.to_owned(),
            subnet: Ipv4Net::new_assert(Ipv4Addr::new(10, 244, number, 0), 24),
            address: Ipv4Addr::new(172, 31, 0, number),
            vtep: [2, 0, 0, 0, 0, number],
        }
    }

    /// The annotations, by their full names.
    #[must_use]
    pub fn annotations(&self) -> Vec<(String, String)> {
        let row = |key: &str, value: String| (format!("{PREFIX}{key}"), value);
        vec![
            row("kube-subnet-manager", "true".to_owned()),
            row("backend-type", "vxlan".to_owned()),
            row("backend-data", self.backend_data()),
            row("public-ip", self.address.to_string()),
        ]
    }

    /// flannel's `backend-data`.
    #[must_use]
    pub fn backend_data(&self) -> String {
        let vtep: Vec<_> = self.vtep.iter().map(|byte| format!("{byte:02x}")).collect();
        format!(r#"{{"VNI":1,"VtepMAC":"{}"}}"#, vtep.join(":"))
    }

    /// Makes its Node object.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub fn appear(&self, admin: &Client) -> Result<()> {
        let annotations = self.annotations().into_iter().collect();
        let pod_cidrs = vec![self.subnet.into()];
        let spec = NodeSpec { annotations, pod_cidrs, ..NodeSpec::default() };
        admin.create_node(&self.name, &spec).map(drop)
    }

    /// Says where it is now.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub fn publish_address(&self, admin: &Client) -> Result<()> {
        let key = format!("{PREFIX}public-ip");
        admin.annotate_node(&self.name, &key, Some(&self.address.to_string()))
    }

    /// Says what its VTEP has now.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub fn publish_vtep(&self, admin: &Client) -> Result<()> {
        let key = format!("{PREFIX}backend-data");
        admin.annotate_node(&self.name, &key, Some(&self.backend_data()))
    }

    /// What another node's table must say of it.
    #[must_use]
    pub fn row(&self) -> (Ipv4Addr, PeerRow) {
        (self.subnet.network(), PeerRow { node: self.address, vtep: self.vtep })
    }
}
