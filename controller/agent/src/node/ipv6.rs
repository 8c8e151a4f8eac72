//! The IPv6 half of a pass. What goes wrong here is told as a trouble and
//! leaves IPv4 as it is: the two families of a node are independent.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use anyhow::Result;
use ipnet::Ipv6Net;
use tartan_common::Mtu;
use tartan_common::abi::Peer6;
use tartan_core::Lease6;
use tartan_core::conflict::{self, Observer6, Peers, Peers6};
use tartan_core::desired::{Desired, Obstacle};
use tartan_core::desired6::{Desired6, HostFacts6, TunnelFacts6, Unreachable6, desired6};
use tartan_core::state::{AgentState, PeerState, PeerWay, RefusedState};
use tartan_datapath::{PodEntry, Pods, Pods6};
use tracing::{info, warn};

use super::tunnel::{Link, Tunnel};
use super::{Node, crossing};
use crate::host::{Host, HostError, Network6, OverlayKind, RouteChanges, gateway6};
use crate::store::{LeaseStore, OwnLeases};

/// The smallest link that IPv6 may use (RFC 8200 section 5).
const SMALLEST: u32 = 1280;

/// What a pass found out about IPv6.
#[derive(Debug, Default)]
pub(super) struct Ipv6 {
    /// This node's share of the IPv6 pod network; `None` where it carries no IPv6 pods.
    network: Option<Share>,
    peers: Peers6,
    /// Which of it goes in the tunnel over IPv4, and why.
    over_ipv4: Option<String>,
    /// What keeps IPv6 pods from being reached, and what to do.
    troubles: Vec<String>,
}

/// A node's share of the IPv6 pod network.
#[derive(Clone, Copy, Debug)]
struct Share {
    network: Ipv6Net,
    subnet: Ipv6Net,
    /// The largest packet that fits into the tunnel, where there is one.
    tunnel_mtu: Option<Mtu>,
}

impl<S: LeaseStore> Node<S> {
    /// Fills in the IPv6 half of the desired state.
    ///
    /// # Errors
    /// When the kernel does not say how nodes are reached: what was there before stays.
    pub(super) async fn desire_ipv6(
        &self,
        link: &Link<'_>,
        tunnel: Option<&Tunnel>,
        own: &OwnLeases,
        peers4: &Peers,
        desired: &mut Desired,
    ) -> Result<Ipv6> {
        let mut found = Ipv6::default();
        let Some(network) = self.settings.conf.ipv6_network else {
            return Ok(found);
        };
        let Some(lease) = &own.v6 else {
            // With a tunnel it would have one, over IPv4.
            if tunnel.is_none() && link.uplink.address_v6.is_none() {
                found.troubles.push(no_address(link));
            }
            return Ok(found);
        };
        let mut facts = match facts(link, tunnel, own) {
            Ok(facts) => facts,
            Err(trouble) => {
                found.troubles.push(trouble);
                return Ok(found);
            }
        };
        facts.is_direct = self.settings.conf.backend.is_direct();
        let vni = self.settings.conf.backend.vxlan().map(|conf| conf.vni);
        let node_name = &self.settings.node_name;
        let observer =
            Observer6 { node_name, own: Some(lease), network, vni, ipv4: &peers4.usable };
        let leases = self.snapshot.as_ref().map_or(&[][..], |snapshot| &snapshot.leases6);
        found.peers = conflict::peers6(observer, leases);
        found.over_ipv4 = crossing::shown(lease, &found.peers.usable, link);
        let by_ipv6 = |address: &Ipv6Addr| address.to_ipv4_mapped().is_none();
        let all = found.peers.usable.iter().map(|peer| peer.public_ip);
        let nodes: Vec<_> = all.filter(by_ipv6).collect();
        facts.next_hops = self.host.next_hops6(&nodes).await?;
        (desired.config.ipv6, desired.ipv6) = desired6(network, lease, &found.peers.usable, &facts);
        found.troubles.extend(desired.ipv6.unreachable.iter().map(unreachable));
        let tunnel_mtu =
            facts.tunnel.map(|tunnel| if lease.is_over_ipv4() { tunnel.mtu4 } else { tunnel.mtu });
        found.network = Some(Share { network, subnet: lease.subnet, tunnel_mtu });
        Ok(found)
    }

    /// What the host stack needs to reach the IPv6 pod network.
    pub(super) async fn connect_ipv6(
        &self,
        link: &Link<'_>,
        tunnel: Option<&Tunnel>,
        desired: &Desired6,
        ipv6: &mut Ipv6,
    ) {
        if self.settings.conf.ipv6_network.is_some() {
            match self.host.router_trouble(link.uplink).await {
                Ok(trouble) => ipv6.troubles.extend(trouble),
                Err(error) => ipv6.troubles.push(error.to_string()),
            }
        }
        let Some(share) = ipv6.network else { return };
        let connected = match (tunnel, share.tunnel_mtu) {
            (Some(tunnel), Some(mtu)) => self.connect_tunnel6(tunnel, &share, mtu).await,
            (None, _) | (_, None) => Ok(()),
        };
        // What goes through the tunnel has its route before it loses another.
        let routed = match connected {
            Ok(()) => self.route_to_peers6(link, &share, desired).await,
            Err(error) => Err(error),
        };
        if let Err(error) = routed {
            ipv6.troubles.push(format!("the host cannot reach IPv6 pods: {error}"));
        }
    }

    async fn connect_tunnel6(
        &self,
        tunnel: &Tunnel,
        share: &Share,
        mtu: Mtu,
    ) -> Result<(), HostError> {
        let Share { network, subnet, .. } = *share;
        let to = Network6 { network, subnet, mtu };
        if self.host.connect_ipv6(tunnel.overlay.ifindex, &to).await? {
            info!(%network, %mtu, "connected the host to the IPv6 pod network");
        }
        Ok(())
    }

    /// The host stack's routes to nodes that are reached without a tunnel. Those that an agent
    /// with another backend left are looked for once.
    async fn route_to_peers6(
        &self,
        link: &Link<'_>,
        share: &Share,
        desired: &Desired6,
    ) -> Result<(), HostError> {
        if !self.settings.conf.backend.is_direct() && self.last.is_some() {
            return Ok(());
        }
        let (wanted, uplink) = (&desired.routes, link.uplink.ifindex);
        let changes = self.host.ensure_peer_routes(share.network, wanted, uplink).await?;
        if changes != RouteChanges::default() {
            info!(
                added = changes.added,
                removed = changes.removed,
                "changed the IPv6 routes to nodes that are reached without a tunnel"
            );
        }
        Ok(())
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
        state.ipv6_over_ipv4.clone_from(&self.over_ipv4);
        state.problems.extend(self.troubles.iter().cloned());
        state.refused.extend(self.peers.refused.iter().map(|refused| RefusedState {
            node_name: refused.lease.node_name.clone(),
            subnet: refused.lease.subnet.to_string(),
            why: refused.why.caption(),
            remedy: refused.why.remedy().to_owned(),
        }));
    }
}

/// Of what goes through the tunnel the kernel's device looks up the next hop by itself.
fn peer_state(peer: &conflict::Peer6, desired: &Desired6) -> PeerState {
    let is_direct = desired.peers.get(&peer.subnet.network()).map(Peer6::is_direct);
    PeerState {
        node_name: peer.node_name.clone(),
        subnet: peer.subnet.to_string(),
        public_ip: IpAddr::V6(peer.public_ip).to_canonical(),
        vtep_mac: peer.vtep_mac.map(|mac| mac.to_string()),
        next_hop: (is_direct == Some(true)).then_some(peer.public_ip.into()),
        mode: match is_direct {
            Some(true) => PeerWay::Direct,
            Some(false) if peer.public_ip.to_ipv4_mapped().is_some() => PeerWay::TunnelOverIpv4,
            Some(false) => PeerWay::Tunnel,
            None => PeerWay::None,
        },
    }
}

/// What the host is like, or why it carries no IPv6 pods.
fn facts(link: &Link<'_>, tunnel: Option<&Tunnel>, own: &OwnLeases) -> Result<HostFacts6, String> {
    let over_ipv4 = own.v6.as_ref().is_some_and(Lease6::is_over_ipv4);
    let node = link.uplink.address_v6.filter(|_| !over_ipv4);
    if node.is_none() && !over_ipv4 {
        return Err(no_address(link));
    }
    let tunnel = tunnel.map(|tunnel| tunnel_facts(link, tunnel, own)).transpose()?;
    if u32::from(link.mtu.get()) < SMALLEST {
        let mtu = link.mtu;
        return Err(not_carried(&format!("an MTU of {mtu} is too small; use {SMALLEST} or more")));
    }
    Ok(HostFacts6 {
        node,
        uplink_ifindex: link.uplink.ifindex,
        link_mtu: link.mtu,
        tunnel,
        is_direct: false,
        next_hops: BTreeMap::new(),
    })
}

/// This node's end of the tunnel, or why there is none for IPv6.
fn tunnel_facts(link: &Link<'_>, tunnel: &Tunnel, own: &OwnLeases) -> Result<TunnelFacts6, String> {
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
    let mtu4 = tunnel.spec.mtu;
    let over_ipv4 = own.v6.as_ref().is_some_and(Lease6::is_over_ipv4);
    let mtu = if over_ipv4 { Ok(mtu4) } else { outer.inside_ipv6_tunnel() };
    let carried = |mtu: &Mtu| u32::from(mtu.get()) >= SMALLEST;
    let mtu = mtu.ok().filter(carried).ok_or_else(|| {
        let (outside, least) = if over_ipv4 { ("IPv4", 1330) } else { ("IPv6", 1350) };
        not_carried(&format!(
            "an MTU of {outer} is too small for a tunnel over {outside}; use {least} or more"
        ))
    })?;
    let (hop_limit, ttl) = (Host::default_hop_limit(), Host::default_ttl());
    Ok(TunnelFacts6 { vtep_mac, mtu, hop_limit, mtu4, ttl })
}

fn no_address(link: &Link<'_>) -> String {
    let name = &link.uplink.name;
    not_carried(&format!("{name} has no global IPv6 address; give it one"))
}

fn unreachable(one: &Unreachable6) -> String {
    let conflict::Peer6 { node_name, public_ip, .. } = &one.peer;
    match one.why {
        Obstacle::NoRoute => format!(
            "no route to node {node_name} at {public_ip}: its IPv6 pods cannot be reached; add a \
             route to the node"
        ),
        Obstacle::OtherFamily => format!(
            "node {node_name} has IPv6 alone, and this node no IPv6 address: its pods cannot be \
             reached; give one of the two an address of the other's family"
        ),
        Obstacle::OffLink => format!(
            "node {node_name} at {public_ip} is not on the uplink's link, and the host-gw backend \
             has no tunnel: its IPv6 pods cannot be reached; use Backend.Type \"vxlan\" with \
             \"DirectRouting\": true"
        ),
    }
}

fn not_carried(why: &str) -> String {
    format!("IPv6 pods are not carried: {why}")
}

fn is_there(ifindex: u32) -> bool {
    nix::net::if_::if_indextoname(ifindex).is_ok()
}
