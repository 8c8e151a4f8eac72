//! What the node says about itself.

use std::collections::BTreeMap;
use std::net::IpAddr;

use tartan_common::Mtu;
use tartan_common::abi;
use tartan_core::conflict::{Peer, Peers};
use tartan_core::desired::{Desired, Obstacle, Unreachable};
use tartan_core::state::{
    AgentState, DeviceState, FirewallState, KernelState, MissingState, PeerState, PeerWay,
    RefusedState, UnreadableState,
};
use tartan_datapath::{Build, Feature, Kernel};
use tracing::{info, warn};

use super::fast_path::Gate;
use super::tunnel::{Link, Tunnel};
use crate::settings::Settings;
use crate::store::{Fault, Notice, NoticeKind, OwnLeases};

/// What a pass found and did.
pub(super) struct Pass<'a> {
    pub(super) settings: &'a Settings,
    pub(super) kernel: &'a Kernel,
    pub(super) own: &'a OwnLeases,
    pub(super) link: &'a Link<'a>,
    pub(super) tunnel: Option<&'a Tunnel>,
    pub(super) pod_mtu: Mtu,
    pub(super) peers: &'a Peers,
    pub(super) faults: &'a [Fault],
    pub(super) desired: &'a Desired,
    pub(super) gate: &'a Gate,
    pub(super) firewall: &'a FirewallState,
    /// Whether the cluster may send pods.
    pub(super) ready: bool,
    /// Why XDP is not where it is wanted.
    pub(super) xdp_trouble: Option<&'a str>,
}

/// The state file's content after a pass that succeeded.
pub(super) fn state(pass: &Pass<'_>, store: &str) -> AgentState {
    let Pass { settings, own, link, tunnel, pod_mtu, peers, .. } = *pass;
    let (uplink, conf) = (link.uplink, settings.conf.backend.vxlan());
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
            address: uplink.shown_address(),
        },
        backend: own.backend().map(|backend| backend.type_name().to_owned()).unwrap_or_default(),
        is_direct: settings.conf.backend.is_direct(),
        overlay: tunnel.map(|Tunnel { spec, overlay }| DeviceState {
            name: spec.name.clone(),
            ifindex: overlay.ifindex,
            mtu: spec.mtu.get(),
            address: own.subnets().next().map_or(uplink.shown_address(), |net| net.network()),
        }),
        xdp: xdp(pass),
        kernel: kernel_state(pass.kernel),
        overlay_kind: tunnel.map_or("", |tunnel| tunnel.overlay.kind.name()).to_owned(),
        pod_mtu: pod_mtu.get(),
        network: settings.conf.network().map(|network| network.to_string()),
        network6: settings.conf.ipv6_network.map(|network| network.to_string()),
        subnet: own.v4.as_ref().map(|lease| lease.subnet.net().to_string()),
        subnet6: own.v6.as_ref().map(|lease| lease.subnet.to_string()),
        public_ip: match (&own.v4, &own.v6) {
            (Some(lease), _) => lease.public_ip.into(),
            (None, Some(lease)) => lease.public_ip.into(),
            (None, None) => uplink.shown_address(),
        },
        public_ipv6: own
            .v4
            .as_ref()
            .and(own.v6.as_ref())
            .filter(|lease| !lease.is_over_ipv4())
            .map(|lease| lease.public_ip),
        ipv6_over_ipv4: None,
        vtep_mac: tunnel.map(|tunnel| tunnel.overlay.mac.to_string()),
        vni: conf.map(|tunnel| tunnel.vni.get()),
        port: conf.map(|tunnel| tunnel.port),
        store: store.to_owned(),
        store_trouble: None,
        fast_path: gate.choice.clone(),
        firewall: firewall.clone(),
        source_check: source_check.to_owned(),
        peers: peer_states(peers, desired),
        peers6: Vec::new(),
        slow_pods: Vec::new(),
        refused: refused_states(peers),
        unreadable: faults
            .iter()
            .map(|fault| UnreadableState { place: fault.place.clone(), what: fault.what.clone() })
            .collect(),
    }
}

/// Where tunnel packets are decapsulated, if somebody asked for XDP.
fn xdp(pass: &Pass<'_>) -> Option<String> {
    let uplink = &pass.link.uplink.name;
    if pass.desired.config.xdp_decapsulates() {
        return Some(format!("decapsulates in the driver of {uplink}"));
    }
    if !pass.settings.wants_xdp(uplink) {
        return None;
    }
    let why = pass.xdp_trouble.unwrap_or("there is no tunnel");
    Some(format!("wanted on {uplink} and not there: {why}"))
}

fn kernel_state(kernel: &Kernel) -> KernelState {
    let attached = if kernel.features.has(Feature::Tcx) { "tcx" } else { "clsact" };
    let missing = |(feature, forced): (Feature, bool)| MissingState {
        feature: feature.name().to_owned(),
        since: feature.since().to_owned(),
        instead: feature.instead().to_owned(),
        forced,
    };
    KernelState {
        release: kernel.release.clone(),
        attached: attached.to_owned(),
        missing: kernel.missing().map(missing).collect(),
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
    let kernel = kernel_notice(before, now);
    refused.chain(unreadable).chain(kernel).collect()
}

/// Told once: the kernel stays what it is for as long as the agent runs.
fn kernel_notice(before: Option<&AgentState>, now: &AgentState) -> Option<Notice> {
    let KernelState { release, missing, .. } = &now.kernel;
    let is_known = before.is_some_and(|old| old.kernel.missing == *missing);
    if is_known || missing.is_empty() {
        return None;
    }
    let missing: Vec<_> = missing.iter().map(ToString::to_string).collect();
    let text = format!(
        "Linux {release} lacks what others have, and pods work without it: {}; a newer kernel \
         has it",
        missing.join("; ")
    );
    Some(Notice { kind: NoticeKind::KernelLacks, text })
}

fn problems(desired: &Desired, mode: abi::FastPath, firewall: &FirewallState) -> Vec<String> {
    let mut problems: Vec<_> = desired.unreachable.iter().map(unreachable).collect();
    problems.extend(firewall.troubles.iter().cloned());
    if mode != abi::FastPath::Off
        && let Err(problem) = crate::host::Host::let_conntrack_be_liberal()
    {
        problems.push(problem);
    }
    problems
}

fn unreachable(one: &Unreachable) -> String {
    let Peer { node_name, public_ip, .. } = &one.peer;
    match one.why {
        Obstacle::NoRoute => format!(
            "no route to node {node_name} at {public_ip}: its pods cannot be reached; add a route \
             to the node"
        ),
        Obstacle::OffLink | Obstacle::OtherFamily => format!(
            "node {node_name} at {public_ip} is not on the uplink's link, and the host-gw backend \
             has no tunnel: its pods cannot be reached; use Backend.Type \"vxlan\" with \
             \"DirectRouting\": true"
        ),
    }
}

fn peer_states(peers: &Peers, desired: &Desired) -> Vec<PeerState> {
    peers.usable.iter().map(|peer| peer_state(peer, desired)).collect()
}

fn peer_state(peer: &Peer, desired: &Desired) -> PeerState {
    let entry = desired.peers.get(&peer.subnet.first_address());
    PeerState {
        node_name: peer.node_name.clone(),
        subnet: peer.subnet.net().to_string(),
        public_ip: peer.public_ip.into(),
        vtep_mac: peer.vtep_mac.map(|mac| mac.to_string()),
        next_hop: entry.map(|entry| IpAddr::V4(entry.next_hop.into())),
        mode: match entry.map(abi::Peer::is_direct) {
            Some(true) => PeerWay::Direct,
            Some(false) => PeerWay::Tunnel,
            None => PeerWay::None,
        },
    }
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

/// The peers of both families.
fn all(state: &AgentState) -> impl Iterator<Item = &PeerState> {
    state.peers.iter().chain(&state.peers6)
}

/// One line per change that somebody may look for later.
pub(super) fn log_changes(before: Option<&AgentState>, now: &AgentState) {
    let by_subnet = |state: &AgentState| -> BTreeMap<String, PeerState> {
        all(state).map(|peer| (peer.subnet.clone(), peer.clone())).collect()
    };
    let (old, new) = (before.map(by_subnet).unwrap_or_default(), by_subnet(now));
    let changed: Vec<_> = all(now).filter(|peer| old.get(&peer.subnet) != Some(peer)).collect();
    for peer in changed.iter().take(MOST_LOGGED) {
        info!(
            node = peer.node_name, subnet = peer.subnet, public_ip = %peer.public_ip,
            mac = peer.vtep_mac, way = peer.mode.name(), "peer"
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
