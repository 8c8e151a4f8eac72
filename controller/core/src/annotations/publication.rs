//! From what a node is to its annotations: flannel's texts, byte for byte.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::{Map, Value};

use super::leases::NO_IPV4;
use super::{AnnotationPrefix, Key, NodeRecord};
use crate::LeaseBackend;

/// What a node has to say about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Its address, unless the operator overwrites it; `None` in a cluster of IPv6 alone.
    pub public_ip: Option<Ipv4Addr>,
    /// How it wants to be reached.
    pub backend: LeaseBackend,
    /// The same for IPv6, where the node has it.
    pub ipv6: Option<Publication6>,
}

/// The IPv6 half.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication6 {
    /// Its address, unless the operator overwrites it; the IPv4-mapped form of its IPv4 address
    /// where it has no other.
    pub public_ip: Ipv6Addr,
    /// How it wants to be reached.
    pub backend: LeaseBackend,
}

impl Publication6 {
    /// Whether the node has no IPv6 address, and is reached over IPv4.
    #[must_use]
    pub fn is_over_ipv4(&self) -> bool {
        self.public_ip.to_ipv4_mapped().is_some()
    }
}

/// The addresses that are published: the operator's `public-ip-overwrite` before the node's own.
/// An overwrite that is no address is passed over.
#[must_use]
pub fn published_addresses(
    publication: &Publication,
    record: &NodeRecord,
) -> (Option<Ipv4Addr>, Option<Ipv6Addr>) {
    let v4 = publication.public_ip.map(|own| {
        let text = record.annotation(Key::PublicIpOverwrite);
        text.and_then(|text| text.parse().ok()).unwrap_or(own)
    });
    let v6 = publication.ipv6.as_ref().map(|ipv6| {
        if ipv6.is_over_ipv4() {
            return ipv6.public_ip;
        }
        let text = record.annotation(Key::PublicIpv6Overwrite);
        text.and_then(|text| text.parse().ok()).unwrap_or(ipv6.public_ip)
    });
    (v4, v6)
}

/// The text of an annotation that shall not be there.
const GONE: &str = "";

/// All annotations of ours that the Node shall have; an empty text is one that it shall not have. The keys of a family that the node has not
/// are left alone, but where flannel writes them.
#[must_use]
pub fn wanted(publication: &Publication, record: &NodeRecord) -> Vec<(Key, String)> {
    let (public_ip, public_ipv6) = published_addresses(publication, record);
    let mut wanted = vec![
        (Key::SubnetManager, "true".to_owned()),
        (Key::BackendType, publication.backend.type_name().to_owned()),
    ];
    if let Some(address) = public_ip {
        wanted.push((Key::BackendData, publication.backend.data()));
        wanted.push((Key::PublicIp, address.to_string()));
    } else if publication.backend == LeaseBackend::HostGw {
        // As flannel's host-gw does; with a tunnel it says nothing.
        wanted.push((Key::BackendData, publication.backend.data()));
        wanted.push((Key::PublicIp, NO_IPV4.to_owned()));
    }
    let ipv6 = publication.ipv6.as_ref().zip(public_ipv6);
    if let Some((ipv6, _)) = ipv6
        && ipv6.is_over_ipv4()
    {
        // Of an address that the node had once.
        for key in [Key::BackendV6Data, Key::PublicIpv6] {
            wanted.push((key, GONE.to_owned()));
        }
    } else if let Some((ipv6, address)) = ipv6 {
        wanted.push((Key::BackendV6Data, ipv6.backend.data()));
        wanted.push((Key::PublicIpv6, address.to_string()));
    }
    wanted
}

/// Those of `wanted` that the Node does not have yet.
#[must_use]
pub fn difference(record: &NodeRecord, wanted: Vec<(Key, String)>) -> Vec<(Key, String)> {
    let differs = |(key, value): &(Key, String)| record.annotation(*key).unwrap_or(GONE) != value;
    wanted.into_iter().filter(differs).collect()
}

/// The JSON merge patch (RFC 7396) that sets these annotations, or removes them, and touches
/// nothing else.
#[must_use]
pub fn merge_patch(prefix: &AnnotationPrefix, annotations: &[(Key, String)]) -> String {
    let fields: Map<String, Value> = annotations
        .iter()
        .map(|(key, value)| {
            let value = if value == GONE { Value::Null } else { Value::String(value.clone()) };
            (prefix.key(*key), value)
        })
        .collect();
    serde_json::json!({ "metadata": { "annotations": fields } }).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::{Networks, own_leases, to_leases};
    use super::*;
    use crate::Timestamp;

    /// Of host-gw flannel writes both families' keys, and we read them as what they mean.
    fn without_a_tunnel(record: &NodeRecord, ipv6: &Publication6) {
        let backend = LeaseBackend::HostGw;
        let ipv6 = Publication6 { backend: backend.clone(), ..ipv6.clone() };
        let publication = Publication { public_ip: None, backend, ipv6: Some(ipv6) };
        let mut record = record.clone();
        for (key, value) in wanted(&publication, &record) {
            record.annotate(key, &value);
        }
        assert_eq!(record.annotation(Key::PublicIp), Some("0.0.0.0"));
        assert_eq!(record.annotation(Key::BackendData), Some("null"));
        let read = to_leases(&record);
        assert_eq!(read.v4, Ok(None));
        assert_eq!(read.v6.unwrap().unwrap().backend, LeaseBackend::HostGw);
        record.pod_cidrs.push("10.244.1.0/24".into());
        assert_eq!(to_leases(&record).v4.unwrap().unwrap().public_ip, Ipv4Addr::UNSPECIFIED);
    }

    /// A node without an IPv6 address publishes nothing of IPv6, takes back what it said before, and
    /// is read as one that is reached over IPv4.
    #[test]
    fn a_node_without_an_ipv6_address_is_reached_over_ipv4() {
        let mut record = NodeRecord::bare("node1", "uid", Timestamp::from_unix_seconds(1));
        record.pod_cidrs = vec!["10.244.1.0/24".into(), "fd00:10:244:1::/64".into()];
        record.annotate(Key::PublicIpv6, "fd30::11");
        record.annotate(Key::PublicIpv6Overwrite, "fd30::12");
        let backend = LeaseBackend::read("vxlan", r#"{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}"#);
        let backend = backend.unwrap();
        let public_ip: Ipv4Addr = "192.0.2.1".parse().unwrap();
        let ipv6 = Publication6 { public_ip: public_ip.to_ipv6_mapped(), backend: backend.clone() };
        let publication = Publication { public_ip: Some(public_ip), backend, ipv6: Some(ipv6) };
        let networks =
            Networks { v4: "10.244.0.0/16".parse().ok(), v6: "fd00:10:244::/56".parse().ok() };
        let own = own_leases(&record, &publication, networks).unwrap().v6.unwrap();
        let difference = difference(&record, wanted(&publication, &record));
        let patch = merge_patch(&AnnotationPrefix::default(), &difference);
        assert!(patch.contains(r#"public-ipv6":null"#), "{patch}");
        assert!(!patch.contains("backend-v6-data"), "{patch}");
        for (key, value) in difference {
            record.annotate(key, &value);
        }
        let read = to_leases(&record).v6.unwrap();
        assert_eq!(read, own);
        assert!(read.unwrap().is_over_ipv4());
        assert!(super::difference(&record, wanted(&publication, &record)).is_empty());
        record.annotate(Key::PublicIpv6, "::ffff:192.0.2.1");
        assert!(to_leases(&record).v6.is_err());
    }

    #[test]
    fn a_node_of_ipv6_alone_says_nothing_of_ipv4() {
        let mut record = NodeRecord::bare("node1", "uid", Timestamp::from_unix_seconds(1));
        record.pod_cidrs = vec!["fd00:10:244:1::/64".into()];
        let backend = LeaseBackend::read("vxlan", r#"{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}"#);
        let backend = backend.unwrap();
        let public_ip = "fd30::11".parse().unwrap();
        let ipv6 = Some(Publication6 { public_ip, backend: backend.clone() });
        let publication = Publication { public_ip: None, backend, ipv6 };
        let networks = Networks { v4: None, v6: "fd00:10:244::/56".parse().ok() };
        let own = own_leases(&record, &publication, networks).unwrap();
        for (key, value) in wanted(&publication, &record) {
            record.annotate(key, &value);
        }
        for key in [Key::BackendData, Key::PublicIp] {
            assert_eq!(record.annotation(key), None);
        }
        let read = to_leases(&record);
        assert_eq!((own.v4, read.v4), (None, Ok(None)));
        assert_eq!(own.v6.unwrap(), read.v6.unwrap());
        without_a_tunnel(&record, publication.ipv6.as_ref().unwrap());
        record.pod_cidrs = Vec::new();
        let fault = own_leases(&record, &publication, networks).unwrap_err().to_string();
        assert!(fault.contains("--cluster-cidr=fd00:10:244::/56"), "{fault}");
    }
}
