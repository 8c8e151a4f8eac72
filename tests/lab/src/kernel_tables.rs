//! The kernel's tables of a node, read past the product: what packets go by.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::frames::MacBytes;
use crate::node::Node;
use crate::process::Place as _;

/// Where the inner destination address stands in a peer's outer header.
const INNER_DESTINATION: usize = 50;
/// Where the node's address stands in a peer's entry.
const PEER_NODE: usize = 80;

/// Where packets for a subnet go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerRow {
    /// The node's address.
    pub node: Ipv4Addr,
    /// The address that inner frames carry.
    pub vtep: MacBytes,
}

/// Peers by the first address of their subnet.
pub type PeerRows = BTreeMap<Ipv4Addr, PeerRow>;
/// Subnets, by their first address, of those who may send.
pub type SenderRows = BTreeMap<Ipv4Addr, Ipv4Addr>;

impl Node {
    /// The map `PEERS`.
    ///
    /// # Errors
    /// When bpftool cannot read it.
    pub fn peer_rows(&self) -> Result<PeerRows> {
        let row = |value: &[u8]| {
            Some(PeerRow {
                node: address(value, PEER_NODE)?,
                vtep: *value.get(INNER_DESTINATION..)?.first_chunk()?,
            })
        };
        rows(self, "PEERS", row)
    }

    /// The map `PODS`: the pods' addresses.
    ///
    /// # Errors
    /// When bpftool cannot read it.
    pub fn pod_rows(&self) -> Result<BTreeSet<Ipv4Addr>> {
        Ok(rows(self, "PODS", |_| Some(()))?.into_keys().collect())
    }

    /// The map `NODES`, without what it says about the node itself.
    ///
    /// # Errors
    /// When bpftool cannot read it.
    pub fn sender_rows(&self) -> Result<SenderRows> {
        let mut senders = rows(self, "NODES", |value| address(value, 0))?;
        senders.remove(&self.address());
        Ok(senders)
    }
}

fn rows<V>(
    node: &Node,
    map: &str,
    read: impl Fn(&[u8]) -> Option<V>,
) -> Result<BTreeMap<Ipv4Addr, V>> {
    let text = node.run(&format!("bpftool -j map dump pinned /sys/fs/bpf/tartan/maps/{map}"))?;
    let dump: Vec<Value> = serde_json::from_str(&text)?;
    let row = |entry: &Value| {
        Some((address(&bytes(&entry["key"])?, 0)?, read(&bytes(&entry["value"])?)?))
    };
    dump.iter().map(|entry| row(entry).with_context(|| format!("{map}: {entry}"))).collect()
}

/// `["0x0a", "0xf4", ...]`.
fn bytes(list: &Value) -> Option<Vec<u8>> {
    let byte = |text: &Value| u8::from_str_radix(text.as_str()?.strip_prefix("0x")?, 16).ok();
    list.as_array()?.iter().map(byte).collect()
}

fn address(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    bytes.get(at..)?.first_chunk::<4>().map(|octets| (*octets).into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_bytes_of_a_dump_are_hexadecimal() {
        let key = bytes(&json!(["0x0a", "0xf4", "0x01", "0x00"])).unwrap();
        assert_eq!(address(&key, 0), Some(Ipv4Addr::new(10, 244, 1, 0)));
        assert_eq!(bytes(&json!([10])), None);
    }
}
