//! From a Node to its leases.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Net;
use thiserror::Error;

use super::{Key, NodeRecord, RecordFault};
use crate::lease::BackendDataError;
use crate::pod_cidr::PodCidrError;
use crate::{Lease, Lease6, LeaseBackend, PodCidr};

/// Prefix lengths of IPv6 subnets that can hold pods: flannel's bound, and the shortest of ours.
const IPV6_LENGTHS: std::ops::RangeInclusive<u8> = 16..=126;
/// Names of backends are this long at most, where they are repeated.
const LONGEST_TYPE: usize = 32;

/// What `public-ip` says where there is no IPv4.
pub(super) const NO_IPV4: &str = "0.0.0.0";

/// One of the two address families.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// The leases that a Node stands for. The families are independent of each other: `Ok(None)` is
/// a node that takes no part in one, which is no fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeLeases {
    /// The IPv4 subnet.
    pub v4: Result<Option<Lease>, LeaseFault>,
    /// The IPv6 subnet.
    pub v6: Result<Option<Lease6>, LeaseFault>,
}

/// Why what a Node says about one family is no lease.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LeaseFault {
    /// The object as a whole is bad.
    #[error(transparent)]
    Record(#[from] RecordFault),
    /// Three or more.
    #[error("spec.podCIDRs has more than two entries: recreate the Node with one per family")]
    TooManyPodCidrs,
    /// The node publishes an address of the family, but has no subnet of it.
    #[error("it has no {0} podCIDR: give it one, or remove its annotations")]
    NoPodCidr(Family),
    /// Not a subnet for pods.
    #[error("podCIDR {0}: recreate the Node with a podCIDR of the cluster")]
    PodCidr(#[from] PodCidrError),
    /// Not an IPv6 subnet for pods.
    #[error("podCIDR {0:?} is no IPv6 subnet for pods: recreate the Node with one of the cluster")]
    PodCidr6(String),
    /// The node publishes how, but not where to reach it.
    #[error("it publishes no {0}: restart the agent of that node")]
    NoPublicIp(&'static str),
    /// The address is none.
    #[error("{key} = {value:?} is no {family} address: restart the agent of that node")]
    PublicIp {
        /// Of which family.
        family: Family,
        /// The annotation.
        key: &'static str,
        /// Its value, cut.
        value: String,
    },
    /// The tunnel's data cannot be used.
    #[error("{key}: {source}")]
    BackendData {
        /// The annotation.
        key: &'static str,
        /// What is wrong with it.
        source: BackendDataError,
    },
}

impl fmt::Display for Family {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// The leases that the Node stands for, as flannel reads it: only with `kube-subnet-manager`
/// exactly `true`, and the last IPv4 and the last IPv6 subnet of at most two.
#[must_use]
pub fn to_leases(record: &NodeRecord) -> NodeLeases {
    if record.annotation(Key::SubnetManager) != Some("true") {
        return NodeLeases { v4: Ok(None), v6: Ok(None) };
    }
    let v4 = lease4(record);
    let v6 = match (lease6(record), &v4) {
        (Ok(None), Ok(Some(v4))) => crossed(record, v4),
        (v6, _) => v6,
    };
    NodeLeases { v4, v6 }
}

/// A node that has an IPv6 subnet and publishes nothing of IPv6 has no IPv6 address: its pods'
/// IPv6 goes in the tunnel over IPv4.
fn crossed(record: &NodeRecord, v4: &Lease) -> Result<Option<Lease6>, LeaseFault> {
    let is_tunnelled = matches!(v4.backend, LeaseBackend::Vxlan(_));
    let subnet = if is_tunnelled { pod_cidr6(record)? } else { None };
    Ok(subnet.map(|subnet| Lease6::over_ipv4(subnet, v4)))
}

fn lease4(record: &NodeRecord) -> Result<Option<Lease>, LeaseFault> {
    let Some(public_ip) = published(record, Family::V4)? else {
        return Ok(None);
    };
    let subnet = pod_cidr4(record)?.ok_or(LeaseFault::NoPodCidr(Family::V4))?;
    Ok(Some(Lease {
        subnet,
        public_ip: address::<Ipv4Addr>(Family::V4, public_ip)?,
        node_name: record.name.clone(),
        backend: backend(record, Key::BackendData)?,
        claimed_at: record.created,
        renewed_at: None,
    }))
}

fn lease6(record: &NodeRecord) -> Result<Option<Lease6>, LeaseFault> {
    let Some(text) = published(record, Family::V6)? else {
        return Ok(None);
    };
    let subnet = pod_cidr6(record)?.ok_or(LeaseFault::NoPodCidr(Family::V6))?;
    let public_ip = address::<Ipv6Addr>(Family::V6, text)?;
    if public_ip.to_ipv4_mapped().is_some() {
        let (family, key) = (Family::V6, Key::PublicIpv6.name());
        return Err(LeaseFault::PublicIp { family, key, value: text.to_owned() });
    }
    Ok(Some(Lease6 {
        subnet,
        public_ip,
        node_name: record.name.clone(),
        backend: backend(record, Key::BackendV6Data)?,
        claimed_at: record.created,
    }))
}

/// The address that the node publishes; `None` if it publishes nothing of this family.
fn published(record: &NodeRecord, family: Family) -> Result<Option<&str>, LeaseFault> {
    let (address, data) = match family {
        Family::V4 => (Key::PublicIp, Key::BackendData),
        Family::V6 => (Key::PublicIpv6, Key::BackendV6Data),
    };
    let text = |key| record.annotation(key).filter(|text| !text.is_empty());
    if text(address).is_none() && text(data).is_none() {
        return Ok(None);
    }
    if let Some(fault) = &record.fault {
        return Err(fault.clone().into());
    }
    // flannel's host-gw says so of a node of IPv6 alone.
    if text(address) == Some(NO_IPV4) && pod_cidr4(record)?.is_none() {
        return Ok(None);
    }
    text(address).map(Some).ok_or(LeaseFault::NoPublicIp(address.name()))
}

fn address<A: std::str::FromStr>(family: Family, text: &str) -> Result<A, LeaseFault> {
    let key = match family {
        Family::V4 => Key::PublicIp.name(),
        Family::V6 => Key::PublicIpv6.name(),
    };
    let value = || text.chars().take(48).collect();
    text.parse().map_err(|_| LeaseFault::PublicIp { family, key, value: value() })
}

fn backend(record: &NodeRecord, key: Key) -> Result<LeaseBackend, LeaseFault> {
    let backend_type = record.annotation(Key::BackendType).unwrap_or_default();
    let data = record.annotation(key).unwrap_or_default();
    LeaseBackend::read(&plain(backend_type), data)
        .map_err(|source| LeaseFault::BackendData { key: key.name(), source })
}

/// Something that a log line can repeat.
fn plain(text: &str) -> String {
    let shown = |letter: char| if letter.is_ascii_graphic() { letter } else { '?' };
    text.chars().take(LONGEST_TYPE).map(shown).collect()
}

/// The node's IPv4 subnet, if it has one.
pub(super) fn pod_cidr4(record: &NodeRecord) -> Result<Option<PodCidr>, LeaseFault> {
    let text = last_cidr(record, |text| !text.contains(':'))?;
    text.map(|text| text.parse().map_err(LeaseFault::PodCidr)).transpose()
}

/// The node's IPv6 subnet, if it has one.
pub(super) fn pod_cidr6(record: &NodeRecord) -> Result<Option<Ipv6Net>, LeaseFault> {
    let Some(text) = last_cidr(record, |text| text.contains(':'))? else {
        return Ok(None);
    };
    let usable =
        |net: &Ipv6Net| net.addr() == net.network() && IPV6_LENGTHS.contains(&net.prefix_len());
    let net = text.parse().ok().filter(usable);
    net.map(Some).ok_or_else(|| LeaseFault::PodCidr6(text.to_owned()))
}

fn last_cidr(
    record: &NodeRecord,
    is_family: impl Fn(&str) -> bool,
) -> Result<Option<&str>, LeaseFault> {
    if record.pod_cidrs.len() > 2 {
        return Err(LeaseFault::TooManyPodCidrs);
    }
    Ok(record.pod_cidrs.iter().map(AsRef::as_ref).rfind(|text| is_family(text)))
}
