//! A real cluster with Tartan installed as a user installs it: it comes up, everybody talks, it
//! survives what machines do, and leaves nothing.

use std::fs;
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::control_plane::NAMESPACE;
use crate::counters::Counts;
use crate::kubernetes::{Cluster, Cni, Image, Options, PodView, Steps};
use crate::leftovers::Inventory;
use crate::paths;
use crate::process::{checked, eventually};
use crate::sandbox::{myself, reap_all};
use crate::scenario::{Entry, Scenario};
use crate::wire::Wire;

const VICTIM: &str = "l2_cluster::victim";

pub(super) static SCENARIOS: &[Entry] = &[
    l2("l2_cluster::three_nodes_are_ready_and_talk", three_nodes),
    l2("l2_cluster::daemons_restart_and_machines_reboot", accidents),
    l2("l2_cluster::a_killed_cluster_leaves_nothing", |s| leaves_nothing(s, Signal::SIGKILL)),
    l2("l2_cluster::an_interrupted_cluster_leaves_nothing", |s| leaves_nothing(s, Signal::SIGINT)),
    // Not a test: what the two above start and kill.
    l2(VICTIM, victim),
];

const fn l2(name: &'static str, run: fn(&mut Scenario) -> Result<()>) -> Entry {
    Entry::new(name, run).within(400).with_tools().with_kubelets().long()
}

const WEB_SERVICE: &str = "apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  selector:
    app: web
  ports:
    - port: 80
      targetPort: 8080
";

fn three_nodes(scenario: &mut Scenario) -> Result<()> {
    let mut steps = Steps::new();
    let mut cluster = Cluster::up(
        scenario.lab(Wire::Framed)?,
        &Options { cni: Cni::None, ..Options::default() },
        &mut steps,
    )?;
    cluster.ensure_none_ready()?;
    cluster.import(Image("tartan"))?;
    cluster.install_cni(Cni::Tartan, &mut steps)?;
    let pods = steps.step("first pods Ready", || cluster.toolboxes("web"))?;
    let before = fast_packets(&cluster)?;
    steps.step("all ordered pairs talk", || all_pairs(&cluster, &pods))?;
    steps.step("a Service by address and by name", || services(&cluster, &pods))?;
    steps.step("tartanctl says healthy", || healthy(&cluster))?;
    let fast = fast_packets(&cluster)?.saturating_sub(before);
    scenario.note(format!("{fast} packets took the fast path"));
    ensure!(fast > 0, "no packet took the fast path");
    Ok(())
}

fn all_pairs(cluster: &Cluster, pods: &[PodView]) -> Result<()> {
    for from in pods {
        for to in pods.iter().filter(|to| to.name != from.name) {
            let address = to.address.with_context(|| format!("{} has no address", to.name))?;
            let said = fetch(cluster, from, &address.to_string(), 8080)?;
            ensure!(said == to.name, "{} asked {}: {said}", from.name, to.name);
            cluster.exec("default", &from.name, &format!("ping -c 1 -W 2 {address}"))?;
        }
    }
    Ok(())
}

fn fetch(cluster: &Cluster, from: &PodView, host: &str, port: u16) -> Result<String> {
    let script = format!("timeout 5 wget -qO- http://{host}:{port}/");
    Ok(cluster.exec("default", &from.name, &script)?.trim().to_owned())
}

/// Every pod reaches the Service both ways; the answers come from its own pods.
fn services(cluster: &Cluster, pods: &[PodView]) -> Result<()> {
    cluster.apply(WEB_SERVICE)?;
    let service = cluster.admin().get("/api/v1/namespaces/default/services/web")?;
    let address: IpAddr = service["spec"]["clusterIP"].as_str().context("no address")?.parse()?;
    for from in pods {
        for host in [address.to_string(), "web".to_owned(), "web.default.svc.cluster.local".into()]
        {
            eventually(&format!("{} reaches {host}", from.name), Duration::from_secs(20), || {
                let said = fetch(cluster, from, &host, 80)?;
                Ok(pods.iter().any(|pod| pod.name == said))
            })?;
        }
    }
    Ok(())
}

/// The agents' pods, asked with the tool that is in their image.
fn agents(cluster: &Cluster) -> Result<Vec<PodView>> {
    cluster.wait_pods(NAMESPACE, "app=tartan", cluster.nodes.len(), Duration::from_mins(1))
}

fn healthy(cluster: &Cluster) -> Result<()> {
    for agent in agents(cluster)? {
        let said = cluster.exec_words(NAMESPACE, &agent.name, &["/bin/tartanctl", "status"])?;
        println!("{}: {}", agent.node, said.lines().next().unwrap_or_default());
    }
    Ok(())
}

/// Packets that left or entered any node by the fast path.
fn fast_packets(cluster: &Cluster) -> Result<u64> {
    let mut sum = 0;
    for agent in agents(cluster)? {
        let words = ["/bin/tartanctl", "paths", "-o", "json"];
        let said = cluster.exec_words(NAMESPACE, &agent.name, &words)?;
        sum += Counts::parse(&said, "paths", "name")?.get("pod-remote-fast");
    }
    Ok(sum)
}

fn accidents(scenario: &mut Scenario) -> Result<()> {
    let mut steps = Steps::new();
    let mut cluster = Cluster::up(scenario.lab(Wire::Framed)?, &Options::default(), &mut steps)?;
    let pods = steps.step("first pods Ready", || cluster.toolboxes("web"))?;
    steps.step("containerd, kubelet and kube-proxy killed and restarted", || {
        let node = cluster.nodes.first_mut().context("no node")?;
        node.containerd.restart(Signal::SIGKILL)?;
        node.wait_for_containerd()?;
        for daemon in [&mut node.kubelet, &mut node.kube_proxy].into_iter().flatten() {
            daemon.restart(Signal::SIGKILL)?;
        }
        Ok(())
    })?;
    steps.step("all ordered pairs talk", || {
        eventually("exec works again", Duration::from_secs(30), || {
            all_pairs(&cluster, &pods).map(|()| true)
        })
    })?;
    ensure!(same_pods(&pods, &cluster.pods("default", "app=web")?), "a pod was restarted");
    steps.step("node2 reboots and is Ready", || reboot(&mut cluster, 1))?;
    let on_it = pods.iter().find(|pod| pod.node == "node2").context("no pod on node2")?;
    steps.step("its pod is Ready again", || cluster.wait_restarted(on_it))?;
    let pods = cluster.pods("default", "app=web")?;
    steps.step("all ordered pairs talk", || all_pairs(&cluster, &pods))?;
    steps.step("node3 is removed, node4 joins and is Ready", || {
        cluster.kubectl("delete pod web-node3 --wait=false")?;
        cluster.remove_node("node3")?;
        cluster.add_node()?;
        cluster.wait_nodes_ready()
    })?;
    let pods = steps.step("pods on every node", || cluster.toolboxes("web"))?;
    steps.step("all ordered pairs talk", || all_pairs(&cluster, &pods))
}

/// The boot id tells a kubelet that the machine was down; what is in /run must be gone.
fn reboot(cluster: &mut Cluster, index: usize) -> Result<()> {
    let node = cluster.nodes.get(index).context("no such node")?.node().clone();
    fs::write(node.path("/run/marker"), "")?;
    fs::write(node.path("/var/lib/marker"), "")?;
    drop(node);
    cluster.reboot(index)?;
    let node = cluster.nodes.get(index).context("no such node")?.node();
    ensure!(!node.path("/run/marker").exists(), "/run outlasted the reboot");
    ensure!(node.path("/var/lib/marker").exists(), "/var/lib did not outlast the reboot");
    cluster.wait_booted(node.name())
}

fn same_pods(before: &[PodView], now: &[PodView]) -> bool {
    let key = |pods: &[PodView]| {
        let mut all: Vec<_> = pods.iter().map(|pod| (pod.uid.clone(), pod.restarts)).collect();
        all.sort();
        all
    };
    key(before) == key(now)
}

/// A lab inside the lab, so that nothing else comes and goes meanwhile.
fn leaves_nothing(scenario: &mut Scenario, signal: Signal) -> Result<()> {
    let before = Inventory::take()?;
    let mut command = myself();
    command.args(["test", "--all", VICTIM]);
    command.env("TARTAN_TOOLS", paths::TOOLS).env("TARTAN_IMAGES", paths::IMAGES);
    let outer = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    eventually("the victim has agents on all its nodes", Duration::from_mins(2), || {
        Ok(checked(Command::new("ps").args(["-eo", "args"]))?.matches("/bin/tartand").count() >= 3)
    })?;
    ensure!(Inventory::take()? != before, "the inventory does not see a running cluster");
    kill(Pid::from_raw(i32::try_from(outer.id())?), signal)?;
    let output = outer.wait_with_output()?;
    reap_all()?;
    scenario.note(String::from_utf8_lossy(&output.stdout));
    ensure!(!output.status.success(), "the victim passed");
    let left = before.left_since()?;
    ensure!(left.is_empty(), "left: {left:#?}");
    Ok(())
}

fn victim(scenario: &mut Scenario) -> Result<()> {
    let options = Options { dns: false, ..Options::default() };
    let cluster = Cluster::up(scenario.lab(Wire::Framed)?, &options, &mut Steps::new())?;
    cluster.toolboxes("web")?;
    thread::sleep(Duration::from_secs(100));
    bail!("nobody killed the victim")
}
