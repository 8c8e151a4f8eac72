//! From what a node is to its annotations: flannel's texts, byte for byte.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::{Map, Value};

use super::{AnnotationPrefix, Key, NodeRecord};
use crate::LeaseBackend;

/// What a node has to say about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Its address, unless the operator overwrites it.
    pub public_ip: Ipv4Addr,
    /// How it wants to be reached.
    pub backend: LeaseBackend,
    /// The same for IPv6, where the node has it.
    pub ipv6: Option<Publication6>,
}

/// The IPv6 half.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication6 {
    /// Its address, unless the operator overwrites it.
    pub public_ip: Ipv6Addr,
    /// How it wants to be reached.
    pub backend: LeaseBackend,
}

/// The addresses that are published: the operator's `public-ip-overwrite` before the node's own.
/// An overwrite that is no address is passed over.
#[must_use]
pub fn published_addresses(
    publication: &Publication,
    record: &NodeRecord,
) -> (Ipv4Addr, Option<Ipv6Addr>) {
    let overwritten = record.annotation(Key::PublicIpOverwrite).and_then(|text| text.parse().ok());
    let v6 = publication.ipv6.as_ref().map(|ipv6| {
        let text = record.annotation(Key::PublicIpv6Overwrite);
        text.and_then(|text| text.parse().ok()).unwrap_or(ipv6.public_ip)
    });
    (overwritten.unwrap_or(publication.public_ip), v6)
}

/// All annotations of ours that the Node shall have. Without IPv6, its keys are left alone.
#[must_use]
pub fn wanted(publication: &Publication, record: &NodeRecord) -> Vec<(Key, String)> {
    let (public_ip, public_ipv6) = published_addresses(publication, record);
    let mut wanted = vec![
        (Key::SubnetManager, "true".to_owned()),
        (Key::BackendType, publication.backend.type_name().to_owned()),
        (Key::BackendData, publication.backend.data()),
        (Key::PublicIp, public_ip.to_string()),
    ];
    if let (Some(ipv6), Some(address)) = (&publication.ipv6, public_ipv6) {
        wanted.push((Key::BackendV6Data, ipv6.backend.data()));
        wanted.push((Key::PublicIpv6, address.to_string()));
    }
    wanted
}

/// Those of `wanted` that the Node does not have yet.
#[must_use]
pub fn difference(record: &NodeRecord, wanted: Vec<(Key, String)>) -> Vec<(Key, String)> {
    wanted.into_iter().filter(|(key, value)| record.annotation(*key) != Some(value)).collect()
}

/// The JSON merge patch (RFC 7396) that sets these annotations and touches nothing else.
#[must_use]
pub fn merge_patch(prefix: &AnnotationPrefix, annotations: &[(Key, String)]) -> String {
    let fields: Map<String, Value> = annotations
        .iter()
        .map(|(key, value)| (prefix.key(*key), Value::String(value.clone())))
        .collect();
    serde_json::json!({ "metadata": { "annotations": fields } }).to_string()
}
