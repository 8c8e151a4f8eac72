//! A cluster without kubelets: a control plane, and nodes with an agent and one pod each.

use anyhow::{Context as _, Result};

use super::fault::Daemon;
use super::report::Pod as PodReport;
use super::tier::{NodeView, Tier};
use crate::agent::Agent;
use crate::cluster::{Servers, pairs, talk};
use crate::control_plane::{ControlPlane, Options};
use crate::kube_cluster::KubeMember;
use crate::kubernetes::Steps;
use crate::lab::Lab;
use crate::node::Node;
use crate::pod::Pod;
use crate::process::{Place as _, checked};
use crate::wire::{Outside, Wire};

/// The pod of each node.
const POD: &str = "a";

/// A node.
#[derive(Debug)]
struct Member {
    number: u8,
    name: String,
    address: String,
    kubeconfig: String,
    // Dropped in this order: the node last.
    agent: Option<Agent>,
    pod: Option<Pod>,
    node: Option<Node>,
}

/// The cluster.
#[derive(Debug)]
pub(super) struct Tier1 {
    members: Vec<Member>,
    plane: ControlPlane,
    lab: Lab,
}

impl Tier1 {
    /// Brings it up.
    pub(super) fn up(nodes: u8, steps: &mut Steps) -> Result<Self> {
        let lab = Lab::new(Wire::Framed)?;
        let plane = steps.step("etcd, kube-apiserver, kube-controller-manager", || {
            ControlPlane::start(&lab, &Options::default())
        })?;
        let mut this = Self { members: Vec::new(), plane, lab };
        for number in 1..=nodes {
            let title = format!("node{number}: Node object, tartand, one pod");
            steps.step(title, || this.join(number))?;
        }
        Ok(this)
    }

    fn join(&mut self, number: u8) -> Result<()> {
        let member = KubeMember::without_agent(&self.plane, self.lab.node()?)?;
        let KubeMember { node, kubeconfig, .. } = member;
        let mut agent = node.start_kube_agent_with(&kubeconfig, &[])?;
        agent.wait_ready()?;
        let mut member = Member {
            number,
            name: node.name().to_owned(),
            address: node.address().to_string(),
            kubeconfig,
            agent: Some(agent),
            pod: None,
            node: Some(node),
        };
        member.connect()?;
        self.members.push(member);
        Ok(())
    }

    fn member(&mut self, index: usize) -> Result<&mut Member> {
        self.members.get_mut(index).context("there is no such node")
    }
}

impl Member {
    /// Gives the node its pod, as soon as the agent is ready.
    fn connect(&mut self) -> Result<()> {
        let Some(node) = &self.node else { return Ok(()) };
        if self.pod.is_none() && self.agent.as_ref().is_some_and(Agent::is_ready) {
            let pod = node.pod(POD)?;
            pod.cni_add()?;
            self.pod = Some(pod);
        }
        Ok(())
    }

    fn start_agent(&mut self) -> Result<()> {
        let node = self.node.as_ref().with_context(|| format!("{} is off", self.name))?;
        self.agent = Some(node.start_kube_agent_with(&self.kubeconfig, &[])?);
        Ok(())
    }
}

impl Tier for Tier1 {
    fn plane(&mut self) -> &mut ControlPlane {
        &mut self.plane
    }

    fn control_programs(&self) -> &'static [&'static str] {
        &["etcd", "kube-apiserver", "kube-controller-manager"]
    }

    fn node_programs(&self) -> Vec<(Daemon, &'static str)> {
        vec![(Daemon::Agent, "tartand")]
    }

    fn nodes(&self) -> Vec<NodeView> {
        let view = |member: &Member| NodeView {
            name: member.name.clone(),
            address: member.address.clone(),
            machine: member.node.clone(),
        };
        self.members.iter().map(view).collect()
    }

    fn own_pods(&self, index: usize) -> Vec<PodReport> {
        let pod = self.members.get(index).and_then(|member| member.pod.as_ref());
        let report = |pod: &Pod| PodReport {
            namespace: "lab".to_owned(),
            name: pod.name().to_owned(),
            phase: "Connected".to_owned(),
            ip: pod.address().ok().map(|ip| ip.to_string()),
            restarts: 0,
            trouble: None,
        };
        pod.map(report).into_iter().collect()
    }

    fn versions(&self) -> Vec<(String, String)> {
        let node = self.members.iter().find_map(|member| member.node.as_ref());
        let said =
            node.and_then(|node| checked(node.product("tartand").ok()?.arg("--version")).ok());
        let version = said.and_then(|said| said.split_whitespace().nth(1).map(str::to_owned));
        version.map(|version| ("tartand".to_owned(), version)).into_iter().collect()
    }

    fn switch_off(&mut self, index: usize) -> Result<()> {
        let member = self.member(index)?;
        member.agent = None;
        member.pod = None;
        member.node = None;
        // The kernel removes it too, but takes its time.
        Outside.succeeds(&format!("ip link del up-{}", member.name)).map(drop)
    }

    fn switch_on(&mut self, index: usize) -> Result<()> {
        let number = self.member(index)?.number;
        let node = self.lab.node_again(number)?;
        let member = self.member(index)?;
        member.node = Some(node);
        member.start_agent()
    }

    fn is_complete(&mut self, index: usize) -> Result<bool> {
        let member = self.member(index)?;
        member.connect()?;
        Ok(member.pod.is_some())
    }

    fn bring_back(&mut self, index: usize, daemon: Daemon) -> Result<()> {
        match daemon {
            Daemon::Agent => self.member(index)?.start_agent(),
            Daemon::Kubelet | Daemon::Containerd | Daemon::KubeProxy => Ok(()),
        }
    }

    fn is_pod(&self, _daemon: Daemon) -> bool {
        false
    }

    fn check_title(&self) -> &'static str {
        "all ordered pairs of pods: ping, TCP, UDP, 100 kB"
    }

    fn failed_pairs(&mut self) -> Result<Vec<String>> {
        let pods: Vec<_> = self.members.iter().filter_map(|member| member.pod.as_ref()).collect();
        let _servers = pods.iter().map(|pod| Servers::start(pod)).collect::<Result<Vec<_>>>()?;
        let talked = pairs(&pods).into_iter().map(|(from, to)| talk(from, to, 100_000));
        Ok(talked.filter_map(Result::err).map(|error| format!("{error:#}")).collect())
    }

    fn tick(&mut self) -> Result<()> {
        self.members.iter_mut().try_for_each(Member::connect)
    }
}
