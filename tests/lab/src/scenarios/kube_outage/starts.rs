//! Agents and nodes that start while the API server is away for good.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;

use super::{finish_traffic, start_traffic};
use crate::cluster::Servers;
use crate::control_plane::Options;
use crate::kube_cluster::{KubeCluster, KubeMember};
use crate::process::{Place as _, checked, eventually};
use crate::scenario::Scenario;
use crate::traffic;
use crate::wire::Wire;

/// From the start of the agent until the node forwards.
const START: Duration = Duration::from_secs(1);
/// The agent writes its memory this often at most.
const WRITTEN: Duration = Duration::from_secs(10);
pub(super) const MEMORY: &str = "/var/lib/tartan/last-known.json";

pub(super) fn without_api_server(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let mut cluster = KubeCluster::new(&lab, &Options::default(), 2, 1)?;
    let _servers = cluster.pods().map(Servers::start).collect::<Result<Vec<_>>>()?;
    for member in &cluster.members {
        remembers(member, &["node1", "node2"])?;
    }
    cluster.plane.kill(0)?;

    let pods: Vec<_> = cluster.pods().cloned().collect();
    let probes = start_traffic(&pods.iter().collect::<Vec<_>>(), 5.0)?;
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        let member = &mut cluster.members[0];
        member.stop_agent(signal)?;
        let start = Instant::now();
        member.start_agent(&[])?;
        scenario.note(format!("ready {:.0?} after a start in place", start.elapsed()));
        ensure!(start.elapsed() <= START, "it took too long");
    }
    finish_traffic(scenario, probes)?;

    let (here, there) = cluster.members.split_at_mut(1);
    let here = &mut here[0];
    reboot(here)?;
    let pod = here.node.pod("after")?;
    let start = Instant::now();
    here.start_agent(&[])?;
    let ready = start.elapsed();
    pod.cni_add()?;
    let _server = traffic::echo(&pod, None)?;
    let peer = there[0].pods[0].address()?;
    pod.run(&format!("ping -n -c 1 -W 1 {peer}"))?;
    let forwards = start.elapsed();
    scenario.note(format!(
        "after a reboot: ready {ready:.0?}, a new pod's packets back {forwards:.0?}"
    ));
    ensure!(forwards <= START, "a rebooted node forwards too late: {forwards:?}");
    let probes = start_traffic(&[&pod, &there[0].pods[0]], 1.0)?;
    finish_traffic(scenario, probes)
}

/// What is left of a node after its reboot: its disk.
fn reboot(member: &mut KubeMember) -> Result<()> {
    for pod in member.pods.drain(..) {
        pod.cni_del()?;
        pod.remove()?;
    }
    member.stop_agent(Signal::SIGKILL)?;
    // A reboot keeps the disk; `cleanup` takes the memory as well.
    let disk = member.node.read(MEMORY)?;
    checked(member.node.product("tartanctl")?.arg("cleanup"))?;
    member.node.shell("mkdir -p /var/lib/tartan")?;
    member.node.write(MEMORY, &disk)?;
    member.node.shell("rm -rf /run/flannel; rm -rf /sys/fs/bpf/tartan; mkdir /run/flannel")?;
    ensure!(!member.node.succeeds("ip link show dev flannel.1")?, "the overlay device is left");
    Ok(())
}

/// Waits until the node's memory names these nodes.
pub(super) fn remembers(member: &KubeMember, names: &[&str]) -> Result<()> {
    eventually(&format!("{} remembers {names:?}", member.node.name()), WRITTEN, || {
        let text = member.node.read(MEMORY)?;
        Ok(names.iter().all(|name| text.contains(name)))
    })
}
