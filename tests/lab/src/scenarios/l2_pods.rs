//! Many pods of a real node: a hundred at once, and two hundred that come and go.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::l2_traffic::wait_no_leftovers;
use crate::kubernetes::{Cluster, Cni, KubeletNode, Options, Steps, TOOLBOX};
use crate::process::{Place as _, eventually};
use crate::scenario::{Entry, Scenario};
use crate::wire::Wire;

pub(super) static SCENARIOS: &[Entry] = &[
    l2("l2_pods::a_hundred_at_once", |scenario| hundred(scenario, Cni::Tartan, "tartan-cni")),
    l2("l2_pods::a_hundred_at_once_with_flannel", |s| hundred(s, Cni::Flannel, "flannel")),
    l2("l2_pods::two_hundred_cycles_leave_nothing", cycles),
];

const fn l2(name: &'static str, run: fn(&mut Scenario) -> Result<()>) -> Entry {
    Entry::new(name, run).within(600).with_tools().with_kubelets().long()
}

const PODS: usize = 100;
/// Pods that come and go together.
const BATCH: usize = 40;
/// Where the wrapper notes each call.
const TIMES: &str = "/var/log/cni-times";

/// ADD is measured on the node, by a wrapper around the plugin: from its start to its end, with
/// everything that it waits for.
fn hundred(scenario: &mut Scenario, cni: Cni, plugin: &str) -> Result<()> {
    let mut steps = Steps::new();
    let options = Options { nodes: 1, dns: false, cni, ..Options::default() };
    let cluster = Cluster::up(scenario.lab(Wire::Framed)?, &options, &mut steps)?;
    let node = cluster.nodes.first().context("no node")?;
    wrap(node, plugin)?;
    cluster.apply(&deployment(PODS))?;
    steps.step(format!("{PODS} pods Ready"), || {
        cluster.wait_pods("default", "app=many", PODS, Duration::from_mins(5))
    })?;
    let adds = times(node, "ADD")?;
    scenario.note(format!("{cni:?}: {} calls of ADD, {}", adds.len(), summary(&adds)));
    steps.step(format!("{PODS} pods gone"), || {
        cluster.kubectl("delete deployment many")?;
        cluster.wait_no_pods("default", "app=many", Duration::from_secs(200))
    })?;
    scenario.note(format!("{cni:?}: DEL {}", summary(&times(node, "DEL")?)));
    if cni == Cni::Tartan {
        wait_no_leftovers(&cluster, "node1")?;
        ensure!(adds.len() == PODS, "{} calls of ADD for {PODS} pods: some failed", adds.len());
    }
    Ok(())
}

fn wrap(node: &KubeletNode, plugin: &str) -> Result<()> {
    let script = format!(
        "#!/bin/bash\ns=$EPOCHREALTIME\n/opt/cni/bin/.wrapped \"$@\"\nr=$?\n\
         echo \"$CNI_COMMAND $s $EPOCHREALTIME\" >>{TIMES}\nexit $r\n"
    );
    let path = format!("/opt/cni/bin/{plugin}");
    // The name by which the plugin is called says what it is.
    let wrapped = format!("/opt/cni/wrapped/{plugin}");
    node.shell(&format!("mkdir -p /opt/cni/wrapped && mv {path} {wrapped}"))?;
    node.node().write(&path, &script.replace("/opt/cni/bin/.wrapped", &wrapped))?;
    node.shell(&format!("chmod 755 {path}")).map(drop)
}

/// In milliseconds, sorted.
fn times(node: &KubeletNode, verb: &str) -> Result<Vec<f64>> {
    let text = fs::read_to_string(node.node().path(TIMES))?;
    let lines = text.lines().filter_map(|line| line.strip_prefix(verb));
    let took = |line: &str| {
        let mut words = line.split_whitespace().map(|word| word.replace(',', ".").parse::<f64>());
        let start = words.next()?.ok()?;
        Some((words.next()?.ok()? - start) * 1000.0)
    };
    let mut all: Vec<f64> = lines.filter_map(took).collect();
    all.sort_by(f64::total_cmp);
    Ok(all)
}

fn summary(sorted: &[f64]) -> String {
    let at = |percent: usize| {
        let rank = (sorted.len() * percent).div_ceil(100);
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    };
    format!("p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms", at(50), at(99), at(100))
}

fn cycles(scenario: &mut Scenario) -> Result<()> {
    let mut steps = Steps::new();
    let options = Options { nodes: 1, dns: false, ..Options::default() };
    let cluster = Cluster::up(scenario.lab(Wire::Framed)?, &options, &mut steps)?;
    // The first pod switches settings and makes directories that stay.
    cluster.toolboxes("web")?;
    let before = things(&cluster)?;
    cluster.apply(&deployment(0))?;
    for round in 1..=2 * PODS / BATCH {
        steps.step(format!("{} pods came and went", round * BATCH), || {
            cluster.kubectl(&format!("scale deployment many --replicas={BATCH}"))?;
            cluster.wait_pods("default", "app=many", BATCH, Duration::from_mins(2))?;
            cluster.kubectl("scale deployment many --replicas=0")?;
            cluster.wait_no_pods("default", "app=many", Duration::from_mins(2))
        })?;
    }
    wait_no_leftovers(&cluster, "node1")?;
    let mut left = Vec::new();
    let outcome = eventually("nothing is left", Duration::from_secs(30), || {
        left = things(&cluster)?.symmetric_difference(&before).cloned().collect();
        Ok(left.is_empty())
    });
    outcome.with_context(|| format!("left behind or lost: {left:#?}"))
}

/// Links, addresses, routes, rules, neighbours, pins, reservations and network namespaces.
fn things(cluster: &Cluster) -> Result<BTreeSet<String>> {
    let script = "ip -o link show; ip -o -4 address show; ip route show table all; ip rule; \
        ip neigh show nud permanent; find /sys/fs/bpf /run/netns /run/flannel /var/lib/cni; \
        nft list ruleset; tc qdisc show";
    let listed = cluster.nodes.first().context("no node")?.shell(script)?;
    // The last address given out is remembered; the kernel gives links IPv6 addresses and
    // carriers in its own time; counters count.
    let passing = ["last_reserved", "fe80::", "ff00::", "provisional"];
    let lines = listed.lines().filter(|line| !passing.iter().any(|word| line.contains(word)));
    let still = |line: &str| {
        line.split_whitespace()
            .scan(false, |counts, word| {
                let is_count = *counts;
                *counts = matches!(word, "packets" | "bytes");
                Some(if is_count { "n" } else { word })
            })
            .collect::<Vec<_>>()
            .join(" ")
    };
    Ok(lines.map(still).collect())
}

fn deployment(replicas: usize) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata:
  name: many
spec:
  replicas: {replicas}
  selector:
    matchLabels:
      app: many
  template:
    metadata:
      labels:
        app: many
    spec:
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 0
      containers:
        - name: toolbox
          image: {TOOLBOX}
          imagePullPolicy: Never
          command: [sleep, \"100000\"]
"
    )
}
