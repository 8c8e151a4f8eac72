//! Nodes of both kinds on one real API server, as the scenarios about Kubernetes need them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::agent::Agent;
use crate::api::{Client, NodeSpec};
use crate::control_plane::{ControlPlane, Options, User};
use crate::flannel::FlannelNode;
use crate::lab::Lab;
use crate::node::Node;
use crate::pod::Pod;
use crate::process::eventually;

/// flannel's annotations begin with this.
pub const PREFIX: &str = "flannel.alpha.coreos.com/";

/// How long an Event may take.
const EVENT: Duration = Duration::from_secs(10);

/// One node with a Node object, its agent and its pods.
#[derive(Debug)]
pub struct KubeMember {
    /// The node.
    pub node: Node,
    /// Its pods.
    pub pods: Vec<Pod>,
    /// What the agent reaches the API server with.
    pub kubeconfig: String,
    agent: Option<Agent>,
}

impl KubeMember {
    /// Registers the node and starts a Tartan agent on it, until it is ready.
    ///
    /// # Errors
    /// When the API server refuses the Node or the agent does not get ready.
    pub fn new(plane: &ControlPlane, node: Node) -> Result<Self> {
        let mut this = Self::without_agent(plane, node)?;
        this.start_agent(&[])?;
        Ok(this)
    }

    /// Registers the node only.
    ///
    /// # Errors
    /// When the API server refuses the Node, or nobody gives it a podCIDR.
    pub fn without_agent(plane: &ControlPlane, node: Node) -> Result<Self> {
        register(plane, &node)?;
        Self::registered(plane, node)
    }

    /// A node whose Node object is there already; no agent is started.
    ///
    /// # Errors
    /// When the API server gives no token for it.
    pub fn registered(plane: &ControlPlane, node: Node) -> Result<Self> {
        // As in the DaemonSet: the token says which node it is for.
        let kubeconfig = plane.kubeconfig(&plane.bound_agent(node.name())?)?;
        Ok(Self { node, pods: Vec::new(), kubeconfig, agent: None })
    }

    /// Starts the agent with `more` flags and waits until it is ready.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub fn start_agent(&mut self, more: &[&str]) -> Result<()> {
        let mut agent = self.node.start_kube_agent_with(&self.kubeconfig, more)?;
        agent.wait_ready()?;
        self.agent = Some(agent);
        Ok(())
    }

    /// Ends the agent, if it runs.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop_agent(&mut self, signal: Signal) -> Result<()> {
        self.agent.take().map_or(Ok(()), |agent| agent.stop(signal))
    }

    /// The running agent.
    ///
    /// # Errors
    /// When it was stopped.
    pub fn agent(&self) -> Result<&Agent> {
        self.agent.as_ref().with_context(|| format!("no agent on {}", self.node.name()))
    }

    /// Makes a pod and connects it by our CNI plugin.
    ///
    /// # Errors
    /// When the plugin fails.
    pub fn add_pod(&mut self, name: &str) -> Result<Pod> {
        let pod = self.node.pod(name)?;
        pod.cni_add()?;
        self.pods.push(pod.clone());
        Ok(pod)
    }

    /// What `tartanctl status -o json` reads: the agent's last word.
    ///
    /// # Errors
    /// When the agent never wrote it.
    pub fn state(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.node.read("/run/flannel/tartan.json")?)?)
    }
}

/// Makes the Node object of a node, as its kubelet does, and waits for its podCIDR.
///
/// # Errors
/// When the API server refuses it, or nobody gives it a podCIDR.
pub fn register(plane: &ControlPlane, node: &Node) -> Result<()> {
    register_at(plane, node, &[node.address().into()])
}

/// As [`register`], for a node with these addresses.
///
/// # Errors
/// As [`register`].
pub fn register_at(plane: &ControlPlane, node: &Node, addresses: &[IpAddr]) -> Result<()> {
    let admin = plane.admin();
    admin.create_node(node.name(), &NodeSpec::default())?;
    admin.set_node_addresses(node.name(), addresses)?;
    admin.wait_pod_cidrs(node.name()).map(drop)
}

/// A node run by the real flannel, registered like any other.
///
/// # Errors
/// As [`register`], or when flannel does not start.
pub fn flannel_node(plane: &ControlPlane, node: &Node) -> Result<FlannelNode> {
    register(plane, node)?;
    FlannelNode::start(node, &plane.kubeconfig(&User::agent(node.name()))?)
}

/// What a node's agent published, and what an operator left there for it: key without flannel's
/// prefix, value.
///
/// # Errors
/// When there is no such node.
pub fn published(admin: &Client, name: &str) -> Result<BTreeMap<String, String>> {
    let mut node = admin.node(name)?;
    let all: BTreeMap<String, String> =
        serde_json::from_value(node["metadata"]["annotations"].take())?;
    let ours = |(key, value): (String, String)| Some((key.strip_prefix(PREFIX)?.to_owned(), value));
    Ok(all.into_iter().filter_map(ours).collect())
}

/// Waits until there is an Event about the node with this reason: its text.
///
/// # Errors
/// When there is none within 10 s.
pub fn wait_event(admin: &Client, name: &str, reason: &str) -> Result<String> {
    let mut text = None;
    eventually(&format!("an Event {reason} about {name}"), EVENT, || {
        let events = admin.node_events(name)?;
        let event = events.iter().find(|event| event["reason"] == reason);
        text = event.and_then(|event| event["message"].as_str()).map(str::to_owned);
        Ok(text.is_some())
    })?;
    text.context("an Event without a message")
}

/// Tartan nodes on one API server.
#[derive(Debug)]
pub struct KubeCluster {
    /// The API server.
    pub plane: ControlPlane,
    /// The nodes, in the order of their names.
    pub members: Vec<KubeMember>,
}

impl KubeCluster {
    /// `nodes` nodes with `pods` pods each.
    ///
    /// # Errors
    /// When the control plane or a node does not get ready.
    pub fn new(lab: &Lab, options: &Options, nodes: usize, pods: usize) -> Result<Self> {
        let plane = ControlPlane::start(lab, options)?;
        let mut this = Self { plane, members: Vec::new() };
        for _ in 0..nodes {
            let mut member = KubeMember::new(&this.plane, lab.node()?)?;
            for name in ["a", "b", "c"].iter().take(pods) {
                member.add_pod(name)?;
            }
            this.members.push(member);
        }
        Ok(this)
    }

    /// The administrator.
    #[must_use]
    pub fn admin(&self) -> &Client {
        self.plane.admin()
    }

    /// All pods.
    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.members.iter().flat_map(|member| &member.pods)
    }
}
