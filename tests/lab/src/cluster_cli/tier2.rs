//! A whole cluster: containerd, kubelet and kube-proxy on every node, the pod network installed as
//! a user installs it.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::fault::Daemon;
use super::options::{Cni, Options, Proxy};
use super::report::Pod as PodReport;
use super::tier::{NodeView, Tier};
use crate::cluster::{Servers, pairs, reach};
use crate::control_plane::ControlPlane;
use crate::kube_proxy::ProxyMode;
use crate::kubernetes::{self, Cluster, KubeletNode, PodPlace, Steps};
use crate::lab::Lab;
use crate::process::Place as _;
use crate::wire::{Outside, Wire};

/// What the pods that are there to look at are called; the node's name follows.
const PODS: &str = "toolbox";
/// How long the API server may take to list the pods of a node that comes back.
const PATIENCE: Duration = Duration::from_secs(2);

/// The cluster.
#[derive(Debug)]
pub(super) struct Tier2 {
    cluster: Cluster,
    off: BTreeSet<usize>,
}

impl Tier2 {
    /// Brings it up, with one pod per node.
    pub(super) fn up(options: &Options, steps: &mut Steps) -> Result<Self> {
        let wanted = kubernetes::Options {
            nodes: options.nodes,
            proxy: match options.proxy() {
                Proxy::Iptables => ProxyMode::Iptables,
                Proxy::Nftables => ProxyMode::Nftables,
            },
            cni: match options.cni() {
                Cni::Tartan => kubernetes::Cni::Tartan,
                Cni::Flannel => kubernetes::Cni::Flannel,
            },
            mtu: options.mtu(),
            dns: !options.no_dns,
            images: Vec::new(),
        };
        let cluster = Cluster::up(Lab::new(Wire::Framed)?, &wanted, steps)?;
        steps.step(format!("one pod per node Ready: {PODS}-node1, ..."), || {
            cluster.toolboxes(PODS).map(drop)
        })?;
        Ok(Self { cluster, off: BTreeSet::new() })
    }

    fn node(&mut self, index: usize) -> Result<&mut KubeletNode> {
        self.cluster.nodes.get_mut(index).context("there is no such node")
    }

    fn agent(&self) -> &'static str {
        match self.cluster.options().cni {
            kubernetes::Cni::Flannel => "flanneld",
            kubernetes::Cni::Tartan | kubernetes::Cni::None => "tartand",
        }
    }
}

impl Tier for Tier2 {
    fn plane(&mut self) -> &mut ControlPlane {
        &mut self.cluster.plane
    }

    fn control_programs(&self) -> &'static [&'static str] {
        &["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"]
    }

    fn node_programs(&self) -> Vec<(Daemon, &'static str)> {
        vec![
            (Daemon::Containerd, "containerd"),
            (Daemon::Kubelet, "kubelet"),
            (Daemon::KubeProxy, "kube-proxy"),
            (Daemon::Agent, self.agent()),
        ]
    }

    fn nodes(&self) -> Vec<NodeView> {
        let view = |(index, node): (usize, &KubeletNode)| NodeView {
            name: node.name().to_owned(),
            address: node.node().address().to_string(),
            machine: (!self.off.contains(&index)).then(|| node.node().clone()),
        };
        self.cluster.nodes.iter().enumerate().map(view).collect()
    }

    fn own_pods(&self, _index: usize) -> Vec<PodReport> {
        Vec::new()
    }

    fn versions(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn switch_off(&mut self, index: usize) -> Result<()> {
        let node = self.node(index)?;
        node.power_off()?;
        let name = node.name().to_owned();
        self.off.insert(index);
        // Its kernel would still answer for it.
        Outside.succeeds(&format!("ip link del up-{name}")).map(drop)
    }

    fn switch_on(&mut self, index: usize) -> Result<()> {
        self.cluster.reboot(index)?;
        self.off.remove(&index);
        Ok(())
    }

    fn is_complete(&mut self, index: usize) -> Result<bool> {
        let node = self.cluster.nodes.get(index).context("there is no such node")?;
        let admin = self.cluster.admin().clone().with_patience(PATIENCE);
        let path = format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{}", node.name());
        // What the API server says may be older than the node: the containers must be there.
        let runs = |pod: &Value| {
            let containers = pod["status"]["containerStatuses"].as_array();
            containers.is_some_and(|all| all.iter().all(|one| is_running(node, one)))
        };
        Ok(self.cluster.is_ready(node.name())? && admin.list(&path)?.iter().all(runs))
    }

    fn bring_back(&mut self, index: usize, daemon: Daemon) -> Result<()> {
        let node = self.node(index)?;
        let daemon = match daemon {
            Daemon::Containerd => Some(&mut node.containerd),
            Daemon::Kubelet => node.kubelet.as_mut(),
            Daemon::KubeProxy => node.kube_proxy.as_mut(),
            // The kubelet does it.
            Daemon::Agent => None,
        };
        // What is left of the old one is a process that nobody has waited for.
        daemon.map_or(Ok(()), |daemon| daemon.restart(Signal::SIGKILL))
    }

    fn is_pod(&self, daemon: Daemon) -> bool {
        daemon == Daemon::Agent
    }

    fn check_title(&self) -> &'static str {
        "all ordered pairs of pods: ping, TCP, UDP, 100 kB"
    }

    fn failed_pairs(&mut self) -> Result<Vec<String>> {
        let pods = self.cluster.pods("default", &format!("app={PODS}"))?;
        let places = pods.iter().map(|pod| self.cluster.place(pod)).collect::<Result<Vec<_>>>()?;
        let servers = places.iter().map(|place| Servers::start_in(place));
        let _servers = servers.collect::<Result<Vec<_>>>()?;
        let talk = |(from, to): (&PodPlace, &PodPlace)| {
            let error = reach(from, to.address(), 100_000).err()?;
            Some(format!("from {} to {}: {error:#}", from.label(), to.label()))
        };
        Ok(pairs(&places.iter().collect::<Vec<_>>()).into_iter().filter_map(talk).collect())
    }

    fn tick(&mut self) -> Result<()> {
        Ok(())
    }
}

fn is_running(node: &KubeletNode, container: &Value) -> bool {
    let id = container["containerID"].as_str().unwrap_or_default();
    let id = id.trim_start_matches("containerd://");
    container["ready"] == true && !id.is_empty() && node.process_of(id).is_some()
}
