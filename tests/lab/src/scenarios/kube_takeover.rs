//! Nodes of the real flannel on the real API server change hands one by one, under traffic, and
//! back: only the binaries are swapped.

mod ground;
mod rules;

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;

use self::ground::{Cluster, Traffic};
use self::rules::flannels_rules;
use crate::cluster::{Servers, talk};
use crate::flannel::{chain, chain_add};
use crate::node::Node;
use crate::pod::Pod;
use crate::process::{Place as _, checked};
use crate::scenario::{Entry, Scenario};
use crate::traffic;
use crate::wire::Wire;

pub(super) static SCENARIOS: &[Entry] =
    &[Entry::new("kube_takeover::there_and_back", there_and_back).within(180).with_tools()];

const RESERVATIONS: &str = "/var/lib/cni/networks/cbr0";
const SUBNET_ENV: &str = "/run/flannel/subnet.env";
const DEVICE: &str = "flannel.1";

fn there_and_back(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let mut cluster = Cluster::new(&lab)?;
    scenario.note("three nodes are flannel's, with two pods each on its bridge");
    for number in 0..3 {
        take_over(scenario, &mut cluster, number)?;
    }
    old_pods_are_released(scenario, &mut cluster)?;
    for number in 0..3 {
        give_back(scenario, &mut cluster, number)?;
    }
    our_pods_are_released(scenario, &mut cluster)?;
    for hands in &cluster.nodes {
        nothing_of_ours_is_left(&hands.node)?;
    }
    cluster.all_talk(10_000)
}

/// What a swap must not change.
#[derive(Debug, PartialEq)]
struct Kept {
    subnet_env: String,
    device: String,
    addresses: Vec<String>,
    mac: Option<String>,
}

fn kept(cluster: &Cluster, number: usize) -> Result<Kept> {
    let hands = &cluster.nodes[number];
    let admin = cluster.plane.admin();
    let of_node = cluster.pods.iter().filter(|pod| pod.node().name() == hands.node.name());
    let addresses = of_node.map(|pod| pod.run("ip -o -4 address show dev eth0"));
    Ok(Kept {
        subnet_env: hands.node.read(SUBNET_ENV)?,
        device: hands.node.run(&format!("ip -o link show dev {DEVICE}"))?,
        addresses: addresses.collect::<Result<_>>()?,
        mac: admin.annotation(hands.node.name(), "flannel.alpha.coreos.com/backend-data")?,
    })
}

fn unchanged(what: &str, before: &Kept, after: &Kept) -> Result<()> {
    ensure!(before == after, "{what} changed {before:#?} to {after:#?}");
    Ok(())
}

/// Stops flanneld, puts our binaries in the places of flannel's, starts the same command line.
fn take_over(scenario: &Scenario, cluster: &mut Cluster, number: usize) -> Result<()> {
    let what = format!("node{} taken over", number + 1);
    let before = kept(cluster, number)?;
    let rules = |cluster: &Cluster| flannels_rules(&cluster.nodes[number].node);
    ensure!(!rules(cluster)?.is_empty(), "flannel has no rules on node{}", number + 1);
    let traffic = Traffic::start(&cluster.pods)?;
    thread::sleep(Duration::from_millis(500));
    let hands = &mut cluster.nodes[number];
    hands.stop(Signal::SIGTERM)?;
    hands.install_ours()?;
    hands.start()?;
    hands.wait_ours()?;
    traffic.finish(scenario, &what)?;
    unchanged(&what, &before, &kept(cluster, number)?)?;
    ensure!(rules(cluster)?.is_empty(), "{what}: flannel's rules are left");
    let pod = new_pod(cluster, number, "ours")?;
    ensure!(master(&pod)?.is_none(), "{} is on a bridge", pod.label());
    let pins = "/sys/fs/bpf/tartan/links/pods";
    ensure!(!listed(&pod, pins)?.is_empty(), "no pins of {}", pod.label());
    talks_to_everybody(cluster, &pod)?;
    scenario.note(format!("{what}: a new pod has our veth and talks to every pod of both kinds"));
    Ok(())
}

/// Stops our agent, puts flannel's binaries back, starts flanneld, and cleans up.
fn give_back(scenario: &Scenario, cluster: &mut Cluster, number: usize) -> Result<()> {
    let what = format!("node{} given back", number + 1);
    let before = kept(cluster, number)?;
    let traffic = Traffic::start(&cluster.pods)?;
    thread::sleep(Duration::from_millis(500));
    let hands = &mut cluster.nodes[number];
    hands.stop(Signal::SIGTERM)?;
    hands.install_flannels()?;
    hands.start()?;
    hands.wait_flannels()?;
    let said = checked(hands.node.product("tartanctl")?.arg("cleanup"))?;
    traffic.finish(scenario, &what)?;
    let after = kept(cluster, number)?;
    unchanged(&what, &before, &after).with_context(|| said)?;
    let rules = flannels_rules(&cluster.nodes[number].node)?;
    ensure!(!rules.is_empty(), "{what}: flannel has no rules");
    let pod = new_pod(cluster, number, "theirs")?;
    ensure!(master(&pod)?.as_deref() == Some("cni0"), "{} is not on cni0", pod.label());
    talks_to_everybody(cluster, &pod)?;
    scenario.note(format!("{what}: a new pod is on the bridge and talks to every other"));
    Ok(())
}

fn new_pod(cluster: &mut Cluster, number: usize, name: &str) -> Result<Pod> {
    let pod = cluster.nodes[number].node.pod(name)?;
    chain_add(&pod)?;
    cluster.servers.push(Servers::start(&pod)?);
    cluster.pods.push(pod.clone());
    Ok(pod)
}

fn talks_to_everybody(cluster: &Cluster, pod: &Pod) -> Result<()> {
    for other in cluster.pods.iter().filter(|other| other.label() != pod.label()) {
        talk(pod, other, 10_000)?;
        talk(other, pod, 10_000)?;
    }
    Ok(())
}

/// The bridge that the pod's link on the node is a port of.
fn master(pod: &Pod) -> Result<Option<String>> {
    let shown = pod.node().run(&format!("ip -o link show dev {}", pod.host_link()?))?;
    let mut words = shown.split_whitespace().skip_while(|word| *word != "master");
    Ok(words.nth(1).map(str::to_owned))
}

fn listed(pod: &Pod, directory: &str) -> Result<Vec<String>> {
    let listed = pod.node().shell(&format!("ls -A {directory} 2>/dev/null || true"))?;
    Ok(listed.lines().map(str::to_owned).collect())
}

/// Bridge pods made before the take-over, released while the node is ours.
fn old_pods_are_released(scenario: &Scenario, cluster: &mut Cluster) -> Result<()> {
    release(cluster, "b")?;
    scenario.note("our DEL released a bridge pod of every node");
    Ok(())
}

/// Pods of ours, released while the node is flannel's again.
fn our_pods_are_released(scenario: &Scenario, cluster: &mut Cluster) -> Result<()> {
    release(cluster, "ours")?;
    scenario.note("flannel's DEL released a pod of ours of every node");
    Ok(())
}

fn release(cluster: &mut Cluster, name: &str) -> Result<()> {
    let (leaving, staying): (Vec<_>, Vec<_>) =
        cluster.pods.drain(..).partition(|pod| pod.name() == name);
    cluster.pods = staying;
    ensure!(leaving.len() == 3, "{} pods are called {name}", leaving.len());
    for pod in leaving {
        let (link, address) = (pod.host_link()?, pod.address()?);
        chain(&pod, "del")?;
        let node = pod.node();
        let reservation = format!("{RESERVATIONS}/{address}");
        ensure!(!node.path(Path::new(&reservation)).exists(), "{address} is kept");
        ensure!(!node.succeeds(&format!("ip link show dev {link}"))?, "{link} is still there");
        let routes = node.run("ip route show")?;
        ensure!(!routes.contains(&format!("{address} ")), "routes: {routes}");
    }
    Ok(())
}

/// Pins, maps, the agent's files, programs, routes and neighbours.
fn nothing_of_ours_is_left(node: &Node) -> Result<()> {
    let left = node.shell(
        "ip neigh show 169.254.1.1; ip route show proto 84; ip route show via 169.254.1.1; \
         ls -d /sys/fs/bpf/tartan /run/flannel/tartan.json /var/lib/tartan 2>/dev/null || true",
    )?;
    ensure!(left.trim().is_empty(), "left on {}: {left}", node.name());
    for link in [DEVICE, "eth0"] {
        let hooks = traffic::hooks(node, link)?;
        ensure!(hooks.is_empty(), "programs on {link} of {}: {hooks:?}", node.name());
    }
    ensure!(node.path(SUBNET_ENV).exists(), "subnet.env is flannel's");
    Ok(())
}
