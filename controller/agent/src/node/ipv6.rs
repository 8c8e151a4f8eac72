//! The IPv6 half of a pass. What goes wrong here is told as a trouble and
//! leaves IPv4 as it is: the two families of a node are independent.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use anyhow::Result;
use tartan_core::conflict::{self, Observer6, Peers6};
use tartan_core::desired::Desired;
use tartan_core::desired6::{Desired6, HostFacts6, desired6};
use tartan_core::state::{AgentState, PeerState, PeerWay, RefusedState};
use tartan_datapath::{PodEntry, Pods, Pods6};
use tracing::{info, warn};

use super::Node;
use super::tunnel::{Link, Tunnel};
use crate::host::{Host, Network6, OverlayKind, gateway6};
use crate::store::{LeaseStore, OwnLeases};

/// What a pass found out about IPv6.
#[derive(Debug, Default)]
pub(super) struct Ipv6 {
    /// How the host reaches IPv6 pods; `None` where this node carries none.
    network: Option<Network6>,
    peers: Peers6,
    /// What keeps IPv6 pods from being reached, and what to do.
    troubles: Vec<String>,
}

impl<S: LeaseStore> Node<S> {
    /// Fills in the IPv6 half of the desired state.
    pub(super) fn desire_ipv6(
        &self,
        link: &Link<'_>,
        tunnel: Option<&Tunnel>,
        own: &OwnLeases,
        desired: &mut Desired,
    ) -> Ipv6 {
        let mut found = Ipv6::default();
        let (Some(network), Some(lease)) = (self.settings.conf.ipv6_network, &own.v6) else {
            return found;
        };
        let facts = match facts(link, tunnel, own) {
            Ok(facts) => facts,
            Err(trouble) => {
                found.troubles.push(trouble);
                return found;
            }
        };
        let vni = self.settings.conf.backend.vxlan().map(|conf| conf.vni);
        let node_name = &self.settings.node_name;
        let observer = Observer6 { node_name, own: Some(lease), network, vni };
        let leases = self.snapshot.as_ref().map_or(&[][..], |snapshot| &snapshot.leases6);
        found.peers = conflict::peers6(observer, leases);
        (desired.config.ipv6, desired.ipv6) = desired6(network, lease, &found.peers.usable, &facts);
        found.network = Some(Network6 { network, subnet: lease.subnet, mtu: facts.mtu });
        found
    }

    /// What the host stack needs to reach the IPv6 pod network.
    pub(super) async fn connect_ipv6(
        &self,
        link: &Link<'_>,
        tunnel: Option<&Tunnel>,
        ipv6: &mut Ipv6,
    ) {
        if self.settings.conf.ipv6_network.is_some() {
            match self.host.router_trouble(link.uplink).await {
                Ok(trouble) => ipv6.troubles.extend(trouble),
                Err(error) => ipv6.troubles.push(error.to_string()),
            }
        }
        let Some((network, tunnel)) = ipv6.network.as_ref().zip(tunnel) else { return };
        match self.host.connect_ipv6(tunnel.overlay.ifindex, network).await {
            Ok(true) => info!(network = %network.network, mtu = %network.mtu,
                "connected the host to the IPv6 pod network"),
            Ok(false) => {}
            Err(error) => ipv6.troubles.push(format!("the host cannot reach IPv6 pods: {error}")),
        }
    }

    /// Entries of pods that are gone, and entries or routes that somebody deleted: of a pod that
    /// lives, each is made anew from the other.
    pub(super) async fn repair_pods6(&self, ipv6: &Ipv6) -> Result<()> {
        let Some(network) = &ipv6.network else { return Ok(()) };
        // Without IPv4 this is the table by which pods are known, which is in order already.
        let by_v4 = self.settings.conf.network().is_some();
        let mut table = Pods6::open()?;
        let alive: BTreeMap<u32, PodEntry> = if by_v4 {
            Pods::open()?.entries()?.into_iter().map(|(_, pod)| (pod.ifindex, pod)).collect()
        } else {
            table.entries()?.into_iter().map(|(_, pod)| (pod.ifindex, pod)).collect()
        };
        let mut pods: BTreeMap<Ipv6Addr, u32> = BTreeMap::new();
        for (address, pod) in table.entries()? {
            if address == gateway6(network.subnet) {
                // An earlier agent took the gateway on a pod's link for the pod.
                table.remove_stale(address, &pod)?;
            } else if alive.contains_key(&pod.ifindex) {
                pods.insert(address, pod.ifindex);
            } else if !is_there(pod.ifindex) && table.remove_stale(address, &pod)? {
                info!(%address, "forgot a pod whose interface is gone");
            }
        }
        let in_subnet = |(address, _): &(Ipv6Addr, u32)| network.subnet.contains(address);
        for (address, ifindex) in self.host.pod_routes6().await?.into_iter().filter(in_subnet) {
            if let Some(pod) = alive.get(&ifindex)
                && !pods.contains_key(&address)
            {
                table.insert(address, pod)?;
                warn!(%address, "put back the entry of a pod");
            }
        }
        let pods: Vec<_> = pods.into_iter().collect();
        let repaired = self.host.repair_pod_routes6(&pods, gateway6(network.subnet)).await?;
        if repaired > 0 {
            warn!(repaired, "pods had lost their IPv6 routes");
        }
        Ok(())
    }
}

impl Ipv6 {
    /// Adds what there is to say to the state file's content.
    pub(super) fn report(&self, state: &mut AgentState, desired: &Desired6) {
        state.peers6 = self.peers.usable.iter().map(|peer| peer_state(peer, desired)).collect();
        state.problems.extend(self.troubles.iter().cloned());
        state.refused.extend(self.peers.refused.iter().map(|refused| RefusedState {
            node_name: refused.lease.node_name.clone(),
            subnet: refused.lease.subnet.to_string(),
            why: refused.why.caption(),
            remedy: refused.why.remedy().to_owned(),
        }));
    }
}

/// The kernel's device looks up the next hop by itself.
fn peer_state(peer: &conflict::Peer6, desired: &Desired6) -> PeerState {
    let is_programmed = desired.peers.contains_key(&peer.subnet.network());
    PeerState {
        node_name: peer.node_name.clone(),
        subnet: peer.subnet.to_string(),
        public_ip: peer.public_ip.into(),
        vtep_mac: peer.vtep_mac.map(|mac| mac.to_string()),
        next_hop: None,
        mode: if is_programmed { PeerWay::Tunnel } else { PeerWay::None },
    }
}

/// What the host is like, or why it carries no IPv6 pods.
fn facts(link: &Link<'_>, tunnel: Option<&Tunnel>, own: &OwnLeases) -> Result<HostFacts6, String> {
    let Some(node) = link.uplink.address_v6 else {
        let name = &link.uplink.name;
        return Err(not_carried(&format!("{name} has no global IPv6 address; give it one")));
    };
    let Some(tunnel) = tunnel else {
        return Err(not_carried("they need a tunnel so far; use Backend.Type \"vxlan\""));
    };
    if tunnel.overlay.kind == OverlayKind::Classic {
        let device = &tunnel.spec.name;
        return Err(format!(
            "the overlay device {device} was made by flannel and takes IPv4 alone: IPv6 goes on \
             through flannel's second device, which learns of no new node; drain the node and \
             delete {device}, or reboot"
        ));
    }
    let vtep_mac = own.v6.as_ref().and_then(|lease| lease.backend.vtep_mac());
    let vtep_mac = vtep_mac.ok_or_else(|| {
        not_carried("the node's own lease has no VTEP MAC address; restart the agent")
    })?;
    let outer = link.mtu;
    let mtu = outer.inside_ipv6_tunnel().map_err(|_| {
        not_carried(&format!(
            "an MTU of {outer} is too small for a tunnel over IPv6; use 1350 or more"
        ))
    })?;
    Ok(HostFacts6 { node, vtep_mac, mtu, hop_limit: Host::default_hop_limit() })
}

fn not_carried(why: &str) -> String {
    format!("IPv6 pods are not carried: {why}")
}

fn is_there(ifindex: u32) -> bool {
    nix::net::if_::if_indextoname(ifindex).is_ok()
}
