//! Clusters of two families, or of IPv6 alone, whose nodes reach each other over IPv6.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::control_plane::{ControlPlane, Options, User};
use crate::counters::Counts;
use crate::flannel::{FlannelNode, chain, prepare};
use crate::ipv6::{address6, plug6, pod_address6, unplug4};
use crate::kube_cluster::{KubeMember, register_at};
use crate::lab::Lab;
use crate::node::{NET_CONF, Node};
use crate::pod::Pod;
use crate::process::{Place as _, eventually};
use crate::scenario::Scenario;

/// How long a change may take to show.
pub(super) const SEEN: Duration = Duration::from_secs(20);

/// Which families a cluster has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Families {
    Both,
    Ipv6,
}

impl Families {
    /// What Tartan and flannel alike read; flannel knows no fast path.
    pub(super) fn net_conf(self, fast_path: &str, backend: &str) -> String {
        let networks = match self {
            Self::Both => r#""Network":"10.244.0.0/16","IPv6Network":"fd00:10:244::/56""#,
            Self::Ipv6 => r#""EnableIPv4":false,"IPv6Network":"fd00:10:244::/56""#,
        };
        format!(
            r#"{{{networks},"EnableIPv6":true,"EnableNFTables":false,"FastPath":"{fast_path}","Backend":{backend}}}"#
        )
    }

    pub(super) fn plane(self, lab: &Lab) -> Result<ControlPlane> {
        ControlPlane::start(
            lab,
            &match self {
                Self::Both => Options::dual_stack(),
                Self::Ipv6 => Options::ipv6_alone(),
            },
        )
    }

    /// A node of the wire with its Node object.
    pub(super) fn node(self, lab: &Lab, plane: &ControlPlane, net_conf: &str) -> Result<Node> {
        let node = lab.node()?;
        plug6(&node, node.address())?;
        node.sysctl("net.ipv6.conf.all.forwarding", "1")?;
        node.write(NET_CONF, net_conf)?;
        match self {
            Self::Both => register_at(plane, &node, &[node.address().into()])?,
            Self::Ipv6 => {
                unplug4(&node)?;
                register_at(plane, &node, &[address6(node.address()).into()])?;
            }
        }
        Ok(node)
    }

    /// A pod by our plugin.
    pub(super) fn pod(self, node: &Node, name: &str) -> Result<Pod> {
        let pod = node.pod(name)?;
        match self {
            Self::Both => pod.cni_add().map(drop)?,
            Self::Ipv6 => pod.runtime().add().map(drop)?,
        }
        Ok(pod)
    }

    /// A node that the real flannel runs, and its pod by flannel's chain.
    pub(super) fn flannels(
        self,
        lab: &Lab,
        plane: &ControlPlane,
        net_conf: &str,
    ) -> Result<(FlannelNode, Pod)> {
        let node = self.node(lab, plane, net_conf)?;
        prepare(&node)?;
        node.write(NET_CONF, net_conf)?;
        let kubeconfig = plane.kubeconfig(&User::agent(node.name()))?;
        let agent = FlannelNode::start_prepared(&node, &kubeconfig)?;
        let pod = match self {
            Self::Both => agent.add_pod("a")?,
            Self::Ipv6 => {
                let pod = node.pod("a")?;
                chain(&pod, "add")?;
                pod
            }
        };
        let own = address6(node.address());
        // flannel's bridge looks for duplicates of its addresses before it uses them.
        eventually("flannel's pod reaches its node", SEEN, || {
            pod.succeeds(&format!("ping -n -c 1 -W 1 {own}"))
        })?;
        Ok((agent, pod))
    }
}

/// Nodes of ours and their pods.
pub(super) struct Ground {
    pub(super) families: Families,
    pub(super) plane: ControlPlane,
    pub(super) ours: Vec<KubeMember>,
    pub(super) pods: Vec<Pod>,
}

impl Ground {
    pub(super) fn new(
        lab: &Lab,
        families: Families,
        net_conf: &str,
        (nodes, pods): (usize, usize),
    ) -> Result<Self> {
        let plane = families.plane(lab)?;
        let nodes = (0..nodes).map(|_| families.node(lab, &plane, net_conf));
        let nodes = nodes.collect::<Result<Vec<_>>>()?;
        Self::on(families, plane, nodes, pods)
    }

    /// On nodes that are there already.
    pub(super) fn on(
        families: Families,
        plane: ControlPlane,
        nodes: Vec<Node>,
        pods: usize,
    ) -> Result<Self> {
        let mut ground = Self { families, plane, ours: Vec::new(), pods: Vec::new() };
        let others = nodes.len() - 1;
        for node in nodes {
            let mut member = KubeMember::registered(&ground.plane, node)?;
            member.start_agent(&["--ip-masq"])?;
            for name in ["a", "b"].iter().take(pods) {
                ground.pods.push(families.pod(&member.node, name)?);
            }
            ground.ours.push(member);
        }
        ground.await_peers(others)?;
        Ok(ground)
    }

    /// Until every node can send to this many others over IPv6.
    pub(super) fn await_peers(&self, others: usize) -> Result<()> {
        for member in &self.ours {
            eventually("IPv6 peers", SEEN, || {
                let peers = peers6(&member.state()?);
                Ok(peers.iter().filter(|peer| peer["mode"] != "none").count() >= others)
            })?;
        }
        Ok(())
    }

    pub(super) fn sum(&self, of: impl Fn(&Node) -> Result<Counts>) -> Result<Counts> {
        let mut each = self.ours.iter().map(|member| of(&member.node));
        each.try_fold(Counts::default(), |sum, counts| Ok(sum.plus(&counts?)))
    }

    /// Nothing was dropped, and no node has anything to complain about.
    pub(super) fn nothing_is_wrong(&self, scenario: &Scenario) -> Result<()> {
        for member in &self.ours {
            let drops = member.node.drops()?;
            scenario.note(format!("{}: {:?}", member.node.name(), member.node.paths()?));
            ensure!(drops.total() == 0, "{}: {drops:?}", member.node.name());
            let problems = &member.state()?["problems"];
            ensure!(problems.as_array().is_some_and(Vec::is_empty), "{problems}");
        }
        Ok(())
    }
}

/// What an agent says of its IPv6 peers.
pub(super) fn peers6(state: &Value) -> Vec<Value> {
    state["peers6"].as_array().cloned().unwrap_or_default()
}

/// The IPv6 subnet of a node.
pub(super) fn subnet6(member: &KubeMember) -> Result<String> {
    let state = member.state()?;
    Ok(state["subnet6"].as_str().context("no IPv6 subnet")?.to_owned())
}

/// A node's IPv6 address on the wire.
pub(super) fn wire6(node: &Node) -> Ipv6Addr {
    address6(node.address())
}

/// A pod's IPv6 address.
pub(super) fn pod6(pod: &Pod) -> Result<IpAddr> {
    pod_address6(pod).map(IpAddr::V6)
}
