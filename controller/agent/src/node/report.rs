//! What the node says about itself.

use tartan_common::abi;
use tartan_core::Lease;
use tartan_core::conflict::Peers;
use tartan_core::desired::Desired;
use tartan_core::state::{AgentState, DeviceState, PeerState, RefusedState};
use tartan_datapath::Build;
use tracing::{info, warn};

use crate::host::{Overlay, OverlaySpec, Uplink};
use crate::settings::Settings;

/// The state file's content after a pass that succeeded.
pub(super) fn state(
    settings: &Settings,
    own: &Lease,
    uplink: &Uplink,
    overlay: &Overlay,
    spec: &OverlaySpec,
    peers: &Peers,
    desired: &Desired,
) -> AgentState {
    let (mode, fast_path) = settings.fast_path();
    let source_check = if desired.config.accepts_any_source() { "sender" } else { "strict" };
    AgentState {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        build: Build::embedded().to_string(),
        node_name: settings.node_name.clone(),
        ready: true,
        problems: problems(desired, mode),
        uplink: DeviceState {
            name: uplink.name.clone(),
            ifindex: uplink.ifindex,
            mtu: uplink.mtu.get(),
            address: uplink.address,
        },
        overlay: DeviceState {
            name: spec.name.clone(),
            ifindex: overlay.ifindex,
            mtu: spec.mtu.get(),
            address: own.subnet.first_address(),
        },
        network: settings.conf.network().to_string(),
        subnet: own.subnet.net().to_string(),
        public_ip: own.public_ip,
        vtep_mac: overlay.mac.to_string(),
        vni: settings.conf.backend.vni.get(),
        port: settings.conf.backend.port,
        store: format!("directory {}", settings.lease_dir.display()),
        fast_path,
        source_check: source_check.to_owned(),
        peers: peer_states(peers, desired),
        refused: refused_states(peers),
    }
}

fn problems(desired: &Desired, mode: abi::FastPath) -> Vec<String> {
    let mut problems: Vec<_> = desired
        .unreachable
        .iter()
        .map(|peer| {
            format!(
                "no route to node {} at {}: its pods cannot be reached; add a route to the node",
                peer.node_name, peer.public_ip
            )
        })
        .collect();
    if mode == abi::FastPath::AfterAccept
        && let Err(problem) = crate::host::Host::let_conntrack_be_liberal()
    {
        problems.push(problem);
    }
    problems
}

fn peer_states(peers: &Peers, desired: &Desired) -> Vec<PeerState> {
    let state = |peer: &tartan_core::conflict::Peer| PeerState {
        node_name: peer.node_name.clone(),
        subnet: peer.subnet.net().to_string(),
        public_ip: peer.public_ip,
        vtep_mac: peer.vtep_mac.to_string(),
        next_hop: desired
            .peers
            .get(&peer.subnet.first_address())
            .map(|entry| entry.next_hop.into()),
    };
    peers.usable.iter().map(state).collect()
}

fn refused_states(peers: &Peers) -> Vec<RefusedState> {
    let state = |refused: &tartan_core::conflict::Refused| RefusedState {
        node_name: refused.lease.node_name.clone(),
        subnet: refused.lease.subnet.net().to_string(),
        why: refused.why.caption(),
        remedy: refused.why.remedy().to_owned(),
    };
    peers.refused.iter().map(state).collect()
}

/// One line per change that somebody may look for later.
pub(super) fn log_changes(before: Option<&AgentState>, now: &AgentState) {
    let is_new = |peer: &&PeerState| before.is_none_or(|old| !old.peers.contains(peer));
    for peer in now.peers.iter().filter(is_new) {
        info!(
            node = peer.node_name, subnet = peer.subnet, public_ip = %peer.public_ip,
            mac = peer.vtep_mac, "peer"
        );
    }
    let lost = before.map_or(&[][..], |old| &old.peers).iter();
    for peer in lost.filter(|old| !now.peers.iter().any(|peer| peer.subnet == old.subnet)) {
        info!(node = peer.node_name, subnet = peer.subnet, "peer is gone");
    }
    let is_new = |one: &&RefusedState| before.is_none_or(|old| !old.refused.contains(one));
    for refused in now.refused.iter().filter(is_new) {
        warn!(
            node = refused.node_name,
            subnet = refused.subnet,
            why = refused.why,
            remedy = refused.remedy,
            "lease refused"
        );
    }
    let is_new = |one: &&String| before.is_none_or(|old| !old.problems.contains(one));
    for problem in now.problems.iter().filter(is_new) {
        warn!(problem);
    }
}
