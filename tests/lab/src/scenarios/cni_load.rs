//! Many pods at once on one node: how long each ADD takes, and that nothing is left of them.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use serde_json::{Value, json};

use crate::cluster::{Member, Servers};
use crate::cni::conflist;
use crate::node::{CONFLIST, Node};
use crate::pod::Pod;
use crate::process::{Place as _, eventually};
use crate::scenario::{Entry, Scenario};
use crate::traffic;
use crate::wire::Wire;

pub(super) static SCENARIOS: &[Entry] = &[
    Entry::new("cni_load::a_hundred_pods_at_once", a_hundred_at_once).within(120),
    Entry::new("cni_load::lasting_links_come_without_a_loss", adopted_under_traffic),
    Entry::new("cni_load::a_strangers_filter_keeps_the_qdisc", strangers_filter_stays),
    Entry::new("cni_load::two_hundred_cycles_leave_nothing", two_hundred_cycles).within(180),
];

const PODS: usize = 100;
const SOME: usize = 8;

fn a_hundred_at_once(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let member = Member::new(lab.node()?, 1)?;
    for (programs, plugin) in [("lasting", json!({})), ("provisional", unshaped())] {
        burst(scenario, &member, programs, plugin)?;
    }
    Ok(())
}

/// The plugin's entry in a list that says of each pod whether it will be shaped.
fn unshaped() -> Value {
    json!({ "capabilities": { "bandwidth": true } })
}

fn configure(node: &Node, mut plugin: Value) -> Result<()> {
    plugin["type"] = "tartan-cni".into();
    node.write(CONFLIST, &conflist(&plugin))
}

fn burst(scenario: &Scenario, member: &Member, programs: &str, plugin: Value) -> Result<()> {
    configure(&member.node, plugin)?;
    let before = things(&member.node)?;
    let pods = (0..PODS).map(|n| member.node.pod(&format!("p{n}"))).collect::<Result<Vec<_>>>()?;
    for workers in [1, SOME, PODS] {
        let adds = timed(&pods, workers, |pod| pod.cni_add().map(drop))?;
        let addresses = pods.iter().map(Pod::address).collect::<Result<BTreeSet<_>>>()?;
        ensure!(addresses.len() == PODS, "{} addresses for {PODS} pods", addresses.len());
        for pod in pods.iter().step_by(10) {
            pod.run(&format!("ping -n -c 1 -W 1 {}", member.pods[0].address()?))?;
        }
        let dels = timed(&pods, workers, Pod::cni_del)?;
        scenario.note(format!("{programs}, {workers:3} under way: ADD {adds}; DEL {dels}"));
    }
    for pod in pods {
        pod.remove()?;
    }
    same(&before, &things(&member.node)?)
}

/// The agent replaces the provisional programs while traffic flows.
fn adopted_under_traffic(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let mut one = Member::new(lab.node()?, 0)?;
    let two = Member::new(lab.node()?, 1)?;
    configure(&one.node, unshaped())?;
    let pod = one.add_pod("a")?;
    let link = pod.host_link()?;
    ensure!(qdiscs(&one.node, &link)?.contains("clsact"), "{link} has no provisional programs");
    let _servers = Servers::start(&two.pods[0])?;
    let there = two.pods[0].address()?.into();
    let probe = traffic::udp_probe(&pod, &[there], 1000, 8.0)?;
    eventually("the agent attaches the lasting links", Duration::from_secs(8), || {
        Ok(!qdiscs(&one.node, &link)?.contains("clsact"))
    })?;
    let reports = probe.finish()?;
    scenario.note(format!("UDP, 1,000 a second, across the change: {reports:?}"));
    ensure!(reports.iter().all(|report| report.lost == 0 && report.sent > 0), "{reports:?}");
    let pins = one.node.run(&format!("ls -x /sys/fs/bpf/tartan/links/pods/{link}"))?;
    let pins: Vec<_> = pins.split_whitespace().collect();
    ensure!(pins == ["pod_egress", "pod_ingress"], "pins of {link}: {pins:?}");
    pod.cni_del()
}

/// A pod keeps its programs, and a stranger's filter its qdisc.
fn strangers_filter_stays(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let mut one = Member::new(lab.node()?, 0)?;
    configure(&one.node, unshaped())?;
    let pod = one.add_pod("a")?;
    let link = pod.host_link()?;
    one.node.shell(&format!(
        "tc filter add dev {link} ingress prio 7 protocol ip bpf da bytecode '1,6 0 0 4294967295,'"
    ))?;
    eventually("the agent attaches the lasting links", Duration::from_secs(8), || {
        one.node.succeeds(&format!("ls /sys/fs/bpf/tartan/links/pods/{link}/pod_ingress"))
    })?;
    eventually("ours are gone", Duration::from_secs(2), || {
        Ok(!one.node.run(&format!("tc filter show dev {link} ingress"))?.contains("pod_egress"))
    })?;
    let left = one.node.run(&format!("tc filter show dev {link} ingress"))?;
    ensure!(left.contains("pref 7"), "the stranger's filter is gone: {left}");
    pod.cni_del()
}

fn qdiscs(node: &Node, link: &str) -> Result<String> {
    node.run(&format!("tc qdisc show dev {link}"))
}

fn two_hundred_cycles(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let member = Member::new(lab.node()?, 1)?;
    configure(&member.node, unshaped())?;
    let before = things(&member.node)?;
    let names: Vec<String> = (0..2 * PODS).map(|number| format!("cycle{number}")).collect();
    let cycles = timed(&names, SOME, |name| {
        let pod = member.node.pod(name)?;
        let added = pod.cni_add()?;
        pod.cni_check(&added)?;
        pod.cni_del()?;
        pod.remove()
    })?;
    scenario.note(format!("cycles: {cycles}"));
    same(&before, &things(&member.node)?)
}

/// How long the calls took, each from its start to its end.
struct Durations(Vec<Duration>);

impl Durations {
    /// The smallest that so many percent do not exceed.
    fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100);
        self.0.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }
}

impl std::fmt::Display for Durations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [p50, p99, max] =
            [50, 99, 100].map(|percent| self.percentile(percent).as_secs_f64() * 1000.0);
        write!(f, "p50 {p50:.1} ms, p99 {p99:.1} ms, max {max:.1} ms")
    }
}

/// Works on all things, `workers` of them at a time.
fn timed<T: Sync>(
    things: &[T],
    workers: usize,
    work: impl Fn(&T) -> Result<()> + Sync,
) -> Result<Durations> {
    let queue = Mutex::new(things.iter().collect::<VecDeque<_>>());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let worker = || -> Result<Vec<Duration>> {
        let mut durations = Vec::new();
        while let Some(thing) = next() {
            let start = Instant::now();
            work(thing)?;
            durations.push(start.elapsed());
        }
        Ok(durations)
    };
    let mut all = thread::scope(|scope| -> Result<Vec<Duration>> {
        let running: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        let ended = running.into_iter().map(|one| one.join().map_err(|_| anyhow!("a panic"))?);
        Ok(ended.collect::<Result<Vec<_>>>()?.concat())
    })?;
    all.sort_unstable();
    Ok(Durations(all))
}

/// What a pod adds to its node: links, addresses, routes, rules, neighbours, pins, reservations,
/// map entries.
fn things(node: &Node) -> Result<BTreeSet<String>> {
    let script = "ip -o link show; ip -o -4 address show; ip route show table all; ip rule; \
        ip neigh show nud permanent; find /sys/fs/bpf /run/netns /run/flannel /var/lib/cni; \
        nft list ruleset; iptables-save; \
        bpftool map show -j | tr '{' '\\n' | grep -c id; bpftool link show -j | tr '{' '\\n' | grep -c id";
    let listed = node.shell(script)?;
    // The last address given out is remembered, and the kernel gives every link its IPv6
    // addresses some time later: no leftovers. Nor are the times that iptables prints.
    let passing = ["last_reserved", "fe80::", "ff00::", "# "];
    let lines = listed.lines().filter(|line| !passing.iter().any(|word| line.contains(word)));
    let entries = node.pod_rows()?.into_iter().map(|pod| format!("PODS: {pod}"));
    Ok(lines.map(str::to_owned).chain(entries).collect())
}

fn same(before: &BTreeSet<String>, after: &BTreeSet<String>) -> Result<()> {
    let differences: Vec<_> = after.symmetric_difference(before).collect();
    ensure!(differences.is_empty(), "left behind or lost: {differences:#?}");
    Ok(())
}
