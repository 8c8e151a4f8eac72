//! What the scenarios stand on: the probes that run, and the Services in front of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

/// A probe: a pod that serves, and in which questions are asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Probe {
    /// The pod's name, which it calls itself by: `a-0`.
    pub(crate) name: String,
    /// The node's name.
    pub(crate) node: String,
    /// The pod's address; of one in the node's network, the node's.
    pub(crate) address: IpAddr,
    /// Where it serves.
    pub(crate) port: u16,
}

impl Probe {
    /// Where it serves, as a question has it.
    pub(crate) fn socket(&self) -> String {
        SocketAddr::new(self.address, self.port).to_string()
    }
}

/// A node whose probes are Ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) node: String,
    /// The node's own address.
    pub(crate) address: IpAddr,
    /// The two pods in the pod network.
    pub(crate) pair: [Probe; 2],
    /// The pod in the node's own network, where such pods are allowed.
    pub(crate) host: Option<Probe>,
}

/// A Service as the API server made it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Service {
    pub(crate) name: String,
    /// Its cluster address; a headless one has none.
    pub(crate) address: Option<IpAddr>,
    /// NodePorts by protocol, of those that have some.
    pub(crate) node_ports: BTreeMap<Protocol, u16>,
}

/// A protocol of probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Tcp, Self::Udp];

    /// As Kubernetes and people write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

/// Port of every Service; the pods behind it have another one, so that a translation shows.
pub(crate) const SERVICE_PORT: u16 = 80;
/// Endpoints of the Services with several are on this many nodes at most, however many there are.
pub(crate) const SERVING_NODES: usize = 4;

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Ground {
    pub(crate) namespace: String,
    pub(crate) members: Vec<Member>,
    /// By name.
    pub(crate) services: BTreeMap<String, Service>,
}

impl Ground {
    /// Pairs of different nodes, in both directions.
    pub(crate) fn node_pairs(&self) -> impl Iterator<Item = (&Member, &Member)> {
        let pairs = |from| self.members.iter().map(move |to| (from, to));
        self.members.iter().flat_map(pairs).filter(|(from, to)| from.node != to.node)
    }

    /// Pairs of pods: every node to every other, and within each node.
    pub(crate) fn pod_pairs(&self) -> impl Iterator<Item = (&Probe, &Probe)> {
        let within = self.members.iter().map(|member| (&member.pair[0], &member.pair[1]));
        self.node_pairs().map(|(from, to)| (&from.pair[0], &to.pair[1])).chain(within)
    }

    /// Each node to the next one, and within each node.
    pub(crate) fn ring(&self) -> Vec<(&Probe, &Probe)> {
        let next = self.members.iter().cycle().skip(1);
        let around = self.members.iter().zip(next).filter(|(from, to)| from.node != to.node);
        let around = around.map(|(from, to)| (&from.pair[0], &to.pair[1]));
        let within = self.members.iter().map(|member| (&member.pair[1], &member.pair[0]));
        around.chain(within).collect()
    }

    /// The probes in nodes' networks.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = &Probe> {
        self.members.iter().filter_map(|member| member.host.as_ref())
    }

    /// The first pod of each node.
    pub(crate) fn firsts(&self) -> impl Iterator<Item = &Probe> {
        self.members.iter().map(|member| &member.pair[0])
    }

    /// The pods behind the Services with several endpoints.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = &Probe> {
        self.members.iter().filter(|member| serves(&member.pair[0])).flat_map(|one| &one.pair)
    }

    /// Their names.
    pub(crate) fn endpoint_names(&self) -> BTreeSet<String> {
        self.endpoints().map(|probe| probe.name.clone()).collect()
    }
}

/// Whether the probe is on one of the nodes that serve.
fn serves(probe: &Probe) -> bool {
    index(&probe.name).is_some_and(|index| index < SERVING_NODES)
}

/// The number of a probe's node, which its name ends with.
pub(crate) fn index(name: &str) -> Option<usize> {
    name.rsplit_once('-')?.1.parse().ok()
}
