//! Two nodes of one kind on a real API server, with their pods and a policy engine on each.

use anyhow::{Context as _, Result};
use serde_json::json;

use super::cast::Cast;
use crate::control_plane::{ControlPlane, User};
use crate::flannel::FlannelNode;
use crate::kube_cluster::{KubeMember, flannel_node};
use crate::lab::Lab;
use crate::network_policy::{Flavour, PolicyEngine};
use crate::node::Node;
use crate::pod::Pod;

/// Who runs the nodes.
enum Agents {
    Tartan([KubeMember; 2]),
    Flannel([FlannelNode; 2]),
}

/// One kind of nodes.
pub(super) struct Side {
    agents: Agents,
    pub(super) cast: Cast,
    pub(super) engines: Vec<PolicyEngine>,
}

impl Side {
    pub(super) fn tartan(lab: &Lab, plane: &ControlPlane, flavour: Flavour) -> Result<Self> {
        let member = || KubeMember::new(plane, node(lab, flavour)?);
        Self::new(plane, Agents::Tartan([member()?, member()?]))
    }

    pub(super) fn flannel(lab: &Lab, plane: &ControlPlane, flavour: Flavour) -> Result<Self> {
        let member = || flannel_node(plane, &node(lab, flavour)?);
        Self::new(plane, Agents::Flannel([member()?, member()?]))
    }

    fn new(plane: &ControlPlane, mut agents: Agents) -> Result<Self> {
        let name = match agents {
            Agents::Tartan(_) => "tartan",
            Agents::Flannel(_) => "flannel",
        };
        let cast = Cast::new(name, |node, pod| agents.add_pod(node, pod))?;
        for pod in cast.pods() {
            plane.admin().create_pod(pod, &json!({ "side": name, "role": pod.name() }))?;
        }
        Ok(Self { agents, cast, engines: Vec::new() })
    }

    /// Starts an engine on both nodes, and waits until it knows every pod.
    pub(super) fn start_engines(&mut self, plane: &ControlPlane) -> Result<()> {
        let kubeconfig = plane.kubeconfig(&User::admin())?;
        let nodes = self.cast.nodes();
        self.engines = nodes
            .into_iter()
            .map(|node| PolicyEngine::start(node, &kubeconfig))
            .collect::<Result<_>>()?;
        for (node, engine) in nodes.into_iter().zip(&mut self.engines) {
            let pods: Vec<_> = self.cast.pods_of(node).collect();
            engine.wait_for(&pods).with_context(|| self.cast.name)?;
        }
        Ok(())
    }

    /// The process ids of our agents.
    pub(super) fn agents_pids(&self) -> Result<Vec<u32>> {
        match &self.agents {
            Agents::Tartan(members) => {
                members.iter().map(|member| Ok(member.agent()?.pid())).collect()
            }
            Agents::Flannel(_) => Ok(Vec::new()),
        }
    }
}

fn node(lab: &Lab, flavour: Flavour) -> Result<Node> {
    let node = lab.node()?;
    node.use_iptables(flavour)?;
    Ok(node)
}

impl Agents {
    fn add_pod(&mut self, node: usize, name: &str) -> Result<Pod> {
        match self {
            Self::Tartan(members) => members[node].add_pod(name),
            Self::Flannel(nodes) => nodes[node].add_pod(name),
        }
    }
}
