//! Tartan nodes with their agents and pods, as most scenarios need them.

use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use ipnet::Ipv4Net;
use nix::sys::signal::Signal;

use crate::agent::Agent;
use crate::lab::Lab;
use crate::node::Node;
use crate::pod::Pod;
use crate::process::Place;
use crate::traffic::{self, EchoReport, Running, SinkReport};

/// Name of each pod on its node, in the order of making.
const POD_NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// One node with its agent and its pods.
#[derive(Debug)]
pub struct Member {
    /// The node.
    pub node: Node,
    /// Its pods.
    pub pods: Vec<Pod>,
    agent: Option<Agent>,
    launcher: Vec<String>,
}

impl Member {
    /// Adds a ready agent to a node, and `pods` pods by the CNI plugin.
    ///
    /// # Errors
    /// When the agent does not get ready or the plugin fails.
    pub fn new(node: Node, pods: usize) -> Result<Self> {
        Self::under(node, &[], pods)
    }

    /// As [`Member::new`], with the agent started through another program and its arguments.
    ///
    /// # Errors
    /// As [`Member::new`].
    pub fn under(node: Node, launcher: &[&str], pods: usize) -> Result<Self> {
        let launcher = launcher.iter().map(|word| (*word).to_owned()).collect();
        let mut this = Self { node, pods: Vec::new(), agent: None, launcher };
        this.restart_agent(&[])?;
        for name in POD_NAMES.iter().take(pods) {
            this.add_pod(name)?;
        }
        Ok(this)
    }

    /// Makes a pod and connects it by the CNI plugin.
    ///
    /// # Errors
    /// When the plugin fails.
    pub fn add_pod(&mut self, name: &str) -> Result<Pod> {
        let pod = self.node.pod(name)?;
        pod.cni_add()?;
        self.pods.push(pod.clone());
        Ok(pod)
    }

    /// Ends the agent, if it runs.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop_agent(&mut self, signal: Signal) -> Result<()> {
        self.agent.take().map_or(Ok(()), |agent| agent.stop(signal))
    }

    /// Starts an agent with `more` flags in place of one that ended, and waits until it is ready.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub fn restart_agent(&mut self, more: &[&str]) -> Result<()> {
        let launcher: Vec<_> = self.launcher.iter().map(String::as_str).collect();
        let mut agent = self.node.start_agent_under(&launcher, more)?;
        agent.wait_ready()?;
        self.agent = Some(agent);
        Ok(())
    }

    /// Starts later agents through another program and its arguments.
    pub fn launch_by(&mut self, launcher: &[&str]) {
        self.launcher = launcher.iter().map(|word| (*word).to_owned()).collect();
    }

    /// The running agent.
    ///
    /// # Errors
    /// When it was stopped.
    pub fn agent(&self) -> Result<&Agent> {
        self.agent.as_ref().with_context(|| format!("no agent on {}", self.node.name()))
    }

    /// The node's part of the pod network, from its subnet.env.
    ///
    /// # Errors
    /// When the file has none.
    pub fn subnet(&self) -> Result<Ipv4Net> {
        let text = self.node.read("/run/flannel/subnet.env")?;
        let line = text.lines().find_map(|line| line.strip_prefix("FLANNEL_SUBNET="));
        let gateway: Ipv4Net = line.context("subnet.env has no FLANNEL_SUBNET")?.parse()?;
        Ok(gateway.trunc())
    }
}

/// Several members on one wire.
#[derive(Debug)]
pub struct Cluster {
    /// The members, in the order of their names.
    pub members: Vec<Member>,
}

impl Cluster {
    /// `nodes` nodes with `pods` pods each.
    ///
    /// # Errors
    /// When a node does not get ready.
    pub fn new(lab: &Lab, nodes: usize, pods: usize) -> Result<Self> {
        let members = (0..nodes).map(|_| Member::new(lab.node()?, pods)).collect::<Result<_>>()?;
        Ok(Self { members })
    }

    /// All pods.
    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.members.iter().flat_map(|member| &member.pods)
    }

    /// Every ordered pair of different pods.
    #[must_use]
    pub fn pairs(&self) -> Vec<(&Pod, &Pod)> {
        pairs(&self.pods().collect::<Vec<_>>())
    }

    /// Echo servers and sinks in all pods.
    ///
    /// # Errors
    /// When one cannot bind.
    pub fn servers(&self) -> Result<Vec<Servers>> {
        self.pods().map(Servers::start).collect()
    }
}

/// Every ordered pair of different things.
#[must_use]
pub fn pairs<T: Copy>(things: &[T]) -> Vec<(T, T)> {
    let numbered = || things.iter().copied().enumerate();
    let all = numbered().flat_map(|one| numbered().map(move |other| (one, other)));
    all.filter(|((i, _), (j, _))| i != j).map(|((_, a), (_, b))| (a, b)).collect()
}

/// An echo server and a checking sink in a pod; they end when dropped.
#[derive(Debug)]
pub struct Servers {
    _echo: Running<EchoReport>,
    _sink: Running<SinkReport>,
}

impl Servers {
    /// Starts both.
    ///
    /// # Errors
    /// When one cannot bind.
    pub fn start(pod: &Pod) -> Result<Self> {
        Self::start_in(pod)
    }

    /// Starts both anywhere.
    ///
    /// # Errors
    /// As [`Servers::start`].
    pub fn start_in(place: &dyn Place) -> Result<Self> {
        let sink = traffic::tcp_sink(place, true, None)?;
        Ok(Self { _echo: traffic::echo(place, None)?, _sink: sink })
    }
}

/// Ping, TCP, UDP and a checked transfer of `bytes` from one pod to another that runs
/// [`Servers`].
///
/// # Errors
/// When any of them fails: which, from where to where.
pub fn talk(from: &Pod, to: &Pod, bytes: u64) -> Result<()> {
    reach(from, to.address()?.into(), bytes)
        .with_context(|| format!("from {} to {}", from.label(), to.label()))
}

/// As [`talk`], from any place to an address of a place that runs [`Servers`].
///
/// # Errors
/// When any of them fails: which.
pub fn reach(from: &dyn Place, ip: IpAddr, bytes: u64) -> Result<()> {
    from.run(&format!("ping -n -c 1 -W 2 {ip}"))?;
    let tcp = traffic::crr_count(from, ip, 3)?;
    ensure!(tcp.failed == 0, "TCP: {tcp:?}");
    let udp = traffic::udp_probe(from, &[ip], 1000, 0.01)?.finish()?;
    ensure!(udp.iter().all(|report| report.lost == 0 && report.refused == 0), "UDP: {udp:?}");
    let bulk = traffic::tcp_bytes(from, ip, bytes)?;
    ensure!(bulk.intact, "bulk: {bulk:?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_things_make_six_ordered_pairs() {
        assert_eq!(pairs(&[1, 2, 3]), [(1, 2), (1, 3), (2, 1), (2, 3), (3, 1), (3, 2)]);
    }
}
