//! Many pods of a real node: a hundred at once, and two hundred that come and go.

use std::collections::{BTreeMap, BTreeSet};
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

/// The plugin that comes after the first in both networks' chains.
const NEXT: &str = "portmap";

/// ADD is measured on the node, by wrappers around the plugins: each from its start to its end,
/// with everything that it waits for, and the chain from the first one's start to the last one's
/// end.
fn hundred(scenario: &mut Scenario, cni: Cni, plugin: &str) -> Result<()> {
    let mut steps = Steps::new();
    let options = Options { nodes: 1, dns: false, cni, ..Options::default() };
    let cluster = Cluster::up(scenario.lab(Wire::Framed)?, &options, &mut steps)?;
    let node = cluster.nodes.first().context("no node")?;
    wrap(node, plugin)?;
    wrap(node, NEXT)?;
    cluster.apply(&deployment(PODS))?;
    steps.step(format!("{PODS} pods Ready"), || {
        cluster.wait_pods("default", "app=many", PODS, Duration::from_mins(5))
    })?;
    let adds = Calls::read(node, "ADD")?;
    scenario.note(format!("{cni:?}: ADD {}", adds.summary(plugin)));
    steps.step(format!("{PODS} pods gone"), || {
        cluster.kubectl("delete deployment many")?;
        cluster.wait_no_pods("default", "app=many", Duration::from_secs(200))
    })?;
    // The API server forgets pods without a grace period before the node has taken them down.
    let all_gone = || Ok(Calls::read(node, "DEL")?.of(plugin).len() >= PODS);
    eventually("a DEL for each pod", Duration::from_mins(2), all_gone)?;
    scenario.note(format!("{cni:?}: DEL {}", Calls::read(node, "DEL")?.summary(plugin)));
    if cni == Cni::Tartan {
        wait_no_leftovers(&cluster, "node1")?;
        let count = adds.of(plugin).len();
        ensure!(count == PODS, "{count} calls of ADD for {PODS} pods: some failed");
    }
    Ok(())
}

fn wrap(node: &KubeletNode, plugin: &str) -> Result<()> {
    let path = format!("/opt/cni/bin/{plugin}");
    // The name by which the plugin is called says what it is.
    let wrapped = format!("/opt/cni/wrapped/{plugin}");
    let script = format!(
        "#!/bin/bash\ns=$EPOCHREALTIME\n{wrapped} \"$@\"\nr=$?\n\
         echo \"$CNI_COMMAND {plugin} $CNI_CONTAINERID $s $EPOCHREALTIME\" >>{TIMES}\nexit $r\n"
    );
    node.shell(&format!("mkdir -p /opt/cni/wrapped && mv {path} {wrapped}"))?;
    node.node().write(&path, &script)?;
    node.shell(&format!("chmod 755 {path}")).map(drop)
}

/// One call of a plugin; times in milliseconds.
struct Call {
    plugin: String,
    container: String,
    start: f64,
    end: f64,
}

impl Call {
    fn read(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let (plugin, container) = (words.next()?.to_owned(), words.next()?.to_owned());
        // Some locales have a comma.
        let mut time = || words.next()?.replace(',', ".").parse::<f64>().ok().map(|s| s * 1000.0);
        Some(Self { plugin, container, start: time()?, end: time()? })
    }
}

/// The calls of a verb.
struct Calls(Vec<Call>);

impl Calls {
    fn read(node: &KubeletNode, verb: &str) -> Result<Self> {
        let text = fs::read_to_string(node.node().path(TIMES))?;
        let lines = text.lines().filter_map(|line| line.strip_prefix(verb));
        Ok(Self(lines.filter_map(Call::read).collect()))
    }

    /// How long each call of a plugin took, sorted.
    fn of(&self, plugin: &str) -> Vec<f64> {
        let calls = self.0.iter().filter(|call| call.plugin == plugin);
        sorted(calls.map(|call| call.end - call.start))
    }

    /// How long each container's chain took, sorted.
    fn chains(&self) -> Vec<f64> {
        let mut spans = BTreeMap::<&str, (f64, f64)>::new();
        for call in &self.0 {
            let span = spans.entry(&call.container).or_insert((call.start, call.end));
            *span = (span.0.min(call.start), span.1.max(call.end));
        }
        sorted(spans.into_values().map(|(start, end)| end - start))
    }

    fn summary(&self, plugin: &str) -> String {
        let [own, next] = [plugin, NEXT].map(|name| summary(&self.of(name)));
        format!("{plugin} {own}; {NEXT} {next}; both {}", summary(&self.chains()))
    }
}

fn sorted(times: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut all: Vec<f64> = times.collect();
    all.sort_by(f64::total_cmp);
    all
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
    eventually("pods that are there have their lasting links", Duration::from_secs(30), || {
        let things = things(&cluster)?;
        let any = |word: &str| things.iter().any(|thing| thing.contains(word));
        Ok(any("/links/pods/") && !any("qdisc clsact"))
    })?;
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
    let (mut left, mut lost) = (Vec::new(), Vec::new());
    let outcome = eventually("nothing is left", Duration::from_secs(30), || {
        let after = things(&cluster)?;
        left = after.difference(&before).cloned().collect();
        lost = before.difference(&after).cloned().collect();
        Ok(left.is_empty() && lost.is_empty())
    });
    outcome.with_context(|| format!("left behind: {left:#?}, lost: {lost:#?}"))
}

/// Links, addresses, routes, rules, neighbours, pins, reservations and network namespaces.
fn things(cluster: &Cluster) -> Result<BTreeSet<String>> {
    let script = "ip -o link show; ip -o -4 address show; ip route show table all; ip rule; \
        ip neigh show nud permanent; nft list ruleset; tc qdisc show; \
        find /sys/fs/bpf /run/flannel /var/lib/cni /run/containerd/*/netns";
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
