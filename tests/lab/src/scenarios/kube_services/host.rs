//! The hosts that take part, by role: clients, servers, and the addresses that a packet may carry.

use std::fmt;
use std::net::IpAddr;

use anyhow::{Context as _, Result};
use ipnet::IpNet;

use super::side::{Family, Side};
use crate::ipv6::address6;
use crate::process::Place;

/// A role; each side has one host for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Host {
    /// A pod of node 1 that serves too, but stands behind no Service.
    Client,
    /// A pod of node 1.
    Near,
    /// A pod of node 2.
    Far,
    /// A pod of node 1 with a port of its node (`hostPort`).
    Published,
    /// Node 1: its processes, and pods in its network.
    Node1,
    /// Node 2.
    Node2,
    /// A machine on the wire that is no node.
    Outside,
}

impl Host {
    /// All of them.
    pub(super) const ALL: [Self; 7] = [
        Self::Client,
        Self::Near,
        Self::Far,
        Self::Published,
        Self::Node1,
        Self::Node2,
        Self::Outside,
    ];

    /// What its server answers with.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Near => "near",
            Self::Far => "far",
            Self::Published => "published",
            Self::Node1 => "node1",
            Self::Node2 => "node2",
            Self::Outside => "outside",
        }
    }

    /// Where it runs.
    pub(super) fn place(self, side: &Side) -> Result<&dyn Place> {
        Ok(match self {
            Self::Client | Self::Near | Self::Far | Self::Published => side.pod(self)?,
            Self::Node1 => &side.nodes[0],
            Self::Node2 => &side.nodes[1],
            Self::Outside => &side.outside,
        })
    }

    /// Its own address, of the family that is asked about.
    pub(super) fn address(self, side: &Side) -> Result<IpAddr> {
        let on_the_wire = |address| match side.family {
            Family::V4 => IpAddr::V4(address),
            Family::V6 => IpAddr::V6(address6(address)),
        };
        match (self, side.family) {
            (Self::Client | Self::Near | Self::Far | Self::Published, Family::V4) => {
                side.pod(self)?.address().map(IpAddr::V4)
            }
            (Self::Client | Self::Near | Self::Far | Self::Published, Family::V6) => {
                side.address6(self).map(IpAddr::V6)
            }
            (Self::Node1, _) => Ok(on_the_wire(side.nodes[0].address())),
            (Self::Node2, _) => Ok(on_the_wire(side.nodes[1].address())),
            (Self::Outside, _) => Ok(on_the_wire(side.outside.address())),
        }
    }

    /// The name of the node object whose pod it is.
    pub(super) fn node(self, side: &Side) -> &str {
        let index = usize::from(matches!(self, Self::Far | Self::Node2));
        side.nodes[index].name()
    }
}

/// A source in words that mean the same on every side.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// The pod or the outside host that asked: nobody translated it.
    Own,
    /// A node's address on the wire.
    Uplink(usize),
    /// The first address of a node's pods, .0: that of its tunnel device.
    Tunnel(usize),
    /// The second one, .1: the pods' gateway, which flannel's bridge has.
    Gateway(usize),
    /// Anything else.
    Other(IpAddr),
}

impl Source {
    /// What a server saw that `from` asked.
    pub(super) fn of(side: &Side, from: Host, seen: IpAddr) -> Result<Self> {
        for (index, pod) in [Host::Client, Host::Far].into_iter().enumerate() {
            let (pods, number) = (subnet(side, pod)?, index + 1);
            let node = [Host::Node1, Host::Node2][index];
            if node.address(side)? == seen {
                return Ok(Self::Uplink(number));
            }
            if pods.network() == seen {
                return Ok(Self::Tunnel(number));
            }
            if gateway(pods) == seen {
                return Ok(Self::Gateway(number));
            }
        }
        Ok(if from.address(side)? == seen { Self::Own } else { Self::Other(seen) })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => f.write_str("the client's own"),
            Self::Uplink(node) => write!(f, "node {node}"),
            Self::Tunnel(node) => write!(f, "node {node}, .0"),
            Self::Gateway(node) => write!(f, "node {node}, .1"),
            Self::Other(address) => write!(f, "{address}"),
        }
    }
}

/// The part of the pod network of a pod's node.
fn subnet(side: &Side, pod: Host) -> Result<IpNet> {
    let address = pod.address(side)?;
    let length = if address.is_ipv4() { 24 } else { 64 };
    let net = IpNet::new(address, length).context("a /24 or a /64 for each node")?;
    Ok(net.trunc())
}

/// The first address after the network's own.
fn gateway(pods: IpNet) -> IpAddr {
    match pods.network() {
        IpAddr::V4(first) => IpAddr::V4((first.to_bits() | 1).into()),
        IpAddr::V6(first) => IpAddr::V6((first.to_bits() | 1).into()),
    }
}
