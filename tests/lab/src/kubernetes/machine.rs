//! A node of the cluster: a machine with containerd, a kubelet and kube-proxy.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use super::configuration::{self, CONTAINERD, KUBELET, RESOLV_CONF, SOCKET};
use super::daemon::Daemon;
use super::images::Image;
use crate::control_plane::{ControlPlane, User};
use crate::go_tools;
use crate::kube_proxy::{self, ProxyMode};
use crate::lab::Lab;
use crate::node::Node;
use crate::process::{Place, checked, eventually};
use crate::scenario::skip;
use crate::wire::Outside;

/// What the package `kubernetes-cni` puts on a node.
const CNI_PLUGINS: [&str; 4] = ["loopback", "bridge", "host-local", "portmap"];

/// How long containerd may take until it answers.
const RUNTIME: Duration = Duration::from_secs(30);
/// How long the processes of a node may take to die.
const DEATH: Duration = Duration::from_secs(20);

/// One node. As a [`Place`] it is the machine itself.
#[derive(Debug)]
pub struct KubeletNode {
    node: Node,
    number: u8,
    mtu: u16,
    /// The container runtime.
    pub containerd: Daemon,
    /// The kubelet, unless it was never started.
    pub kubelet: Option<Daemon>,
    /// kube-proxy, unless it was never started.
    pub kube_proxy: Option<Daemon>,
}

impl KubeletNode {
    /// A new machine whose container runtime answers.
    pub(super) fn boot(node: Node, mtu: u16) -> Result<Self> {
        let number = node.address().octets()[3] - 10;
        set_mtu(&node, mtu)?;
        prepare(&node)?;
        let containerd = start_containerd(&node)?;
        let mut this = Self { node, number, mtu, containerd, kubelet: None, kube_proxy: None };
        this.wait_for_containerd()?;
        Ok(this)
    }

    /// The machine: namespaces, files, address.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// `node1` and so on: the name of its Node object as well.
    #[must_use]
    pub fn name(&self) -> &str {
        self.node.name()
    }

    /// Waits until containerd answers.
    ///
    /// # Errors
    /// When it has ended, or does not answer within 30 s.
    pub fn wait_for_containerd(&mut self) -> Result<()> {
        let (mut ended, name) = (None, self.name().to_owned());
        eventually(&format!("containerd on {name} answers"), RUNTIME, || {
            ended = self.containerd.still_runs().err();
            Ok(ended.is_some() || self.ctr(&["version"]).is_ok())
        })
        .with_context(|| self.containerd.log_tail())?;
        ended.map_or(Ok(()), Err)
    }

    /// Imports an image's archive, as a user does on each node of a cluster without a registry.
    ///
    /// # Errors
    /// When the archive is not made (a skip) or containerd refuses it.
    pub fn import(&self, image: Image) -> Result<()> {
        self.import_archive(&image.path()?)
    }

    /// Imports any archive by its path in the lab.
    ///
    /// # Errors
    /// When containerd refuses it.
    pub fn import_archive(&self, path: &std::path::Path) -> Result<()> {
        self.ctr(&["images", "import", &path.to_string_lossy()]).map(drop)
    }

    /// `ctr` in the kubelet's namespace of containerd.
    ///
    /// # Errors
    /// When it fails.
    pub fn ctr(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.command(&go_tools::path("ctr")?.to_string_lossy());
        command.args(["-a", SOCKET, "-n", "k8s.io"]).args(arguments);
        checked(&mut command).with_context(|| format!("on {}", self.name()))
    }

    /// Starts the kubelet, which registers the node.
    pub(super) fn start_kubelet(&mut self, plane: &ControlPlane) -> Result<()> {
        let (name, address) = (self.name(), self.node.address());
        let kubeconfig = plane.kubeconfig(&User::kubelet(name))?;
        let arguments = [
            format!("--config={KUBELET}"),
            format!("--kubeconfig={kubeconfig}"),
            format!("--hostname-override={name}"),
            format!("--node-ip={address}"),
            "--root-dir=/var/lib/kubelet".to_owned(),
            "--cert-dir=/var/lib/kubelet/pki".to_owned(),
            "--v=2".to_owned(),
        ];
        self.kubelet = Some(Daemon::start(&self.node, "kubelet", arguments.to_vec())?);
        Ok(())
    }

    /// Starts kube-proxy in this mode; one in another mode ends first and its rules go.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_kube_proxy(&mut self, plane: &ControlPlane, mode: ProxyMode) -> Result<()> {
        self.kube_proxy = None;
        let kubeconfig = plane.kubeconfig(&kube_proxy::user())?;
        let config = kube_proxy::write_config(&self.node, mode, &kubeconfig, plane.pod_ranges())?;
        let arguments = vec![format!("--config={config}")];
        self.kube_proxy = Some(Daemon::start(&self.node, "kube-proxy", arguments)?);
        Ok(())
    }

    /// An error if one of its daemons has ended by itself.
    ///
    /// # Errors
    /// As said, with what it said last.
    pub fn still_runs(&mut self) -> Result<()> {
        self.containerd.still_runs()?;
        let others = [&mut self.kubelet, &mut self.kube_proxy];
        others.into_iter().flatten().try_for_each(Daemon::still_runs)
    }

    /// Kills every process of the machine, as a power failure does, and waits until all are gone.
    ///
    /// # Errors
    /// When one does not die.
    pub fn power_off(&mut self) -> Result<()> {
        let what = format!("every process of {} is gone", self.name());
        let groups = self.node.space().groups().context("no node with a kubelet")?.clone();
        // Their exits are asked for by whoever spawned them.
        let own: Vec<_> = self.own_processes();
        eventually(&what, DEATH, || {
            let left = groups.processes();
            for process in left.iter().map(|pid| Pid::from_raw(*pid)) {
                // It may be gone, or somebody else's child.
                let _ = kill(process, Signal::SIGKILL);
                if !own.contains(&process.as_raw()) {
                    let _ = waitpid(process, Some(WaitPidFlag::WNOHANG));
                }
            }
            Ok(left.is_empty())
        })?;
        self.containerd.forget();
        [&mut self.kubelet, &mut self.kube_proxy].into_iter().flatten().for_each(Daemon::forget);
        Ok(())
    }

    fn own_processes(&self) -> Vec<i32> {
        let daemons = [Some(&self.containerd), self.kubelet.as_ref(), self.kube_proxy.as_ref()];
        let pids = daemons.into_iter().flatten().filter_map(Daemon::pid);
        pids.chain([self.node.pid()]).filter_map(|pid| i32::try_from(pid).ok()).collect()
    }

    /// The whole machine goes down and comes up again: what is in /run, links, rules, pins and
    /// processes are lost, /etc, /var/lib, /var/log and /opt stay. Its daemons start again.
    pub(super) fn reboot(
        &mut self,
        lab: &Lab,
        plane: &ControlPlane,
        mode: ProxyMode,
    ) -> Result<()> {
        self.power_off()?;
        let node = lab.kubelet_node_again(self.number)?;
        *self = Self::boot(node, self.mtu)?;
        self.start_kubelet(plane)?;
        self.start_kube_proxy(plane, mode)
    }

    /// A process of the container with this id (without `containerd://`), as the lab numbers it.
    #[must_use]
    pub fn process_of(&self, container: &str) -> Option<i32> {
        self.node.space().groups()?.process_of(container)
    }

    /// The node's control group in one hierarchy, for instance `memory`.
    #[must_use]
    pub fn control_group(&self, hierarchy: &str) -> Option<PathBuf> {
        self.node.space().groups()?.first(hierarchy)
    }
}

impl Place for KubeletNode {
    fn label(&self) -> String {
        self.node.label()
    }

    fn command(&self, program: &str) -> Command {
        self.node.command(program)
    }
}

fn set_mtu(node: &Node, mtu: u16) -> Result<()> {
    if mtu == 1500 {
        return Ok(());
    }
    Outside.run(&format!("ip link set up-{} mtu {mtu}", node.name()))?;
    node.run(&format!("ip link set eth0 mtu {mtu}")).map(drop)
}

/// Files that an installer of Kubernetes puts on a machine.
fn prepare(node: &Node) -> Result<()> {
    let plugins = CNI_PLUGINS.map(|name| Ok(go_tools::path(name)?.display().to_string()));
    let plugins = plugins.into_iter().collect::<Result<Vec<_>>>()?.join(" ");
    node.shell(&format!(
        "mkdir -p /opt/cni/bin /etc/cni/net.d && cp -u {plugins} /opt/cni/bin/ && \
         chmod 755 /opt/cni/bin/*"
    ))?;
    node.write("/etc/hosts", &configuration::hosts(node.name()))?;
    node.write(RESOLV_CONF, "nameserver 127.0.0.1\n")?;
    node.write(CONTAINERD, &configuration::containerd())?;
    node.write(KUBELET, &configuration::kubelet().to_string())
}

fn start_containerd(node: &Node) -> Result<Daemon> {
    go_tools::path("containerd-shim-runc-v2")?;
    if !node.succeeds("runc --version").unwrap_or(false) {
        return Err(skip("runc is not installed; run: apt-get install runc"));
    }
    Daemon::start(node, "containerd", vec![format!("--config={CONTAINERD}")])
}
