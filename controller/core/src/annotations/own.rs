//! What a node's own Node object says to it.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use tartan_common::Mac;
use thiserror::Error;

use super::leases::{pod_cidr4, pod_cidr6};
use super::{Key, LeaseFault, NodeRecord, Publication, published_addresses};
use crate::{Lease, Lease6, PodCidr, VxlanData};

/// The pod networks of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Networks {
    /// flannel's `Network`, where IPv4 is on.
    pub v4: Option<Ipv4Net>,
    /// flannel's `IPv6Network`, where IPv6 is on.
    pub v6: Option<Ipv6Net>,
}

/// What the node holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// The IPv4 lease, where the cluster has IPv4.
    pub v4: Option<Lease>,
    /// The IPv6 lease, if the node has one; `Err` says what is wrong with it. IPv4 works on. Where
    /// there is no IPv4 lease, there is one.
    pub v6: Result<Option<Lease6>, OwnFault>,
}

/// Why a node holds nothing of a family. The texts start as flannel's do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OwnFault {
    /// No subnet was assigned yet.
    #[error(
        "node {node:?} pod cidr not assigned: run kube-controller-manager with \
         --allocate-node-cidrs=true --cluster-cidr={network}, or set spec.podCIDR of the Node"
    )]
    Missing {
        /// The node.
        node: String,
        /// The pod network.
        network: String,
    },
    /// The subnet belongs to another network.
    #[error(
        "subnet {network:?} specified in the flannel net config doesn't contain {cidr:?} PodCIDR of \
         the {node:?} node: make Network in net-conf and --cluster-cidr of kube-controller-manager \
         the same, and recreate the Node"
    )]
    Outside {
        /// The node.
        node: String,
        /// The pod network.
        network: String,
        /// The node's subnet.
        cidr: String,
    },
    /// Neither family has both a network and an address.
    #[error(
        "node {node:?} has no address of a family that the flannel net config enables: give its \
             uplink one"
    )]
    NoFamily {
        /// The node.
        node: String,
    },
    /// The subnet cannot be used for pods.
    #[error("node {node:?}: {fault}")]
    Unusable {
        /// The node.
        node: String,
        /// What is wrong.
        fault: LeaseFault,
    },
}

/// What was left on the Node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnWishes {
    /// flannel's `node-public-ip`.
    pub public_ip: Option<Ipv4Addr>,
    /// flannel's `node-public-ipv6`.
    pub public_ipv6: Option<Ipv6Addr>,
    /// The VTEP MAC address of `backend-data`.
    pub vtep_mac: Option<Mac>,
    /// The VTEP MAC address of `backend-v6-data`.
    pub vtep_mac6: Option<Mac>,
}

/// What the operator wants of the node, and what the node published last. Texts that cannot be
/// read count as absent.
#[must_use]
pub fn wishes(record: &NodeRecord) -> OwnWishes {
    let text = |key| record.annotation(key);
    let mac = |key| VxlanData::from_json(text(key)?).ok().map(|data| data.vtep_mac);
    OwnWishes {
        public_ip: text(Key::NodePublicIp).and_then(|text| text.parse().ok()),
        public_ipv6: text(Key::NodePublicIpv6).and_then(|text| text.parse().ok()),
        vtep_mac: mac(Key::BackendData),
        vtep_mac6: mac(Key::BackendV6Data),
    }
}

/// What the node holds: its podCIDRs, published as `publication` says.
///
/// # Errors
/// [`OwnFault`], if it holds no IPv4 subnet; in a cluster of IPv6 alone, no IPv6 subnet.
pub fn own_leases(
    record: &NodeRecord,
    publication: &Publication,
    networks: Networks,
) -> Result<Own, OwnFault> {
    let (public_ip, public_ipv6) = published_addresses(publication, record);
    let v4 = match (networks.v4, public_ip) {
        (Some(network), Some(public_ip)) => Some(Lease {
            subnet: own_subnet4(record, network)?,
            public_ip,
            node_name: record.name.clone(),
            backend: publication.backend.clone(),
            claimed_at: record.created,
            renewed_at: None,
        }),
        (None, _) | (_, None) => None,
    };
    let v6 = match (networks.v6, &publication.ipv6, public_ipv6) {
        (Some(network), Some(ipv6), Some(public_ip)) => {
            own_subnet6(record, network).map(|subnet| {
                let backend = ipv6.backend.clone();
                let (node_name, claimed_at) = (record.name.clone(), record.created);
                Some(Lease6 { subnet, public_ip, node_name, backend, claimed_at })
            })
        }
        (None, _, _) | (_, None, _) | (_, _, None) => Ok(None),
    };
    match v6 {
        Err(fault) if v4.is_none() => Err(fault),
        Ok(None) if v4.is_none() => Err(OwnFault::NoFamily { node: record.name.clone() }),
        v6 @ (Ok(_) | Err(_)) => Ok(Own { v4, v6 }),
    }
}

fn own_subnet4(record: &NodeRecord, network: Ipv4Net) -> Result<PodCidr, OwnFault> {
    let subnet = checked(record, pod_cidr4(record), &network.to_string())?;
    if subnet.is_within(network) { Ok(subnet) } else { Err(outside(record, &network, &subnet)) }
}

fn own_subnet6(record: &NodeRecord, network: Ipv6Net) -> Result<Ipv6Net, OwnFault> {
    let subnet = checked(record, pod_cidr6(record), &network.to_string())?;
    if network.contains(&subnet) { Ok(subnet) } else { Err(outside(record, &network, &subnet)) }
}

fn checked<T>(
    record: &NodeRecord,
    subnet: Result<Option<T>, LeaseFault>,
    network: &str,
) -> Result<T, OwnFault> {
    let node = record.name.clone();
    let unusable = |fault| OwnFault::Unusable { node: node.clone(), fault };
    let missing = OwnFault::Missing { node: node.clone(), network: network.to_owned() };
    subnet.map_err(unusable)?.ok_or(missing)
}

fn outside(record: &NodeRecord, network: &impl ToString, cidr: &impl ToString) -> OwnFault {
    OwnFault::Outside {
        node: record.name.clone(),
        network: network.to_string(),
        cidr: cidr.to_string(),
    }
}
