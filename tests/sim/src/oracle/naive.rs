//! The expected peers of a node, computed from the API's objects by an implementation of its own.
//!
//! Nothing of the product is used here but number types of the standard library. It is slow and
//! obvious on purpose: every rule is one line of a filter.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde_json::Value;

use crate::api::PREFIX;
use crate::api::object::Object;
use crate::{NETWORK, VNI};

/// What a Node object says about IPv4, if it says something that can be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NaiveLease {
    /// The node.
    pub name: String,
    /// When its object was made.
    pub created: u64,
    /// Its subnet.
    pub subnet: Ipv4Net,
    /// Its address.
    pub address: Ipv4Addr,
    /// The MAC address of its VTEP.
    pub mac: [u8; 6],
    /// Its VNI, if it says one.
    pub vni: Option<u64>,
}

/// What a node knows about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Itself<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its subnet.
    pub subnet: Ipv4Net,
    /// What it publishes as its address.
    pub address: Ipv4Addr,
    /// The MAC address of its VTEP.
    pub mac: [u8; 6],
}

/// The annotation of this name.
#[must_use]
pub fn annotation<'a>(object: &'a Object, name: &str) -> &'a str {
    object.annotations.get(&format!("{PREFIX}{name}")).map_or("", String::as_str)
}

/// The lease that the object stands for; `None` if it is none, or none over VXLAN.
#[must_use]
pub fn lease_of(object: &Object) -> Option<NaiveLease> {
    let longest = object.annotations.values().map(String::len).max().unwrap_or_default();
    if annotation(object, "kube-subnet-manager") != "true"
        || annotation(object, "backend-type") != "vxlan"
        || longest > 4096
    {
        return None;
    }
    let (mac, vni) = backend_data(annotation(object, "backend-data"))?;
    Some(NaiveLease {
        name: object.name.clone(),
        created: object.created,
        subnet: subnet_of(object)?,
        address: annotation(object, "public-ip").parse().ok()?,
        mac,
        vni,
    })
}

/// The subnet that the object has, if it is one that pods can live in.
#[must_use]
pub fn subnet_of(object: &Object) -> Option<Ipv4Net> {
    if object.pod_cidrs.len() > 2 {
        return None;
    }
    let text = object.pod_cidrs.iter().rfind(|text| !text.contains(':'))?;
    let net: Ipv4Net = text.parse().ok()?;
    ((8..=30).contains(&net.prefix_len()) && net.addr() == net.network()).then_some(net)
}

fn backend_data(text: &str) -> Option<([u8; 6], Option<u64>)> {
    let Value::Object(fields) = serde_json::from_str(text).ok()? else { return None };
    let field = |name: &str| {
        fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    };
    let vni = match field("VNI") {
        None | Some(Value::Null) => None,
        Some(value) => Some(value.as_u64()?).filter(|vni| *vni != 0),
    };
    if vni.is_some_and(|vni| vni >= 1 << 24) {
        return None;
    }
    Some((mac(field("VtepMAC")?.as_str()?)?, vni))
}

fn mac(text: &str) -> Option<[u8; 6]> {
    let bytes: Option<Vec<u8>> = text
        .split([':', '-'])
        .map(|part| u8::from_str_radix(part, 16).ok().filter(|_| part.len() == 2))
        .collect();
    let mac: [u8; 6] = bytes?.try_into().ok()?;
    (mac != [0; 6] && mac[0] & 1 == 0).then_some(mac)
}

/// The nodes that `own` can have as peers, by the rules of facts: usable by themselves, and of
/// two that share an address or a subnet the one whose object is older (by name if neither is).
#[must_use]
pub fn peers<'a>(own: Itself<'_>, leases: &[&'a NaiveLease]) -> Vec<&'a NaiveLease> {
    let network: Ipv4Net = NETWORK;
    let alone: Vec<&NaiveLease> = leases
        .iter()
        .copied()
        .filter(|lease| lease.name != own.name)
        .filter(|lease| lease.address != own.address && lease.mac != own.mac)
        .filter(|lease| !overlap(lease.subnet, own.subnet) && network.contains(&lease.subnet))
        .filter(|lease| lease.subnet.prefix_len() == own.subnet.prefix_len())
        .filter(|lease| is_usable(lease.address) && !network.contains(&lease.address))
        .filter(|lease| lease.vni.is_none_or(|vni| vni == u64::from(VNI)))
        .collect();
    let addressed = without_losers(&alone, |left, right| left.address == right.address);
    without_losers(&addressed, |left, right| overlap(left.subnet, right.subnet))
}

fn without_losers<'a>(
    all: &[&'a NaiveLease],
    clash: impl Fn(&NaiveLease, &NaiveLease) -> bool,
) -> Vec<&'a NaiveLease> {
    let is_before = |left: &NaiveLease, right: &NaiveLease| {
        (left.created, &left.name) < (right.created, &right.name)
    };
    let loses =
        |lease: &NaiveLease| all.iter().any(|other| clash(lease, other) && is_before(other, lease));
    all.iter().copied().filter(|lease| !loses(lease)).collect()
}

fn overlap(left: Ipv4Net, right: Ipv4Net) -> bool {
    left.contains(&right) || right.contains(&left)
}

fn is_usable(address: Ipv4Addr) -> bool {
    let first = address.octets()[0];
    first != 0 && first != 127 && first < 224
}
