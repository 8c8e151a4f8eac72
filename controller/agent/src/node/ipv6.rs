//! The IPv6 half of a pass. What goes wrong here is told as a trouble and
//! leaves IPv4 as it is: the two families of a node are independent.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use anyhow::Result;
use tartan_core::conflict::{self, Observer6, Peers6};
use tartan_core::desired::Desired;
use tartan_core::desired6::{HostFacts6, desired6};
use tartan_core::state::{AgentState, RefusedState};
use tartan_datapath::{PodEntry, Pods, Pods6};
use tracing::{info, warn};

use super::Node;
use super::tunnel::{Link, Tunnel};
use crate::host::{Host, Network6, OverlayKind};
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
                found.troubles.push(format!("IPv6 pods are not carried: {trouble}"));
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
    pub(super) async fn connect_ipv6(&self, tunnel: Option<&Tunnel>, ipv6: &mut Ipv6) {
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
        let alive: BTreeMap<u32, PodEntry> =
            Pods::open()?.entries()?.into_iter().map(|(_, pod)| (pod.ifindex, pod)).collect();
        let mut table = Pods6::open()?;
        let mut pods: BTreeMap<Ipv6Addr, u32> = BTreeMap::new();
        for (address, pod) in table.entries()? {
            if alive.contains_key(&pod.ifindex) {
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
        let repaired = self.host.repair_pod_routes6(&pods).await?;
        if repaired > 0 {
            warn!(repaired, "pods had lost their IPv6 routes");
        }
        Ok(())
    }
}

impl Ipv6 {
    /// Adds what there is to say to the state file's content.
    pub(super) fn report(&self, state: &mut AgentState) {
        state.problems.extend(self.troubles.iter().cloned());
        state.refused.extend(self.peers.refused.iter().map(|refused| RefusedState {
            node_name: refused.lease.node_name.clone(),
            subnet: refused.lease.subnet.to_string(),
            why: refused.why.caption(),
            remedy: refused.why.remedy().to_owned(),
        }));
    }
}

/// What the host is like, or why it carries no IPv6 pods.
fn facts(link: &Link<'_>, tunnel: Option<&Tunnel>, own: &OwnLeases) -> Result<HostFacts6, String> {
    let Some(node) = link.uplink.address_v6 else {
        let name = &link.uplink.name;
        return Err(format!("{name} has no global IPv6 address; give it one"));
    };
    let Some(tunnel) = tunnel else {
        return Err("they need a tunnel so far; use Backend.Type \"vxlan\"".to_owned());
    };
    if tunnel.overlay.kind == OverlayKind::Classic {
        return Err("the overlay device was made by flannel and takes IPv4 alone; drain the \
                    node and delete the device, or reboot"
            .to_owned());
    }
    let vtep_mac = own.v6.as_ref().and_then(|lease| lease.backend.vtep_mac());
    let vtep_mac = vtep_mac.ok_or("the node's own lease has no IPv6 VTEP MAC address")?;
    let outer = link.mtu;
    let mtu = outer.inside_ipv6_tunnel().map_err(|_| {
        format!("an MTU of {outer} is too small for a tunnel over IPv6; use 1350 or more")
    })?;
    Ok(HostFacts6 { node, vtep_mac, mtu, hop_limit: Host::default_hop_limit() })
}

fn is_there(ifindex: u32) -> bool {
    nix::net::if_::if_indextoname(ifindex).is_ok()
}
