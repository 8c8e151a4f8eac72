//! [`Host`]: what an agent finds again after a crash.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use tartan_common::abi::{self, NodeEntry};
use tartan_common::{Mac, Mtu};
use tartan_core::conflict::Peer;
use tartan_core::desired::{Desired, HostFacts, NextHop, TunnelFacts};

use crate::mutant::Mutant;

/// A node without its agent.
#[derive(Debug, Clone)]
pub struct Host {
    /// The Node's name.
    pub name: String,
    /// The uplink's address.
    pub address: Ipv4Addr,
    /// The address of the overlay device, once it was made; lost by a reboot.
    pub device: Option<Mac>,
    /// The memory file.
    pub last_known: Option<String>,
    /// The kernel's tables; lost by a reboot.
    pub tables: Tables,
}

/// `PEERS` and `NODES`.
#[derive(Debug, Clone, Default)]
pub struct Tables {
    /// By the first address of the subnet; with the lease that it was made of.
    pub peers: BTreeMap<Ipv4Addr, (abi::Peer, Peer)>,
    /// By the node's address.
    pub nodes: BTreeMap<Ipv4Addr, NodeEntry>,
}

impl Host {
    /// What the host says about itself, with a route to each of these.
    #[must_use]
    pub fn facts(&self, vtep_mac: Mac, peers: &[Peer]) -> HostFacts {
        let hop = |peer: &Peer| (peer.public_ip, NextHop { via: peer.public_ip, ifindex: 2 });
        HostFacts {
            node: self.address,
            uplink_ifindex: 2,
            link_mtu: mtu(1500),
            tunnel: Some(TunnelFacts { overlay_ifindex: 7, vtep_mac, overlay_mtu: mtu(1450) }),
            ttl: 64,
            ports: (32768, 60999),
            next_hops: peers.iter().map(hop).collect(),
        }
    }
}

fn mtu(bytes: u64) -> Mtu {
    Mtu::new(bytes).unwrap_or_else(|_| unreachable!("{bytes} is an MTU"))
}

impl Tables {
    /// Brings the tables to the desired state in the agent's order of steps, up to `most` of them:
    /// an agent that is killed leaves the rest undone.
    pub fn apply(
        &mut self,
        desired: &Desired,
        owners: &[Peer],
        most: usize,
        mutant: Option<Mutant>,
    ) {
        let owner =
            |subnet: Ipv4Addr| owners.iter().find(|peer| peer.subnet.first_address() == subnet);
        let mut left = most;
        let mut step = || {
            left = left.saturating_sub(1);
            left > 0
        };
        for (address, entry) in &desired.nodes {
            if self.nodes.get(address) != Some(entry) && step() {
                self.nodes.insert(*address, *entry);
            }
        }
        for (subnet, entry) in &desired.peers {
            let Some(owner) = owner(*subnet) else { continue };
            let known = self.peers.get(subnet);
            let keep = mutant == Some(Mutant::KeepOldAddresses) && known.is_some();
            let same = known.is_some_and(|(known, of)| known == entry && of == owner);
            if !same && !keep && step() {
                self.peers.insert(*subnet, (*entry, owner.clone()));
            }
        }
        if mutant == Some(Mutant::NeverRemove) {
            return;
        }
        self.peers.retain(|subnet, _| desired.peers.contains_key(subnet) || !step());
        self.nodes.retain(|address, _| desired.nodes.contains_key(address) || !step());
    }
}
