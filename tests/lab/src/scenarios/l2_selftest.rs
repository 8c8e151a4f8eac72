//! `tartanctl test` against a real cluster: it passes where all is well, names what is broken when
//! something is, and leaves nothing, however it ends.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::control_plane::User;
use crate::kube_proxy::ProxyMode;
use crate::kubernetes::{Cluster, Cni, Image, Options, PRODUCT, Steps};
use crate::paths::{LAB, binary};
use crate::process::{Place as _, captured, eventually};
use crate::scenario::{Entry, Scenario};
use crate::wire::{Outside, Wire};

pub(super) static SCENARIOS: &[Entry] = &[
    l2("l2_selftest::passes_on_a_healthy_cluster_in_both_proxy_modes", healthy),
    l2("l2_selftest::names_what_is_broken", broken),
    l2("l2_selftest::leaves_nothing_however_it_ends", ends),
    l2("l2_selftest::works_on_flannel_too", flannel),
];

const fn l2(name: &'static str, run: fn(&mut Scenario) -> Result<()>) -> Entry {
    Entry::new(name, run).within(400).with_tools().with_kubelets().long()
}

/// What breaks on the wire, and what the test has to say of it.
struct Fault {
    /// Ports of the bridge.
    ports: &'static [&'static str],
    /// What is dropped of that which arrives there.
    rule: &'static str,
    failed: &'static [&'static str],
    sentence: &'static str,
}

const FAULTS: [Fault; 2] = [
    // Datagrams inside of the tunnel, one way.
    Fault {
        ports: &["up-node2"],
        rule: "ip daddr 172.30.0.13 udp dport 8472 @th,312,8 17 drop",
        failed: &["pod-to-pod-udp", "mtu"],
        sentence: "it fails from node2 to node3 only",
    },
    // Large packets, without a word to the sender.
    Fault {
        ports: &["up-node1", "up-node2"],
        rule: "ip daddr 172.30.0.13 ip length > 1400 drop",
        failed: &["mtu", "long-transfer"],
        sentence: "all of it fails towards node3",
    },
];

fn healthy(scenario: &mut Scenario) -> Result<()> {
    let mut cluster = up(scenario, &Options::default())?;
    for mode in ProxyMode::ALL {
        cluster.switch_proxy(mode)?;
        let junit = format!("{LAB}/selftest.xml");
        let ended = run(&cluster, &["-o", "json", "--junit", &junit])?;
        scenario.note(format!("{}:\n{}", mode.name(), ended.progress));
        ensure!(ended.code == 0, "it ended with {}", ended.code);
        let report = ended.report()?;
        ensure!(ids(&report, "failed").is_empty());
        ensure!(ids(&report, "skipped") == ["network-policy"], "{:?}", ids(&report, "skipped"));
        ensure!(ended.progress.contains("no policy engine enforces"));
        let cases = std::fs::read_to_string(&junit)?.matches("<testcase").count();
        ensure!(cases == ids(&report, "passed").len() + 1, "{cases} cases in the JUnit file");
        scenario.note(format!("{}: {} s", mode.name(), report["seconds"]));
        no_namespace(&cluster)?;
    }
    Ok(())
}

fn broken(scenario: &mut Scenario) -> Result<()> {
    let cluster = up(scenario, &Options::default())?;
    let only = "pod-to-pod-tcp,pod-to-pod-udp,mtu,long-transfer";
    for fault in FAULTS {
        harm(&fault)?;
        let text = run(&cluster, &["--include", only])?;
        scenario.note(format!("{}:\n{}", fault.rule, text.results));
        ensure!(text.code == 1, "it ended with {}", text.code);
        ensure!(text.results.contains(fault.sentence), "it does not say {}", fault.sentence);
        ensure!(text.results.contains("Tartan dropped nothing meanwhile"));
        let report = run(&cluster, &["-o", "json", "--include", only])?.report()?;
        ensure!(ids(&report, "failed") == fault.failed, "failed: {:?}", ids(&report, "failed"));
        let to = |finding: &Value| finding["to_node"] == "node3";
        ensure!(findings(&report).iter().all(to), "findings: {:?}", findings(&report));
        Outside.run("nft delete table netdev harm")?;
        no_namespace(&cluster)?;
    }
    let healed = run(&cluster, &["--include", only])?;
    ensure!(healed.code == 0, "{}{}", healed.progress, healed.results);
    Ok(())
}

fn harm(fault: &Fault) -> Result<()> {
    Outside.run("nft add table netdev harm")?;
    for port in fault.ports {
        let chain = port.replace('-', "_");
        let hook = format!("type filter hook ingress device {port} priority 0;");
        Outside.shell(&format!(
            "nft 'add chain netdev harm {chain} {{ {hook} }}'
             nft 'add rule netdev harm {chain} {}'",
            fault.rule
        ))?;
    }
    Ok(())
}

fn ends(scenario: &mut Scenario) -> Result<()> {
    let cluster = up(scenario, &Options { dns: false, ..Options::default() })?;
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let child = under_way(&cluster)?;
        kill(pid(&child)?, signal)?;
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        scenario.note(format!("{signal}:\n{said}"));
        ensure!(output.status.code() == Some(2), "{signal}: {}", output.status);
        ensure!(said.contains("removed namespace") && said.contains("interrupted"));
        no_namespace(&cluster)?;
    }
    let mut child = under_way(&cluster)?;
    child.kill()?;
    child.wait()?;
    let left = namespaces(&cluster)?;
    ensure!(left.len() == 1, "after SIGKILL: {left:?}");
    let next = run(&cluster, &["--include", "pods-ready"])?;
    ensure!(next.code == 0 && next.results.contains(&format!("namespace {} is of", left[0])));
    let cleaned = run(&cluster, &["--cleanup"])?;
    scenario.note(&cleaned.results);
    ensure!(cleaned.code == 0);
    no_namespace(&cluster)?;
    no_rights(&cluster)
}

/// A kubelet's user may list Nodes and make nothing.
fn no_rights(cluster: &Cluster) -> Result<()> {
    let config = cluster.plane.kubeconfig(&User::kubelet("node1"))?;
    let output = captured(command(&config)?.arg("test"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(2), "{}", output.status);
    ensure!(said.contains("forbidden") && said.contains("SELFTEST.md"), "{said}");
    no_namespace(cluster)
}

/// A test whose pods run.
fn under_way(cluster: &Cluster) -> Result<Child> {
    let mut command = command(&cluster.plane.kubeconfig(&User::admin())?)?;
    command.arg("test").stdin(Stdio::null()).stdout(Stdio::piped());
    let child = command.spawn().context("cannot start tartanctl")?;
    eventually("a probe is Ready", Duration::from_mins(1), || {
        let pods = cluster.admin().list("/api/v1/pods?labelSelector=tartan-test/role")?;
        let ready = |pod: &Value| pod["status"]["containerStatuses"][0]["ready"] == true;
        Ok(pods.iter().any(ready))
    })?;
    Ok(child)
}

fn pid(child: &Child) -> Result<Pid> {
    Ok(Pid::from_raw(i32::try_from(child.id())?))
}

fn flannel(scenario: &mut Scenario) -> Result<()> {
    let options =
        Options { cni: Cni::Flannel, images: vec![Image("tartan")], ..Options::default() };
    let cluster = up(scenario, &options)?;
    let without = run(&cluster, &[])?;
    ensure!(without.code == 2 && without.progress.contains("--image"), "{}", without.progress);
    let ended = run(&cluster, &["-o", "json", "--image", PRODUCT])?;
    scenario.note(&ended.progress);
    let report = ended.report()?;
    ensure!(ended.code == 0, "failed: {:?}", ids(&report, "failed"));
    ensure!(ids(&report, "skipped") == ["network-policy", "tartan-agents"]);
    no_namespace(&cluster)
}

fn up(scenario: &mut Scenario, options: &Options) -> Result<Cluster> {
    Cluster::up(scenario.lab(Wire::Framed)?, options, &mut Steps::new())
}

/// How a test ended, and what it wrote.
struct Ended {
    code: i32,
    results: String,
    progress: String,
}

impl Ended {
    fn report(&self) -> Result<Value> {
        serde_json::from_str(&self.results).with_context(|| self.progress.clone())
    }
}

fn run(cluster: &Cluster, words: &[&str]) -> Result<Ended> {
    let config = cluster.plane.kubeconfig(&User::admin())?;
    let output = captured(command(&config)?.arg("test").args(words))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Ended {
        code: output.status.code().context("it was killed")?,
        results: text(&output.stdout),
        progress: text(&output.stderr),
    })
}

fn command(kubeconfig: &str) -> Result<Command> {
    let mut command = Outside.command(&binary("tartanctl")?.to_string_lossy());
    command.env("KUBECONFIG", kubeconfig);
    Ok(command)
}

/// The scenarios with this outcome.
fn ids(report: &Value, outcome: &str) -> Vec<String> {
    let scenarios = report["scenarios"].as_array().into_iter().flatten();
    let chosen = scenarios.filter(|one| one["outcome"] == outcome);
    chosen.filter_map(|one| Some(one["id"].as_str()?.to_owned())).collect()
}

fn findings(report: &Value) -> Vec<Value> {
    let scenarios = report["scenarios"].as_array().into_iter().flatten();
    let of = |one: &Value| one["failure"]["findings"].as_array().cloned().unwrap_or_default();
    scenarios.flat_map(of).collect()
}

fn namespaces(cluster: &Cluster) -> Result<Vec<String>> {
    let objects = cluster.admin().list("/api/v1/namespaces")?;
    let names = objects.iter().filter_map(|one| one["metadata"]["name"].as_str());
    Ok(names.filter(|name| name.starts_with("tartan-test")).map(str::to_owned).collect())
}

fn no_namespace(cluster: &Cluster) -> Result<()> {
    let left = namespaces(cluster)?;
    ensure!(left.is_empty(), "left: {left:?}");
    Ok(())
}
