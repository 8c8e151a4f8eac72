//! NetworkPolicy on the lab's nodes: a real engine, kube-router's controller, which enforces in the
//! iptables of its node, and the objects that it reads. There are no kubelets, so the lab says
//! itself where a pod runs and which address it has.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::api::Client;
use crate::go_tools;
use crate::node::Node;
use crate::paths::LOGS;
use crate::pod::Pod;
use crate::process::{Place as _, checked, eventually};
use crate::scenario::{skip, tail};

const PROGRAM: &str = "kube-router-netpol";
/// How long the engine may take until every pod of its node has its chain.
const SYNC: Duration = Duration::from_secs(20);
/// How long it may take to end.
const STOP: Duration = Duration::from_secs(10);
/// How long the controller manager may take to make a namespace's service account, without which
/// no pod is admitted.
const ACCOUNT: Duration = Duration::from_secs(20);

/// Which kernel interface the node's `iptables` speaks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// nf_tables.
    Nft,
    /// xtables.
    Legacy,
}

impl Flavour {
    /// The suffix of its programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Nft => "nft",
            Self::Legacy => "legacy",
        }
    }
}

impl Node {
    /// Lets `iptables` and its siblings be of this flavour on this node, as `update-alternatives`
    /// does: by the links in /etc/alternatives, which is the node's own.
    ///
    /// # Errors
    /// When the system has no alternatives (a skip), or the links cannot be made.
    pub fn use_iptables(&self, flavour: Flavour) -> Result<()> {
        let name = flavour.name();
        for family in ["iptables", "ip6tables"] {
            for tool in ["", "-save", "-restore"] {
                let program = format!("/usr/sbin/{family}-{name}{tool}");
                self.run(&format!("ln -sfn {program} /etc/alternatives/{family}{tool}"))?;
            }
        }
        let said = self.run("iptables -V")?;
        let wanted = match flavour {
            Flavour::Nft => "nf_tables",
            Flavour::Legacy => "legacy",
        };
        if said.contains(wanted) {
            return Ok(());
        }
        Err(skip(format!("iptables is no alternative here: it stays {}", said.trim())))
    }
}

/// kube-router's NetworkPolicy controller on one node; killed when dropped.
#[derive(Debug)]
pub struct PolicyEngine {
    node: Node,
    log: PathBuf,
    child: Child,
}

impl PolicyEngine {
    /// Starts it.
    ///
    /// # Errors
    /// When it is not built (a skip) or cannot be started.
    pub fn start(node: &Node, kubeconfig: &str) -> Result<Self> {
        let log = PathBuf::from(format!("{LOGS}/{PROGRAM}-{}.log", node.name()));
        let mut command = node.command(&go_tools::path(PROGRAM)?.to_string_lossy());
        command.args(["-kubeconfig", kubeconfig, "-hostname-override", node.name()]);
        command.env("NODE_NAME", node.name());
        let file = File::options().create(true).append(true).open(&log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("cannot start {PROGRAM}"))?;
        Ok(Self { node: node.clone(), log, child })
    }

    /// Waits until every one of these pods of its node has its chain.
    ///
    /// # Errors
    /// When it ends, or 20 s pass.
    pub fn wait_for(&mut self, pods: &[&Pod]) -> Result<()> {
        let addresses = pods.iter().map(|pod| pod.address()).collect::<Result<Vec<_>>>()?;
        let node = self.node.clone();
        eventually(&format!("chains for the pods of {}", node.name()), SYNC, || {
            let rules = node.run("iptables -w -S KUBE-ROUTER-FORWARD")?;
            Ok(addresses.iter().all(|ip| rules.contains(&format!("-d {ip}/32"))))
        })
        .with_context(|| self.log_tail())?;
        self.still_runs()
    }

    /// An error if it has ended: what it said last.
    ///
    /// # Errors
    /// As said.
    pub fn still_runs(&mut self) -> Result<()> {
        let Some(status) = self.child.try_wait()? else { return Ok(()) };
        bail!("{PROGRAM} on {} ended: {status}\n{}", self.node.name(), self.log_tail())
    }

    /// Ends it and removes everything that it made.
    ///
    /// # Errors
    /// When it does not end within 10 s, or a chain of it is left.
    pub fn remove(mut self) -> Result<()> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGTERM)?;
        let what = format!("{PROGRAM} on {} ends", self.node.name());
        eventually(&what, STOP, || Ok(self.child.try_wait()?.is_some()))?;
        let program = go_tools::path(PROGRAM)?;
        checked(self.node.command(&program.to_string_lossy()).arg("-cleanup-config"))?;
        let left = self.node.run("iptables-save -t filter")?;
        ensure!(!left.contains("KUBE-ROUTER"), "{} still has {left}", self.node.name());
        Ok(())
    }

    fn log_tail(&self) -> String {
        tail(&fs::read_to_string(&self.log).unwrap_or_default(), 20)
    }
}

impl Drop for PolicyEngine {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Client {
    /// Makes the Pod object of a pod that runs already, in the namespace `default`.
    ///
    /// # Errors
    /// When the server refuses it, or the pod has no address.
    pub fn create_pod(&self, pod: &Pod, labels: &Value) -> Result<()> {
        let name = pod.container_id();
        let object = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": { "name": name, "labels": labels },
            "spec": {
                "nodeName": pod.node().name(),
                "automountServiceAccountToken": false,
                "containers": [{ "name": "lab", "image": "lab" }],
            },
        });
        eventually(&format!("pod {name} is admitted"), ACCOUNT, || {
            self.ensure("/api/v1/namespaces/default/pods", &object).map(|()| true)
        })?;
        let address = pod.address()?;
        let status = json!({ "status": {
            "phase": "Running",
            "hostIP": pod.node().address(),
            "podIP": address,
            "podIPs": [{ "ip": address }],
        }});
        self.patch(&format!("/api/v1/namespaces/default/pods/{name}/status"), &status).map(drop)
    }

    /// Makes a NetworkPolicy in the namespace `default`.
    ///
    /// # Errors
    /// When the server refuses it.
    pub fn create_policy(&self, name: &str, spec: &Value) -> Result<()> {
        let object = json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": { "name": name },
            "spec": spec,
        });
        self.create(POLICIES, &object).map(drop)
    }

    /// Removes it.
    ///
    /// # Errors
    /// When there is none.
    pub fn delete_policy(&self, name: &str) -> Result<()> {
        self.delete(&format!("{POLICIES}/{name}"))
    }
}

const POLICIES: &str = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies";
