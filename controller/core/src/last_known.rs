//! What a node knew last, kept on its disk: with it a node boots, forwards
//! and answers the CNI plugin while its store cannot be reached.
//!
//! The file is a memory, never an authority: as soon as the store answers,
//! the store is right.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

use crate::{Lease, Lease6, LeaseBackend, PodCidr, Timestamp, atomic_file};

/// Where the agent keeps it, unless told otherwise.
pub const LAST_KNOWN_FILE: &str = "/var/lib/tartan/last-known.json";
/// Only the agent reads it.
const MODE: u32 = 0o600;

/// Everything that a start without the store needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Record", into = "Record")]
pub struct LastKnown {
    /// The name of the node that wrote it: another node's memory is of no use.
    pub node_name: String,
    /// The address that the operator asked to be published, if any.
    pub wished_ip: Option<Ipv4Addr>,
    /// The same for IPv6.
    pub wished_ipv6: Option<Ipv6Addr>,
    /// The node's own lease.
    pub own: Option<Lease>,
    /// Its IPv6 half.
    pub own6: Option<Lease6>,
    /// All leases, our own among them.
    pub leases: Vec<Lease>,
    /// All IPv6 leases.
    pub leases6: Vec<Lease6>,
}

impl LastKnown {
    /// Writes the file, whole or not at all, and its directory if it is missing.
    ///
    /// # Errors
    /// Whatever the file system says; then the old file is unchanged.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let mut text = serde_json::to_vec(self)?;
        text.push(b'\n');
        atomic_file::write(path, &text, MODE)
    }

    /// Reads the file; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read or understood.
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(path) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The file's shape.
#[derive(Serialize, Deserialize)]
struct Record {
    node_name: String,
    #[serde(default)]
    wished_ip: Option<Ipv4Addr>,
    #[serde(default)]
    wished_ipv6: Option<Ipv6Addr>,
    #[serde(default)]
    own: Option<LeaseRecord>,
    #[serde(default)]
    own6: Option<Lease6Record>,
    leases: Vec<LeaseRecord>,
    #[serde(default)]
    leases6: Vec<Lease6Record>,
}

#[derive(Serialize, Deserialize)]
struct LeaseRecord {
    node: String,
    subnet: PodCidr,
    public_ip: Ipv4Addr,
    #[serde(flatten)]
    backend: BackendRecord,
    claimed_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    renewed_at: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
struct Lease6Record {
    node: String,
    subnet: Ipv6Net,
    public_ip: Ipv6Addr,
    #[serde(flatten)]
    backend: BackendRecord,
    claimed_at: Timestamp,
}

/// flannel's two annotations.
#[derive(Serialize, Deserialize)]
struct BackendRecord {
    backend_type: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    backend_data: String,
}

impl From<LastKnown> for Record {
    fn from(known: LastKnown) -> Self {
        Self {
            node_name: known.node_name,
            wished_ip: known.wished_ip,
            wished_ipv6: known.wished_ipv6,
            own: known.own.map(Into::into),
            own6: known.own6.map(Into::into),
            leases: known.leases.into_iter().map(Into::into).collect(),
            leases6: known.leases6.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<Record> for LastKnown {
    fn from(record: Record) -> Self {
        Self {
            node_name: record.node_name,
            wished_ip: record.wished_ip,
            wished_ipv6: record.wished_ipv6,
            own: record.own.map(Into::into),
            own6: record.own6.map(Into::into),
            leases: record.leases.into_iter().map(Into::into).collect(),
            leases6: record.leases6.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<Lease> for LeaseRecord {
    fn from(lease: Lease) -> Self {
        Self {
            node: lease.node_name,
            subnet: lease.subnet,
            public_ip: lease.public_ip,
            backend: lease.backend.into(),
            claimed_at: lease.claimed_at,
            renewed_at: lease.renewed_at,
        }
    }
}

impl From<LeaseRecord> for Lease {
    fn from(record: LeaseRecord) -> Self {
        Self {
            subnet: record.subnet,
            public_ip: record.public_ip,
            node_name: record.node,
            backend: record.backend.into(),
            claimed_at: record.claimed_at,
            renewed_at: record.renewed_at,
        }
    }
}

impl From<Lease6> for Lease6Record {
    fn from(lease: Lease6) -> Self {
        Self {
            node: lease.node_name,
            subnet: lease.subnet,
            public_ip: lease.public_ip,
            backend: lease.backend.into(),
            claimed_at: lease.claimed_at,
        }
    }
}

impl From<Lease6Record> for Lease6 {
    fn from(record: Lease6Record) -> Self {
        Self {
            subnet: record.subnet,
            public_ip: record.public_ip,
            node_name: record.node,
            backend: record.backend.into(),
            claimed_at: record.claimed_at,
        }
    }
}

impl From<LeaseBackend> for BackendRecord {
    fn from(backend: LeaseBackend) -> Self {
        Self { backend_type: backend.type_name().to_owned(), backend_data: backend.data() }
    }
}

impl From<BackendRecord> for LeaseBackend {
    fn from(record: BackendRecord) -> Self {
        let read = Self::read(&record.backend_type, &record.backend_data);
        read.unwrap_or(Self::Other(record.backend_type))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::VxlanData;

    fn known() -> LastKnown {
        let lease = Lease {
            subnet: "10.244.1.0/24".parse().unwrap(),
            public_ip: Ipv4Addr::new(172, 30, 0, 11),
            node_name: "node1".to_owned(),
            backend: LeaseBackend::Vxlan(
                VxlanData::from_json(r#"{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}"#).unwrap(),
            ),
            claimed_at: Timestamp::from_unix_seconds(7),
            renewed_at: None,
        };
        let other = Lease { backend: LeaseBackend::HostGw, ..lease.clone() };
        let third = Lease { backend: LeaseBackend::Other("udp".to_owned()), ..lease.clone() };
        let lease6 = Lease6 {
            subnet: "fd00:10:244:1::/64".parse().unwrap(),
            public_ip: "fd00:30::11".parse().unwrap(),
            node_name: "node1".to_owned(),
            backend: lease.backend.clone(),
            claimed_at: lease.claimed_at,
        };
        LastKnown {
            node_name: "node1".to_owned(),
            wished_ip: Some(Ipv4Addr::new(203, 0, 113, 1)),
            wished_ipv6: None,
            own: Some(lease.clone()),
            own6: Some(lease6.clone()),
            leases: vec![lease, other, third],
            leases6: vec![lease6],
        }
    }

    #[test]
    fn what_was_written_is_what_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/last-known.json");
        known().write(&path).unwrap();
        assert_eq!(LastKnown::read(&path).unwrap(), Some(known()));
    }

    #[test]
    fn no_file_is_no_error_and_half_a_file_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("last-known.json");
        assert_eq!(LastKnown::read(&path).unwrap(), None);
        std::fs::write(&path, r#"{"node_name":"node1""#).unwrap();
        assert!(LastKnown::read(&path).is_err());
    }
}
