//! What the node says about itself.

use std::collections::BTreeMap;

use tartan_common::abi;
use tartan_core::conflict::Peers;
use tartan_core::desired::Desired;
use tartan_core::state::{
    AgentState, DeviceState, FirewallState, PeerState, RefusedState, UnreadableState,
};
use tartan_datapath::Build;
use tracing::{info, warn};

use super::fast_path::Gate;
use crate::host::{Overlay, OverlaySpec, Uplink};
use crate::settings::Settings;
use crate::store::{Fault, Notice, NoticeKind, OwnLeases};

/// What a pass found and did.
pub(super) struct Pass<'a> {
    pub(super) settings: &'a Settings,
    pub(super) own: &'a OwnLeases,
    pub(super) uplink: &'a Uplink,
    pub(super) overlay: &'a Overlay,
    pub(super) spec: &'a OverlaySpec,
    pub(super) peers: &'a Peers,
    pub(super) faults: &'a [Fault],
    pub(super) desired: &'a Desired,
    pub(super) gate: &'a Gate,
    pub(super) firewall: &'a FirewallState,
    /// Whether the cluster may send pods.
    pub(super) ready: bool,
}

/// The state file's content after a pass that succeeded.
pub(super) fn state(pass: &Pass<'_>, store: &str) -> AgentState {
    let Pass { settings, own, uplink, overlay, spec, peers, .. } = *pass;
    let Pass { faults, desired, gate, firewall, ready, .. } = *pass;
    let source_check = if desired.config.accepts_any_source() { "sender" } else { "strict" };
    AgentState {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        build: Build::embedded().to_string(),
        node_name: settings.node_name.clone(),
        ready,
        problems: problems(desired, gate.mode, firewall),
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
            address: own.v4.subnet.first_address(),
        },
        overlay_kind: overlay.kind.name().to_owned(),
        network: settings.conf.network().to_string(),
        subnet: own.v4.subnet.net().to_string(),
        subnet6: own.v6.as_ref().map(|lease| lease.subnet.to_string()),
        public_ip: own.v4.public_ip,
        vtep_mac: overlay.mac.to_string(),
        vni: settings.conf.backend.vni.get(),
        port: settings.conf.backend.port,
        store: store.to_owned(),
        store_trouble: None,
        fast_path: gate.choice.clone(),
        firewall: firewall.clone(),
        source_check: source_check.to_owned(),
        peers: peer_states(peers, desired),
        refused: refused_states(peers),
        unreadable: faults
            .iter()
            .map(|fault| UnreadableState { place: fault.place.clone(), what: fault.what.clone() })
            .collect(),
    }
}

/// What of the change an operator should hear beyond the log.
pub(super) fn notices(before: Option<&AgentState>, now: &AgentState) -> Vec<Notice> {
    let is_new = |one: &&RefusedState| before.is_none_or(|old| !old.refused.contains(one));
    let refused = now.refused.iter().filter(is_new).map(|refused| {
        let RefusedState { node_name, subnet, why, remedy } = refused;
        let text = format!("the lease {subnet} of node {node_name} is not used: {why}; {remedy}");
        Notice { kind: NoticeKind::LeaseRefused, text }
    });
    let is_new = |one: &&UnreadableState| before.is_none_or(|old| !old.unreadable.contains(one));
    let unreadable = now.unreadable.iter().filter(is_new).map(|fault| {
        let text = format!("{}: {}", fault.place, fault.what);
        Notice { kind: NoticeKind::LeaseUnreadable, text }
    });
    refused.chain(unreadable).collect()
}

fn problems(desired: &Desired, mode: abi::FastPath, firewall: &FirewallState) -> Vec<String> {
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
    problems.extend(firewall.troubles.iter().cloned());
    if mode != abi::FastPath::Off
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

/// More changes than this at once are counted, not listed.
const MOST_LOGGED: usize = 20;

/// One line per change that somebody may look for later.
pub(super) fn log_changes(before: Option<&AgentState>, now: &AgentState) {
    let by_subnet = |state: &AgentState| -> BTreeMap<String, PeerState> {
        state.peers.iter().map(|peer| (peer.subnet.clone(), peer.clone())).collect()
    };
    let (old, new) = (before.map(by_subnet).unwrap_or_default(), by_subnet(now));
    let changed: Vec<_> =
        now.peers.iter().filter(|peer| old.get(&peer.subnet) != Some(peer)).collect();
    for peer in changed.iter().take(MOST_LOGGED) {
        info!(
            node = peer.node_name, subnet = peer.subnet, public_ip = %peer.public_ip,
            mac = peer.vtep_mac, "peer"
        );
    }
    let lost: Vec<_> = old.values().filter(|peer| !new.contains_key(&peer.subnet)).collect();
    for peer in lost.iter().take(MOST_LOGGED) {
        info!(node = peer.node_name, subnet = peer.subnet, "peer is gone");
    }
    if changed.len().max(lost.len()) > MOST_LOGGED {
        info!(changed = changed.len(), gone = lost.len(), peers = now.peers.len(), "peers in all");
    }
    log_faults(before, now);
}

fn log_faults(before: Option<&AgentState>, now: &AgentState) {
    let is_new = |one: &&RefusedState| before.is_none_or(|old| !old.refused.contains(one));
    for refused in now.refused.iter().filter(is_new).take(MOST_LOGGED) {
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
