//! A node of the lab run by the real flannel: its agent on the API server, its own CNI chain
//! (flannel, bridge, host-local, portmap) driven through cnitool as a container runtime drives it.
//! Flags, files and configuration are those of flannel's manifest.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cni::Attachment;
use crate::go_tools;
use crate::node::{CONFLIST, NET_CONF, Node};
use crate::paths::LOGS;
use crate::pod::Pod;
use crate::process::{Place as _, checked, eventually};
use crate::scenario::tail;

/// The plugins that flannel's chain runs.
const PLUGINS: [&str; 5] = ["flannel", "bridge", "host-local", "portmap", "loopback"];
/// flannel's own network configuration: iptables, as most clusters have it.
pub const FLANNEL_NET_CONF: &str = r#"{"Network":"10.244.0.0/16","EnableNFTables":false,"Backend":{"Type":"vxlan","VNI":1,"Port":8472}}"#;
/// flannel's own conflist.
pub const FLANNEL_CONFLIST: &str = r#"{"name":"cbr0","cniVersion":"0.3.1","plugins":[{"type":"flannel","delegate":{"hairpinMode":true,"isDefaultGateway":true}},{"type":"portmap","capabilities":{"portMappings":true}}]}"#;

const SUBNET_ENV: &str = "/run/flannel/subnet.env";
/// How long the agent may take until subnet.env is there.
const START: Duration = Duration::from_secs(20);
/// How long it may take to end.
const STOP: Duration = Duration::from_secs(10);
/// File times lag behind the clock by up to a tick of the kernel.
const CLOCK_TICK: Duration = Duration::from_millis(10);

/// A node run by flannel; its agent is killed when dropped.
#[derive(Debug)]
pub struct FlannelNode {
    node: Node,
    kubeconfig: String,
    log: PathBuf,
    agent: Option<Child>,
}

impl FlannelNode {
    /// Prepares the node as kubeadm and flannel's manifest do, starts the agent and waits for
    /// subnet.env. The Node object must be there.
    ///
    /// # Errors
    /// When a program is not built (a skip), or subnet.env does not come.
    pub fn start(node: &Node, kubeconfig: &str) -> Result<Self> {
        prepare(node)?;
        Self::start_prepared(node, kubeconfig)
    }

    /// As [`FlannelNode::start`], on a node that was prepared, perhaps in another way.
    ///
    /// # Errors
    /// As [`FlannelNode::start`].
    pub fn start_prepared(node: &Node, kubeconfig: &str) -> Result<Self> {
        let log = PathBuf::from(format!("{LOGS}/flanneld-{}.log", node.name()));
        let mut this =
            Self { node: node.clone(), kubeconfig: kubeconfig.to_owned(), log, agent: None };
        this.start_agent(&[])?;
        Ok(this)
    }

    /// The node.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Starts the agent again after [`FlannelNode::stop`], with `more` flags, and waits until it
    /// has written subnet.env.
    ///
    /// # Errors
    /// When it ends, or does not write it within 20 s.
    pub fn start_agent(&mut self, more: &[&str]) -> Result<()> {
        let started = SystemTime::now();
        self.launch(more)?;
        let mut ended = None;
        let what = format!("flanneld on {} writes subnet.env", self.node.name());
        eventually(&what, START, || {
            ended = self.agent.as_mut().map(Child::try_wait).transpose()?.flatten();
            Ok(ended.is_some() || self.is_ready_since(started))
        })
        .with_context(|| self.log_tail())?;
        match ended {
            None => Ok(()),
            Some(status) => bail!("{what}: it ended: {status}\n{}", self.log_tail()),
        }
    }

    /// Starts the agent and does not wait for it.
    ///
    /// # Errors
    /// When it is not built or cannot be started.
    pub fn launch(&mut self, more: &[&str]) -> Result<()> {
        let mut command = self.node.command(&go_tools::path("flanneld")?.to_string_lossy());
        command.args(["--kube-subnet-mgr", "--ip-masq", "--iface=eth0"]);
        command.arg(format!("--kubeconfig-file={}", self.kubeconfig));
        command.arg(format!("--net-config-path={NET_CONF}")).args(more);
        command.env("NODE_NAME", self.node.name());
        let file = File::options().create(true).append(true).open(&self.log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        self.agent = Some(command.spawn().context("cannot start flanneld")?);
        Ok(())
    }

    fn is_ready_since(&self, started: SystemTime) -> bool {
        let written = fs::metadata(self.node.path(SUBNET_ENV)).and_then(|file| file.modified());
        written.is_ok_and(|written| written + CLOCK_TICK >= started)
    }

    /// Ends the agent with this signal and waits; nothing happens if none runs.
    ///
    /// # Errors
    /// When it does not end within 10 s.
    pub fn stop(&mut self, signal: Signal) -> Result<()> {
        let Some(mut agent) = self.agent.take() else { return Ok(()) };
        kill(Pid::from_raw(i32::try_from(agent.id())?), signal)?;
        let what = format!("flanneld on {} ends after {signal}", self.node.name());
        eventually(&what, STOP, || Ok(agent.try_wait()?.is_some()))
    }

    /// The agent's process id.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.agent.as_ref().map(Child::id)
    }

    /// The end of the agent's log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        tail(&fs::read_to_string(&self.log).unwrap_or_default(), 30)
    }

    /// Makes a pod and connects it by the node's whole chain.
    ///
    /// # Errors
    /// When the chain fails.
    pub fn add_pod(&self, name: &str) -> Result<Pod> {
        let pod = self.node.pod(name)?;
        chain_add(&pod)?;
        Ok(pod)
    }

    /// Disconnects a pod by the node's whole chain, and removes it.
    ///
    /// # Errors
    /// When the chain fails.
    pub fn del_pod(&self, pod: Pod) -> Result<()> {
        chain(&pod, "del")?;
        pod.remove()
    }
}

impl Drop for FlannelNode {
    fn drop(&mut self) {
        if let Some(agent) = self.agent.as_mut() {
            // It may be gone already.
            let _ = agent.kill();
            let _ = agent.wait();
        }
    }
}

/// What an administrator and flannel's manifest put on a node: settings, configuration, plugins.
///
/// # Errors
/// When a plugin is not built (a skip) or a file cannot be written.
pub fn prepare(node: &Node) -> Result<()> {
    for name in PLUGINS {
        install(node, name, &go_tools::path(name)?)?;
    }
    node.sysctl("net.ipv4.ip_forward", "1")?;
    // Answers between two pods of one node through a Service pass the bridge.
    node.sysctl("net.bridge.bridge-nf-call-iptables", "1")?;
    node.write(NET_CONF, FLANNEL_NET_CONF)?;
    node.write(CONFLIST, FLANNEL_CONFLIST)
}

/// Puts a CNI plugin on the node under this name, in place of one that has it.
///
/// # Errors
/// When the link cannot be made.
pub fn install(node: &Node, name: &str, program: &Path) -> Result<()> {
    node.run(&format!("ln -sfn {} /opt/cni/bin/{name}", program.display())).map(drop)
}

/// Connects a pod by every plugin of the node's conflist, through cnitool.
///
/// # Errors
/// When cnitool is not built (a skip), or a plugin fails.
pub fn chain_add(pod: &Pod) -> Result<Attachment> {
    let printed = chain(pod, "add")?;
    let result = serde_json::from_str(&printed).context("cnitool printed no JSON")?;
    let attachment = Attachment { result };
    pod.set_address(attachment.address()?.addr());
    Ok(attachment)
}

/// Runs `cnitool VERB cbr0 NETNS` on the pod's node; what it printed.
///
/// # Errors
/// As [`chain_add`].
pub fn chain(pod: &Pod, verb: &str) -> Result<String> {
    let mut command = pod.node().command(&go_tools::path("cnitool")?.to_string_lossy());
    command.args([verb, "cbr0", &pod.netns()]).env("CNI_PATH", "/opt/cni/bin");
    command.env(
        "CNI_ARGS",
        format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={}", pod.name()),
    );
    checked(&mut command).with_context(|| format!("the chain's {verb} of {}", pod.label()))
}
