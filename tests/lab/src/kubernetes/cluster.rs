//! The cluster as a whole: brought up from nothing, nodes added, removed and rebooted.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};

use super::images::Image;
use super::machine::KubeletNode;
use super::options::{Cni, Options};
use super::steps::Steps;
use super::{install, waits};
use crate::api::Client;
use crate::control_plane::{self, ControlPlane};
use crate::kube_proxy::{self, ProxyMode};
use crate::lab::Lab;
use crate::process::Place as _;
use crate::wire::Outside;

/// A running cluster. All of it is gone with the lab.
#[derive(Debug)]
pub struct Cluster {
    /// etcd, API server, controller manager, scheduler.
    pub plane: ControlPlane,
    /// The nodes, in the order of their names.
    pub nodes: Vec<KubeletNode>,
    options: Options,
    lab: Lab,
}

impl Cluster {
    /// Starts everything and waits until every node is ready and, where there is one, DNS
    /// answers. Without a pod network it waits until the nodes are registered. The run needs
    /// control groups: [`Entry::with_kubelets`](crate::scenario::Entry::with_kubelets).
    ///
    /// # Errors
    /// When a program or an image is not built (a skip), or a part does not get ready in time.
    pub fn up(lab: Lab, options: &Options, steps: &mut Steps) -> Result<Self> {
        let (plane, nodes) = machines_and_plane(&lab, options, steps)?;
        let mut this = Self { plane, nodes, options: options.clone(), lab };
        steps.step("nodes registered, with their podCIDRs", || {
            this.start_daemons(0)?;
            this.wait_registered()
        })?;
        if this.options.dns {
            install::dns(&this)?;
        }
        this.install_cni(this.options.cni, steps)?;
        Ok(this)
    }

    /// Applies the manifest of a pod network, as a user does, and waits until every node is ready,
    /// DNS answers where there is one, and the DaemonSet is rolled out.
    ///
    /// # Errors
    /// When the API server refuses it, or the nodes do not get ready.
    pub fn install_cni(&mut self, cni: Cni, steps: &mut Steps) -> Result<()> {
        let Some(manifest) = install::manifest(cni) else { return Ok(()) };
        steps.step(format!("kubectl apply of {}", manifest.title), || self.apply(manifest.text))?;
        let title = format!("{} nodes Ready", self.nodes.len());
        steps.step(title, || {
            self.wait_nodes_ready().with_context(|| self.explain(manifest.namespace))
        })?;
        if self.options.dns {
            steps.step("DNS answers", || self.wait_rollout("kube-system", "deployment/coredns"))?;
        }
        steps.step(format!("{} rolled out", manifest.daemon_set), || {
            self.wait_rollout(manifest.namespace, &format!("daemonset/{}", manifest.daemon_set))
        })?;
        self.options.cni = cni;
        Ok(())
    }

    /// The administrator, for what `kubectl` would be too slow for.
    #[must_use]
    pub fn admin(&self) -> &Client {
        self.plane.admin()
    }

    /// The lab: more hosts on the wire, for instance.
    #[must_use]
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// What it was started with; a later [`Cluster::install_cni`] counts.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// A node by its name.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn node(&self, name: &str) -> Result<&KubeletNode> {
        let node = self.nodes.iter().find(|node| node.name() == name);
        node.with_context(|| format!("no node {name}"))
    }

    /// Adds a machine, whose kubelet registers it; does not wait until it is ready.
    ///
    /// # Errors
    /// When it does not register.
    pub fn add_node(&mut self) -> Result<&mut KubeletNode> {
        let node = start_machine(&self.lab, &self.options)?;
        let first = self.nodes.len();
        self.nodes.push(node);
        self.start_daemons(first)?;
        self.wait_registered()?;
        self.nodes.last_mut().context("no node was added")
    }

    /// Powers a machine off for good and deletes its Node object. Draining it first is the
    /// caller's business.
    ///
    /// # Errors
    /// When its processes do not die or the API server refuses.
    pub fn remove_node(&mut self, name: &str) -> Result<()> {
        let index = self.nodes.iter().position(|node| node.name() == name);
        let mut node = self.nodes.remove(index.with_context(|| format!("no node {name}"))?);
        node.power_off()?;
        self.admin().delete(&format!("/api/v1/nodes/{name}"))
    }

    /// Powers a machine off and starts it again; [`Cluster::wait_booted`] waits until the node is
    /// ready, [`Cluster::wait_restarted`] for a pod of it.
    ///
    /// # Errors
    /// When its processes do not die or start again.
    pub fn reboot(&mut self, index: usize) -> Result<()> {
        let Self { plane, nodes, options, lab } = self;
        let node = nodes.get_mut(index).with_context(|| format!("no node of index {index}"))?;
        node.reboot(lab, plane, options.proxy)
    }

    /// Ends every machine and the control plane: the lab, for another cluster. Its nodes get new
    /// names.
    ///
    /// # Errors
    /// When a process does not die.
    pub fn down(mut self) -> Result<Lab> {
        self.nodes.iter_mut().try_for_each(KubeletNode::power_off)?;
        let Self { plane, nodes, lab, .. } = self;
        drop((plane, nodes));
        Outside.shell(
            "ip route show | grep ' via ' | while read route; do ip route del $route; done",
        )?;
        Ok(lab)
    }

    /// Imports an image on every node.
    ///
    /// # Errors
    /// When the archive is not made (a skip) or a node refuses it.
    pub fn import(&self, image: Image) -> Result<()> {
        self.nodes.iter().try_for_each(|node| node.import(image))
    }

    /// Starts kube-proxy of every node in this mode.
    ///
    /// # Errors
    /// When one cannot be started.
    pub fn switch_proxy(&mut self, mode: ProxyMode) -> Result<()> {
        let Self { plane, nodes, options, .. } = self;
        options.proxy = mode;
        nodes.iter_mut().try_for_each(|node| node.start_kube_proxy(plane, mode))
    }

    fn start_daemons(&mut self, first: usize) -> Result<()> {
        let Self { plane, nodes, options, .. } = self;
        nodes.iter_mut().skip(first).try_for_each(|node| {
            node.start_kubelet(plane)?;
            node.start_kube_proxy(plane, options.proxy)
        })
    }

    /// Waits for every Node's podCIDR, to which the control plane then has a route: it speaks to
    /// pods when `kubectl` asks it to.
    fn wait_registered(&mut self) -> Result<()> {
        let what = "every node is registered";
        let mut ranges = Vec::new();
        let mut ended = None;
        waits::poll(what, Duration::from_mins(1), || {
            ended = self.nodes.iter_mut().find_map(|node| node.still_runs().err());
            let objects = self.admin().list("/api/v1/nodes")?;
            let range = |node: &KubeletNode| {
                let object = objects.iter().find(|one| one["metadata"]["name"] == node.name())?;
                let range = object["spec"]["podCIDR"].as_str()?.to_owned();
                Some((range, node.node().address()))
            };
            let all = self.nodes.iter().map(range).collect::<Option<Vec<_>>>();
            ranges = all.unwrap_or_default();
            Ok(ended.is_some() || !ranges.is_empty())
        })?;
        if let Some(error) = ended {
            return Err(error);
        }
        for (range, address) in &ranges {
            Outside.run(&format!("ip route replace {range} via {address}"))?;
        }
        Ok(())
    }
}

/// The control plane and the machines start at the same time.
fn machines_and_plane(
    lab: &Lab,
    options: &Options,
    steps: &mut Steps,
) -> Result<(ControlPlane, Vec<KubeletNode>)> {
    let begun = Instant::now();
    let control = control_plane::Options {
        users: vec![kube_proxy::user()],
        kubelets: true,
        ..control_plane::Options::default()
    };
    thread::scope(|scope| {
        let plane = scope.spawn(|| (ControlPlane::start(lab, &control), begun.elapsed()));
        let machines = (0..options.nodes).map(|_| scope.spawn(|| start_machine(lab, options)));
        let machines: Vec<_> = machines.collect();
        let (plane, took) = plane.join().map_err(|_| anyhow!("the control plane's thread"))?;
        let plane = plane?;
        steps.record("control plane ready", took);
        let machines = machines
            .into_iter()
            .map(|one| one.join().map_err(|_| anyhow!("a node's thread panicked")).flatten());
        let mut machines = machines.collect::<Result<Vec<_>>>()?;
        steps.record("containerd up, images imported", begun.elapsed());
        machines.sort_by_key(|one| one.node().address());
        Ok((plane, machines))
    })
}

fn start_machine(lab: &Lab, options: &Options) -> Result<KubeletNode> {
    let machine = KubeletNode::boot(lab.kubelet_node()?, options.mtu)?;
    options.all_images().into_iter().try_for_each(|image| machine.import(image))?;
    Ok(machine)
}
