//! Three nodes of flannel's with their pods, the swapping of binaries, and the traffic under it.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;

use crate::agent::Agent;
use crate::cluster::{Servers, pairs, talk};
use crate::control_plane::{ControlPlane, Options};
use crate::flannel::{chain_add, prepare};
use crate::go_tools;
use crate::kube_cluster::register;
use crate::lab::Lab;
use crate::node::{NET_CONF, Node};
use crate::paths;
use crate::pod::Pod;
use crate::process::{Place, eventually};
use crate::scenario::Scenario;
use crate::traffic::{self, ProbeReport, RrReport, Running};

/// Where flannel's image has its agent.
const AGENT: &str = "/opt/bin/flanneld";
const PLUGIN: &str = "/opt/cni/bin/flannel";
const SUBNET_ENV: &str = "/run/flannel/subnet.env";
/// More than one swap takes, so that traffic runs before, during and after it.
const SECONDS: f64 = 4.0;
/// No swap may hold packets back for so long.
const LONGEST_GAP_MS: f64 = 1000.0;
const START: Duration = Duration::from_secs(20);
/// File times lag behind the clock by up to a tick of the kernel.
const CLOCK_TICK: Duration = Duration::from_millis(10);

/// A node that changes hands; whoever's binaries are installed, the command line is the same.
pub(super) struct Hands {
    pub(super) node: Node,
    kubeconfig: String,
    agent: Option<Agent>,
    started: SystemTime,
}

impl Hands {
    fn new(plane: &ControlPlane, node: Node) -> Result<Self> {
        register(plane, &node)?;
        prepare(&node)?;
        node.run("mkdir -p /opt/bin")?;
        let kubeconfig = plane.kubeconfig(&plane.bound_agent(node.name())?)?;
        let mut this = Self { node, kubeconfig, agent: None, started: SystemTime::now() };
        this.install_flannels()?;
        this.start()?;
        this.wait_flannels()?;
        Ok(this)
    }

    pub(super) fn install_flannels(&self) -> Result<()> {
        self.install(&go_tools::path("flanneld")?, AGENT)?;
        self.install(&go_tools::path("flannel")?, PLUGIN)
    }

    pub(super) fn install_ours(&self) -> Result<()> {
        self.install(&paths::binary("tartand")?, AGENT)?;
        self.install(&paths::binary("tartan-cni")?, PLUGIN)
    }

    /// Copied, as installers do, and renamed: a running program's file cannot be written to.
    fn install(&self, program: &Path, target: &str) -> Result<()> {
        self.node.run(&format!("cp {} {target}.new", program.display()))?;
        self.node.run(&format!("chmod 755 {target}.new"))?;
        self.node.run(&format!("mv {target}.new {target}")).map(drop)
    }

    /// flannel's command line, whoever obeys it.
    pub(super) fn start(&mut self) -> Result<()> {
        let arguments = [
            "--ip-masq",
            "--kube-subnet-mgr",
            "--iface=eth0",
            &format!("--kubeconfig-file={}", self.kubeconfig),
            &format!("--net-config-path={NET_CONF}"),
        ];
        let variables = [("NODE_NAME", self.node.name()), ("EVENT_QUEUE_DEPTH", "5000")];
        self.started = SystemTime::now();
        self.agent = Some(self.node.start_agent_as(AGENT, &arguments, &variables)?);
        Ok(())
    }

    pub(super) fn stop(&mut self, signal: Signal) -> Result<()> {
        self.agent.take().map_or(Ok(()), |agent| agent.stop(signal))
    }

    pub(super) fn wait_ours(&mut self) -> Result<()> {
        self.agent.as_mut().context("no agent runs")?.wait_ready()
    }

    /// flanneld writes subnet.env at every start.
    pub(super) fn wait_flannels(&self) -> Result<()> {
        let log = || self.agent.as_ref().map(Agent::log_tail).unwrap_or_default();
        eventually(&format!("flanneld on {}", self.node.name()), START, || {
            let written = fs::metadata(self.node.path(SUBNET_ENV)).and_then(|file| file.modified());
            Ok(written.is_ok_and(|written| written + CLOCK_TICK >= self.started))
        })
        .with_context(log)
    }
}

/// The cluster under test.
pub(super) struct Cluster {
    pub(super) plane: ControlPlane,
    pub(super) nodes: Vec<Hands>,
    pub(super) pods: Vec<Pod>,
    pub(super) servers: Vec<Servers>,
}

impl Cluster {
    pub(super) fn new(lab: &Lab) -> Result<Self> {
        let plane = ControlPlane::start(lab, &Options::default())?;
        let mut this = Self { plane, nodes: Vec::new(), pods: Vec::new(), servers: Vec::new() };
        for _ in 0..3 {
            let hands = Hands::new(&this.plane, lab.node()?)?;
            for name in ["a", "b"] {
                let pod = hands.node.pod(name)?;
                chain_add(&pod)?;
                this.servers.push(Servers::start(&pod)?);
                this.pods.push(pod);
            }
            this.nodes.push(hands);
        }
        this.all_talk(10_000)?;
        Ok(this)
    }

    pub(super) fn all_talk(&self, bytes: u64) -> Result<()> {
        let pods: Vec<_> = self.pods.iter().collect();
        pairs(&pods).into_iter().try_for_each(|(from, to)| talk(from, to, bytes))
    }
}

/// 1,000 datagrams a second and a live TCP connection from the first pod of each node to a pod of
/// every other, whatever kind of pod it is by now.
pub(super) struct Traffic {
    probes: Vec<Running<Vec<ProbeReport>>>,
    connections: Vec<Running<RrReport>>,
}

impl Traffic {
    pub(super) fn start(pods: &[Pod]) -> Result<Self> {
        let mut this = Self { probes: Vec::new(), connections: Vec::new() };
        for (from, to) in streams(pods) {
            let ip: IpAddr = to.address()?.into();
            this.probes.push(traffic::udp_probe(from, &[ip], 1000, SECONDS)?);
            let line = format!(
                "rr --to {ip}:{} --over tcp --seconds {SECONDS} --pause-us 5000",
                traffic::ECHO_PORT
            );
            this.connections.push(Running::start(from, &line, "")?);
        }
        Ok(this)
    }

    /// No connection broke and no gap was too long; the loss is noted.
    pub(super) fn finish(self, scenario: &Scenario, what: &str) -> Result<()> {
        let (mut sent, mut lost, mut gap, mut stall) = (0, 0, 0.0_f64, 0.0_f64);
        for report in self.probes.into_iter().map(Running::finish) {
            for report in report? {
                ensure!(report.received > 0, "{what}: {report:?}");
                sent += report.sent;
                lost += report.lost + report.refused;
                gap = gap.max(report.max_gap_ms);
            }
        }
        for report in self.connections.into_iter().map(Running::finish) {
            let report = report.with_context(|| format!("{what}: a connection broke"))?;
            stall = stall.max(report.p99_us / 1000.0);
        }
        scenario.note(format!(
            "{what}: {sent} datagrams, {lost} lost, longest gap {gap:.1} ms, TCP p99 {stall:.1} ms"
        ));
        ensure!(gap < LONGEST_GAP_MS, "{what}: nothing arrived for {gap:.0} ms");
        Ok(())
    }
}

/// Between every two nodes, the first pod of the one to the last pod of the other.
fn streams(pods: &[Pod]) -> Vec<(&Pod, &Pod)> {
    let name = |pod: &Pod| pod.node().name().to_owned();
    let is_first = |pod: &Pod| pods.iter().find(|other| name(other) == name(pod));
    let is_last = |pod: &Pod| pods.iter().rfind(|other| name(other) == name(pod));
    let firsts = pods.iter().filter(|pod| is_first(pod).map(Place::label) == Some(pod.label()));
    let lasts: Vec<_> =
        pods.iter().filter(|pod| is_last(pod).map(Place::label) == Some(pod.label())).collect();
    let to = |from| lasts.iter().map(move |to| (from, *to));
    firsts.flat_map(to).filter(|(from, to)| name(from) != name(to)).collect()
}
