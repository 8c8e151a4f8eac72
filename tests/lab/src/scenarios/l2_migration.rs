//! flannel's DaemonSet, Tartan's, and flannel's again, node by node, with the commands of
//! `docs/MIGRATION.md` and nothing else, while pods talk.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::l2_traffic::{Flow, Traffic, ensure_untouched};
use crate::control_plane::NAMESPACE;
use crate::kubernetes::{Cluster, Cni, Image, Options, PodView, Steps};
use crate::process::{Place as _, checked, eventually};
use crate::scenario::{Entry, Scenario};
use crate::wire::Wire;

pub(super) static SCENARIOS: &[Entry] =
    &[Entry::new("l2_migration::flannel_to_tartan_and_back_with_kubectl_alone", there_and_back)
        .within(600)
        .with_tools()
        .with_kubelets()
        .long()];

const DOCUMENT: &str = include_str!("../../../../docs/MIGRATION.md");
const TARTAN: &str = include_str!("../../../../deploy/kube-tartan.yml");
/// No node may be without packets for longer.
const GAP: Duration = Duration::from_secs(1);

fn there_and_back(scenario: &mut Scenario) -> Result<()> {
    let mut steps = Steps::new();
    let options = Options {
        cni: Cni::Flannel,
        dns: false,
        images: vec![Image("tartan")],
        ..Options::default()
    };
    let cluster = Cluster::up(scenario.lab(Wire::Framed)?, &options, &mut steps)?;
    let pods = steps.step("first pods Ready", || cluster.toolboxes("web"))?;
    under_traffic(&cluster, &mut steps, &pods, "both DaemonSets, each with its selector", || {
        documented(&cluster, "kubectl label nodes --all network=flannel", &[])?;
        let patch = r#"{"spec":{"template":{"spec":{"nodeSelector":{"network":"flannel"}}}}}"#;
        kubectl_patch(&cluster, patch)?;
        cluster.wait_rollout("kube-flannel", "daemonset/kube-flannel-ds")?;
        cluster.apply(&selected(TARTAN)?)
    })?;
    for node in names(&cluster) {
        let title = format!("{node}: flannel to Tartan");
        under_traffic(&cluster, &mut steps, &pods, &title, || {
            move_node(&cluster, &node, "tartan")?;
            agent_ready(&cluster, NAMESPACE, "app=tartan", &node)?;
            agent_gone(&cluster, "kube-flannel", "app=flannel", &node)
        })?;
    }
    let newer = steps.step("new pods, of Tartan's plugin", || cluster.toolboxes("newer"))?;
    let all: Vec<PodView> = pods.iter().chain(&newer).cloned().collect();
    talk(&cluster, &all)?;
    for node in names(&cluster) {
        let title = format!("{node}: Tartan to flannel");
        under_traffic(&cluster, &mut steps, &all, &title, || {
            move_node(&cluster, &node, "flannel")?;
            agent_ready(&cluster, "kube-flannel", "app=flannel", &node)?;
            agent_gone(&cluster, NAMESPACE, "app=tartan", &node)?;
            clean_up(&cluster, &node)
        })?;
    }
    talk(&cluster, &all)?;
    nothing_of_tartan(&cluster)?;
    let newest = steps.step("new pods, of flannel's plugin", || cluster.toolboxes("newest"))?;
    talk(&cluster, &[all.clone(), newest].concat())?;
    steps.step("pods of Tartan's plugin are released", || {
        cluster.kubectl("delete pods -l app=newer --timeout=60s")?;
        links_are_gone(&cluster)
    })?;
    ensure_untouched(&cluster, &pods)
}

/// Does what a line of the document says; `what` replaces its placeholders.
fn documented(cluster: &Cluster, line: &str, what: &[(&str, &str)]) -> Result<String> {
    ensure!(DOCUMENT.contains(line), "docs/MIGRATION.md does not say `{line}`");
    let mut line = line.strip_prefix("kubectl ").context("not kubectl")?.to_owned();
    for (placeholder, value) in what {
        line = line.replace(placeholder, value);
    }
    cluster.kubectl(&line)
}

fn kubectl_patch(cluster: &Cluster, patch: &str) -> Result<()> {
    let line = "kubectl -n kube-flannel patch daemonset kube-flannel-ds --type merge";
    ensure!(DOCUMENT.contains(line) && DOCUMENT.contains(patch), "docs/MIGRATION.md: {patch}");
    let words = line.split_whitespace().skip(1);
    checked(cluster.kubectl_command()?.args(words).args(["-p", patch])).map(drop)
}

/// The manifest with the two lines that the document adds.
fn selected(manifest: &str) -> Result<String> {
    let added = "      hostNetwork: true\n      nodeSelector:\n        network: tartan\n";
    for line in ["nodeSelector:", "  network: tartan"] {
        ensure!(DOCUMENT.contains(line), "docs/MIGRATION.md does not say `{line}`");
    }
    let text = manifest.replace("      hostNetwork: true\n", added);
    ensure!(text != manifest, "the manifest has no place for the selector");
    Ok(text)
}

fn move_node(cluster: &Cluster, node: &str, network: &str) -> Result<()> {
    let line = format!("kubectl label node NODE network={network} --overwrite");
    documented(cluster, &line, &[("NODE", node)]).map(drop)
}

/// The document's pod, which runs `tartanctl cleanup` on one node.
fn clean_up(cluster: &Cluster, node: &str) -> Result<()> {
    let from = DOCUMENT.find("    apiVersion: v1\n").context("no manifest of the clean-up")?;
    let lines = DOCUMENT.get(from..).unwrap_or_default().lines();
    let block = lines.take_while(|line| line.is_empty() || line.starts_with("    "));
    let block: Vec<_> = block.map(|line| line.get(4..).unwrap_or_default()).collect();
    cluster.apply(&block.join("\n").replace("NODE", node))?;
    let name = format!("tartan-cleanup-{node}");
    eventually("the clean-up has run", Duration::from_mins(1), || {
        let pod = cluster.pod(NAMESPACE, &name)?;
        let phase = pod.object["status"]["phase"].as_str().unwrap_or_default().to_owned();
        ensure!(phase != "Failed", "{}", cluster.kubectl(&format!("-n {NAMESPACE} logs {name}"))?);
        Ok(phase == "Succeeded")
    })?;
    println!("{}", cluster.kubectl(&format!("-n {NAMESPACE} logs {name}"))?);
    cluster.kubectl(&format!("-n {NAMESPACE} delete pod {name}")).map(drop)
}

fn names(cluster: &Cluster) -> Vec<String> {
    cluster.nodes.iter().map(|node| node.name().to_owned()).collect()
}

fn agent_ready(cluster: &Cluster, namespace: &str, label: &str, node: &str) -> Result<()> {
    eventually(&format!("{label} is ready on {node}"), Duration::from_mins(1), || {
        let mut pods = cluster.pods(namespace, label)?.into_iter();
        Ok(pods.any(|pod| pod.node == node && pod.ready && !pod.terminating))
    })
    .with_context(|| cluster.explain(namespace))
}

fn agent_gone(cluster: &Cluster, namespace: &str, label: &str, node: &str) -> Result<()> {
    eventually(&format!("{label} is gone from {node}"), Duration::from_mins(1), || {
        Ok(!cluster.pods(namespace, label)?.iter().any(|pod| pod.node == node))
    })
}

fn under_traffic(
    cluster: &Cluster,
    steps: &mut Steps,
    pods: &[PodView],
    title: &str,
    work: impl FnOnce() -> Result<()>,
) -> Result<Flow> {
    let traffic = Traffic::start(cluster, pods)?;
    steps.step(title, work)?;
    let flow = traffic.stop()?;
    println!("    {title}: {flow}");
    ensure!(flow.longest_gap <= GAP, "{title}: {flow}");
    ensure_untouched(cluster, pods).with_context(|| title.to_owned())?;
    Ok(flow)
}

fn talk(cluster: &Cluster, pods: &[PodView]) -> Result<()> {
    for from in pods {
        let place = cluster.place(from)?;
        for to in pods.iter().filter(|to| to.name != from.name) {
            let address = to.address.with_context(|| format!("{} has no address", to.name))?;
            place
                .run(&format!("ping -n -c 1 -W 2 {address}"))
                .with_context(|| format!("{} to {}", from.name, to.name))?;
        }
    }
    Ok(())
}

fn nothing_of_tartan(cluster: &Cluster) -> Result<()> {
    for node in &cluster.nodes {
        ensure!(!node.succeeds("ls /sys/fs/bpf/tartan")?, "{} keeps pins", node.name());
        let tables = node.run("nft list tables")?;
        ensure!(!tables.contains("tartan"), "{} keeps rules: {tables}", node.name());
    }
    Ok(())
}

/// flannel's plugin has released the pods that Tartan's had made.
fn links_are_gone(cluster: &Cluster) -> Result<()> {
    for node in &cluster.nodes {
        eventually(
            &format!("{} has no host routes", node.name()),
            Duration::from_secs(30),
            || Ok(!node.run("ip -4 route show")?.contains("dev veth")),
        )?;
    }
    Ok(())
}
