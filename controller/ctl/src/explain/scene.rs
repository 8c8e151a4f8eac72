//! What the programs would look at: a copy of the node's tables.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::time::{ClockId, clock_gettime};
use tartan_common::abi::{
    FlowKey, FlowKey6, FlowState, NodeConfig, NodeEntry, NodeEntry6, Peer, Peer6, PodEntry,
};
use tartan_common::event::Event;
use tartan_common::hook::{Maps, Maps6};
use tartan_common::{NetAddr, NetAddr6};
use tartan_datapath::{Config, Nodes, Nodes6, Peers, Peers6, Pods, Pods6, interface_name};

use crate::peers::read_state;

/// A node at one moment.
pub(super) struct Scene {
    pub(super) config: NodeConfig,
    pub(super) pods: BTreeMap<NetAddr, PodEntry>,
    pub(super) peers: BTreeMap<NetAddr, Peer>,
    pub(super) nodes: BTreeMap<NetAddr, NodeEntry>,
    pub(super) pods6: BTreeMap<NetAddr6, PodEntry>,
    pub(super) peers6: BTreeMap<NetAddr6, Peer6>,
    pub(super) nodes6: BTreeMap<NetAddr6, NodeEntry6>,
    /// Names of nodes by their addresses.
    pub(super) names: BTreeMap<IpAddr, String>,
    /// Why pods never skip the host stack, by their addresses, as the agent says.
    pub(super) slow: BTreeMap<IpAddr, String>,
    /// CLOCK_MONOTONIC.
    pub(super) now: Duration,
    /// Names of interfaces.
    pub(super) interface: fn(u32) -> Option<String>,
}

impl Scene {
    /// This node, now.
    pub(super) fn of_this_node() -> Result<Self> {
        let config = Config::open()?.get()?;
        let config = config.context("tartand has configured nothing yet: look at its log")?;
        // Without the agent's word the answer is the same, but for names and reasons.
        let word =
            read_state().map(|state| ([state.peers, state.peers6].concat(), state.slow_pods));
        let (peers, slow) = word.unwrap_or_default();
        Ok(Self {
            config,
            pods: keyed(Pods::open()?.entries()?),
            peers: keyed(Peers::open()?.entries()?),
            nodes: keyed(Nodes::open()?.entries()?),
            pods6: keyed(Pods6::open()?.entries()?),
            peers6: keyed(Peers6::open()?.entries()?),
            nodes6: keyed(Nodes6::open()?.entries()?),
            names: peers.into_iter().map(|peer| (peer.public_ip, peer.node_name)).collect(),
            slow: slow.into_iter().map(|pod| (pod.address, pod.why)).collect(),
            now: clock_gettime(ClockId::CLOCK_MONOTONIC)?.into(),
            interface: interface_name,
        })
    }

    /// A node, by name and address.
    pub(super) fn node(&self, address: impl Into<IpAddr>) -> String {
        let address = address.into().to_canonical();
        match self.names.get(&address) {
            Some(name) => format!("{name} ({address})"),
            None => address.to_string(),
        }
    }

    /// Why a pod's flows never skip the host stack, and nothing if they may.
    pub(super) fn why_slow(&self, address: impl Into<IpAddr>, pod: &PodEntry) -> Option<String> {
        if pod.may_be_fast() {
            return None;
        }
        let known = || match (pod.has_stranger(), pod.asks_for_stack()) {
            (true, _) => "others put a limit, a filter or a program on its link".to_owned(),
            (false, true) => "it asks for that".to_owned(),
            (false, false) => "its entry says so".to_owned(),
        };
        let why = self.slow.get(&address.into()).cloned().unwrap_or_else(known);
        Some(format!("flows of the pod behind {} never skip it: {why}", self.link(pod.ifindex)))
    }

    /// An interface, by its name as long as it is there.
    pub(super) fn link(&self, index: u32) -> String {
        (self.interface)(index).unwrap_or_else(|| format!("interface {index}, which is gone"))
    }

    /// The node that an address belongs to: its own, or one of its pods'.
    pub(super) fn sender_of(&self, address: NetAddr) -> Option<NetAddr> {
        let its_own = self.nodes.contains_key(&address).then_some(address);
        let leased = |(_, entry): &(&NetAddr, &NodeEntry)| address.is_in(entry.subnet, entry.mask);
        its_own.or_else(|| self.nodes.iter().find(leased).map(|(node, _)| *node))
    }
}

impl Scene {
    /// The node that an IPv6 address belongs to: its own, or one of its pods'.
    pub(super) fn sender6_of(&self, address: NetAddr6) -> Option<NetAddr6> {
        let its_own = self.nodes6.contains_key(&address).then_some(address);
        let leased =
            |(_, entry): &(&NetAddr6, &NodeEntry6)| address.is_in(entry.subnet, entry.mask);
        its_own.or_else(|| self.nodes6.iter().find(leased).map(|(node, _)| *node))
    }
}

impl Maps6 for Scene {
    fn pod6(&self, address: NetAddr6) -> Option<&PodEntry> {
        self.pods6.get(&address)
    }

    fn peer6(&self, subnet: NetAddr6) -> Option<&Peer6> {
        self.peers6.get(&subnet)
    }

    fn node6(&self, address: NetAddr6) -> Option<&NodeEntry6> {
        self.nodes6.get(&address)
    }

    /// A new flow has none.
    fn flow6(&self, _: &FlowKey6) -> FlowState {
        FlowState::UNKNOWN
    }

    fn write_flow6(&self, _: &FlowKey6, _: FlowState) {}

    fn delete_flow6(&self, _: &FlowKey6) {}
}

fn keyed<A: Into<K>, K: Ord, V>(entries: Vec<(A, V)>) -> BTreeMap<K, V> {
    entries.into_iter().map(|(key, value)| (key.into(), value)).collect()
}

impl Maps for Scene {
    fn pod(&self, address: NetAddr) -> Option<&PodEntry> {
        self.pods.get(&address)
    }

    fn peer(&self, subnet: NetAddr) -> Option<&Peer> {
        self.peers.get(&subnet)
    }

    fn node(&self, address: NetAddr) -> Option<&NodeEntry> {
        self.nodes.get(&address)
    }

    /// A new flow has none.
    fn flow(&self, _: &FlowKey) -> FlowState {
        FlowState::UNKNOWN
    }

    fn write_flow(&self, _: &FlowKey, _: FlowState) {}

    fn delete_flow(&self, _: &FlowKey) {}

    fn now(&self) -> u64 {
        u64::try_from(self.now.as_nanos()).unwrap_or(u64::MAX)
    }

    fn count(&self, _: Event) {}
}
