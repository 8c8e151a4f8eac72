//! Two nodes (two pods, one pod) of Tartan or of the real flannel, an outside host with a network
//! behind it, and mirrors in all of them that tell by which address a client is seen.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipnet::Ipv4Net;
use serde::de::IgnoredAny;

use crate::agent::Agent;
use crate::control_plane::{ControlPlane, Options, User};
use crate::flannel::{self, FLANNEL_NET_CONF, FlannelNode};
use crate::kube_cluster::register;
use crate::lab::Lab;
use crate::node::{NET_CONF, Node};
use crate::pod::Pod;
use crate::process::{Place, eventually};
use crate::tools::seen::SeenReport;
use crate::traffic::Running;
use crate::wire::{GATEWAY, Outside};

/// A network that the nodes reach through the outside host.
pub(super) const BEHIND: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// Where every mirror listens.
pub(super) const MIRROR: u16 = 7300;
/// Port of the tunnel.
pub(super) const TUNNEL: u16 = 8472;
/// What the agent reads unless a scenario says otherwise.
pub(super) const CONF: &str = r#"{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}"#;

/// Whose nodes they are.
#[derive(Debug)]
enum Owner {
    Tartan(Vec<Agent>),
    Flannel { _nodes: Vec<FlannelNode>, _plane: Box<ControlPlane> },
}

/// The lab of these scenarios.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) nodes: [Node; 2],
    /// Two of the first node, one of the second.
    pub(super) pods: [Pod; 3],
    owner: Owner,
    _mirrors: Vec<Running<IgnoredAny>>,
    _lab: Lab,
}

/// How the agents of a ground are started.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start<'a> {
    pub(super) net_conf: &'a str,
    /// A program and its arguments that the agent is started through.
    pub(super) launcher: &'a [&'a str],
    pub(super) flags: &'a [&'a str],
}

impl Default for Start<'_> {
    fn default() -> Self {
        Self { net_conf: CONF, launcher: &[], flags: &["--ip-masq"] }
    }
}

/// flannel's two ways to write its rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flavour {
    Iptables,
    Nft,
}

impl Ground {
    /// Nodes of Tartan's.
    pub(super) fn tartan(lab: Lab, start: &Start<'_>) -> Result<Self> {
        let nodes: [Node; 2] = lab.nodes()?;
        let mut agents = Vec::new();
        for node in &nodes {
            node.write(NET_CONF, start.net_conf)?;
            let mut agent = node.start_agent_under(start.launcher, start.flags)?;
            agent.wait_ready()?;
            agents.push(agent);
        }
        let pods = [nodes[0].pod("a")?, nodes[0].pod("b")?, nodes[1].pod("a")?];
        for pod in &pods {
            pod.cni_add()?;
        }
        Self::with(lab, nodes, pods, Owner::Tartan(agents))
    }

    /// Nodes of the real flannel's.
    pub(super) fn flannel(lab: Lab, flavour: Flavour) -> Result<Self> {
        let plane = ControlPlane::start(&lab, &Options::default())?;
        let nodes: [Node; 2] = lab.nodes()?;
        let mut flannels = Vec::new();
        for node in &nodes {
            register(&plane, node)?;
            flannel::prepare(node)?;
            node.write(NET_CONF, &flavour.net_conf())?;
            let kubeconfig = plane.kubeconfig(&User::agent(node.name()))?;
            flannels.push(FlannelNode::start_prepared(node, &kubeconfig)?);
        }
        let pods =
            [flannels[0].add_pod("a")?, flannels[0].add_pod("b")?, flannels[1].add_pod("a")?];
        Self::with(lab, nodes, pods, Owner::Flannel { _nodes: flannels, _plane: Box::new(plane) })
    }

    fn with(lab: Lab, nodes: [Node; 2], pods: [Pod; 3], owner: Owner) -> Result<Self> {
        Outside.run(&format!("ip address add {BEHIND}/32 dev lo"))?;
        let mut mirrors =
            vec![mirror(&Outside, OUTSIDE, MIRROR)?, mirror(&Outside, BEHIND, MIRROR)?];
        for node in &nodes {
            let subnet = subnet(node)?;
            Outside.run(&format!("ip route replace {subnet} via {}", node.address()))?;
            mirrors.push(mirror(node, node.address(), MIRROR)?);
        }
        for pod in &pods {
            mirrors.push(mirror(pod, pod.address()?, MIRROR)?);
        }
        let this = Self { nodes, pods, owner, _mirrors: mirrors, _lab: lab };
        this.pods_know_each_other()?;
        Ok(this)
    }

    fn pods_know_each_other(&self) -> Result<()> {
        let ping = format!("ping -n -c 1 -W 1 {}", self.pods[2].address()?);
        let both = || self.pods[0].succeeds(&ping);
        eventually("the nodes know each other", Duration::from_secs(10), both)
    }

    /// Ends the agent of the first node and starts another with these flags.
    pub(super) fn restart(&mut self, start: &Start<'_>) -> Result<()> {
        self.end_agent(nix::sys::signal::Signal::SIGTERM)?;
        let mut agent = self.nodes[0].start_agent_under(start.launcher, start.flags)?;
        agent.wait_ready()?;
        let Owner::Tartan(agents) = &mut self.owner else { anyhow::bail!("flannel's") };
        agents.insert(0, agent);
        Ok(())
    }

    /// Ends the agent of the first node.
    pub(super) fn end_agent(&mut self, signal: nix::sys::signal::Signal) -> Result<()> {
        let Owner::Tartan(agents) = &mut self.owner else { anyhow::bail!("flannel's") };
        ensure!(agents.len() == 2, "the first node's agent has ended already");
        agents.remove(0).stop(signal)
    }

    /// The address of a node's overlay device.
    pub(super) fn overlay(&self, number: usize) -> Result<Ipv4Addr> {
        Ok(subnet(&self.nodes[number])?.network())
    }
}

impl Flavour {
    /// flannel's network configuration in this flavour.
    pub(super) fn net_conf(self) -> String {
        match self {
            Self::Iptables => FLANNEL_NET_CONF.to_owned(),
            Self::Nft => FLANNEL_NET_CONF.replace(r#"NFTables":false"#, r#"NFTables":true"#),
        }
    }
}

/// The node's part of the pod network, from its subnet.env.
pub(super) fn subnet(node: &Node) -> Result<Ipv4Net> {
    let text = node.read("/run/flannel/subnet.env")?;
    let line = text.lines().find_map(|line| line.strip_prefix("FLANNEL_SUBNET="));
    let gateway: Ipv4Net = line.context("subnet.env has no FLANNEL_SUBNET")?.parse()?;
    Ok(gateway.trunc())
}

/// Starts a mirror on an address and a port, for UDP and TCP.
pub(super) fn mirror(
    place: &dyn Place,
    ip: impl Into<IpAddr>,
    port: u16,
) -> Result<Running<IgnoredAny>> {
    let ip = ip.into();
    Running::start(place, &format!("mirror --bind {ip} --port {port}"), "")
}

/// Asks a mirror with these flags of `tool seen`.
pub(super) fn ask(
    place: &dyn Place,
    to: (impl Into<IpAddr>, u16),
    flags: &str,
) -> Result<Running<SeenReport>> {
    let to = SocketAddr::new(to.0.into(), to.1);
    Running::start(place, &format!("seen --to {to} {flags}"), "")
}

/// The outside host's own address.
pub(super) const OUTSIDE: Ipv4Addr = GATEWAY;
