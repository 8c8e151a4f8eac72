//! The agents of a real cluster are replaced, killed and starved, and their kubelets and runtimes
//! are restarted, while pods talk: no packet is lost, no pod is restarted.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;

use super::l2_traffic::{Traffic, ensure_untouched};
use crate::control_plane::NAMESPACE;
use crate::kubernetes::{Cluster, Options, PodView, Steps};
use crate::process::eventually;
use crate::scenario::{Entry, Scenario};
use crate::wire::Wire;

pub(super) static SCENARIOS: &[Entry] =
    &[Entry::new("l2_rollout::nothing_is_lost_while_agents_are_replaced", replaced)
        .within(400)
        .with_tools()
        .with_kubelets()
        .long()];

const AGENTS: &str = "app=tartan";
/// How long traffic is watched after each event.
const AFTERWARDS: Duration = Duration::from_secs(12);
const DAEMON_SET: &str = "daemonset/kube-tartan-ds";

fn replaced(scenario: &mut Scenario) -> Result<()> {
    let mut steps = Steps::new();
    let options = Options { dns: false, ..Options::default() };
    let mut cluster = Cluster::up(scenario.lab(Wire::Framed)?, &options, &mut steps)?;
    let pods = steps.step("first pods Ready", || cluster.toolboxes("web"))?;
    under_traffic(&mut cluster, &mut steps, &pods, "rollout restart", |cluster| {
        let before = agents(cluster)?;
        cluster.kubectl(&format!("-n {NAMESPACE} rollout restart {DAEMON_SET}"))?;
        cluster.wait_rollout(NAMESPACE, DAEMON_SET)?;
        let now = agents(cluster)?;
        let kept = before.iter().filter(|one| now.iter().any(|other| other.uid == one.uid));
        ensure!(kept.count() == 0, "an agent was not replaced");
        Ok(())
    })?;
    under_traffic(&mut cluster, &mut steps, &pods, "agent out of memory", out_of_memory)?;
    under_traffic(&mut cluster, &mut steps, &pods, "kubelet killed", |cluster| {
        let node = cluster.nodes.first_mut().context("no node")?;
        node.kubelet.as_mut().context("no kubelet")?.restart(Signal::SIGKILL)?;
        ready_again(cluster)
    })?;
    under_traffic(&mut cluster, &mut steps, &pods, "containerd killed", |cluster| {
        let node = cluster.nodes.first_mut().context("no node")?;
        node.containerd.restart(Signal::SIGKILL)?;
        node.wait_for_containerd()?;
        ready_again(cluster)
    })
}

fn under_traffic(
    cluster: &mut Cluster,
    steps: &mut Steps,
    pods: &[PodView],
    title: &str,
    work: impl FnOnce(&mut Cluster) -> Result<()>,
) -> Result<()> {
    let traffic = Traffic::start(cluster, pods)?;
    steps.step(title, || work(cluster))?;
    // What it may break later: the kubelet's and the agent's next look at everything.
    thread::sleep(AFTERWARDS);
    let flow = traffic.stop()?;
    println!("    {title}: {flow}");
    flow.whole().context(title.to_owned())?;
    ensure_untouched(cluster, pods).context(title.to_owned())
}

fn agents(cluster: &Cluster) -> Result<Vec<PodView>> {
    cluster.wait_pods(NAMESPACE, AGENTS, cluster.nodes.len(), Duration::from_mins(1))
}

/// The node answers for its pods again: `kubectl exec` goes through kubelet and runtime.
fn ready_again(cluster: &Cluster) -> Result<()> {
    eventually("exec works on node1", Duration::from_mins(1), || {
        cluster.exec("default", "web-node1", "true").map(|_| true)
    })?;
    cluster.wait_nodes_ready()
}

/// The memory that an agent may have is taken away under it. Its next start has what it asked for.
fn out_of_memory(cluster: &mut Cluster) -> Result<()> {
    let agent = agents(cluster)?.into_iter().find(|agent| agent.node == "node1");
    let agent = agent.context("no agent on node1")?;
    let container = agent.container.clone().context("the agent has no container")?;
    let root = cluster.node("node1")?.control_group("memory").context("no memory cgroup")?;
    let group = directory_of(&root, &container).context("the agent has no memory cgroup")?;
    eventually("the agent is killed for want of memory", Duration::from_secs(40), || {
        // As little as it can be given; refused while more than that cannot be taken back.
        for mebi in [2_u32, 4, 6, 8, 12, 16] {
            if fs::write(group.join("memory.limit_in_bytes"), format!("{mebi}M")).is_ok() {
                break;
            }
        }
        // One more program in the agent's group wants memory, too.
        let words = ["/bin/tartanctl", "status"];
        drop(cluster.exec_words(NAMESPACE, &agent.name, &words));
        let state = &cluster.pod(NAMESPACE, &agent.name)?.object["status"]["containerStatuses"][0];
        Ok(state["lastState"]["terminated"]["reason"] == "OOMKilled"
            || state["state"]["terminated"]["reason"] == "OOMKilled")
    })?;
    cluster.wait_rollout(NAMESPACE, DAEMON_SET)
}

fn directory_of(root: &Path, name: &str) -> Option<PathBuf> {
    for entry in fs::read_dir(root).ok()?.flatten().filter(|entry| entry.path().is_dir()) {
        if entry.file_name().to_string_lossy().contains(name) {
            return Some(entry.path());
        }
        if let Some(found) = directory_of(&entry.path(), name) {
            return Some(found);
        }
    }
    None
}
