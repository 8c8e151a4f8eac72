//! One lease as a file's content: flannel's etcd value, with what etcd kept elsewhere.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tartan_core::{Lease, LeaseBackend, PodCidr, Timestamp};

/// A node's name is a DNS name: no longer than this.
const LONGEST_NAME: usize = 253;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Record {
    subnet: PodCidr,
    node_name: String,
    #[serde(rename = "PublicIP")]
    public_ip: Ipv4Addr,
    #[serde(rename = "PublicIPv6", default)]
    public_ipv6: Option<Ipv6Addr>,
    backend_type: String,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    backend_data: Value,
    /// Absent in files written by hand: the oldest claim of all.
    #[serde(default)]
    claimed_at: Timestamp,
    /// Absent in files written by hand: a lease that never expires.
    #[serde(default)]
    renewed_at: Option<Timestamp>,
}

/// The file's content for `lease`, readable by people.
pub(super) fn print(lease: &Lease) -> serde_json::Result<String> {
    let backend_data = match &lease.backend {
        LeaseBackend::Vxlan(data) => serde_json::to_value(data)?,
        LeaseBackend::HostGw | LeaseBackend::Other(_) => Value::Null,
    };
    let record = Record {
        subnet: lease.subnet,
        node_name: lease.node_name.clone(),
        public_ip: lease.public_ip,
        public_ipv6: None,
        backend_type: lease.backend.type_name().to_owned(),
        backend_data,
        claimed_at: lease.claimed_at,
        renewed_at: lease.renewed_at,
    };
    Ok(serde_json::to_string_pretty(&record)? + "\n")
}

/// The lease that a file named for `subnet` holds, or what is wrong with the file.
pub(super) fn parse(text: &str, subnet: PodCidr) -> Result<Lease, String> {
    let record: Record = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if record.subnet != subnet {
        return Err(format!("the file is named for {subnet} but holds {}", record.subnet));
    }
    check_name(&record.node_name)?;
    Ok(Lease {
        subnet,
        public_ip: record.public_ip,
        backend: backend(&record)?,
        claimed_at: record.claimed_at,
        renewed_at: record.renewed_at,
        node_name: record.node_name,
    })
}

fn backend(record: &Record) -> Result<LeaseBackend, String> {
    LeaseBackend::read(&record.backend_type, &record.backend_data.to_string())
        .map_err(|error| format!("BackendData: {error}"))
}

fn check_name(name: &str) -> Result<(), String> {
    let is_plain = name.chars().all(|letter| letter.is_ascii_graphic());
    if is_plain && (1..=LONGEST_NAME).contains(&name.len()) {
        return Ok(());
    }
    Err(format!("NodeName is not a node's name: 1 to {LONGEST_NAME} visible ASCII characters"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{
  "Subnet": "10.244.1.0/24",
  "NodeName": "node-a",
  "PublicIP": "192.168.64.3",
  "PublicIPv6": null,
  "BackendType": "vxlan",
  "BackendData": {
    "VNI": 1,
    "VtepMAC": "c6:d2:32:6f:8f:44"
  },
  "ClaimedAt": "2026-11-22T16:42:05Z",
  "RenewedAt": "2026-11-22T17:42:05Z"
}
"#;

    fn subnet() -> PodCidr {
        "10.244.1.0/24".parse().unwrap()
    }

    #[test]
    fn a_lease_prints_as_flannels_value_and_reads_back() {
        let lease = parse(TEXT, subnet()).unwrap();
        assert_eq!(lease.node_name, "node-a");
        assert_eq!(lease.vtep_mac().unwrap().to_string(), "c6:d2:32:6f:8f:44");
        assert_eq!(print(&lease).unwrap(), TEXT);
    }

    #[test]
    fn a_lease_written_by_hand_never_expires() {
        let text = r#"{"Subnet": "10.244.1.0/24", "NodeName": "vpn", "PublicIP": "192.168.64.9",
            "BackendType": "host-gw", "Note": "by hand"}"#;
        let lease = parse(text, subnet()).unwrap();
        assert_eq!((lease.renewed_at, lease.claimed_at), (None, Timestamp::default()));
        assert_eq!(lease.backend, LeaseBackend::HostGw);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        let other = "10.244.2.0/24".parse().unwrap();
        let fault = |text: &str, subnet| parse(text, subnet).unwrap_err();
        assert_eq!(
            fault(TEXT, other),
            "the file is named for 10.244.2.0/24 but holds 10.244.1.0/24"
        );
        assert!(fault("{", subnet()).starts_with("EOF while parsing"));
        assert!(fault(&TEXT.replace("192.168.64.3", "x"), subnet()).contains("IPv4"));
        assert!(fault(&TEXT.replace("node-a", "a b"), subnet()).starts_with("NodeName"));
        assert!(
            fault(&TEXT.replace("c6:d2", "c7:d2"), subnet()).starts_with("BackendData: VtepMAC")
        );
        assert!(fault(&TEXT.replace(".1.0/24", ".1.7/24"), subnet()).contains("host bits"));
    }
}
