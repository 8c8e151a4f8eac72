//! Two Node objects with one podCIDR: the older claim keeps it, everybody decides alike, and an
//! Event says so.

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;

use super::SEEN;
use crate::api::NodeSpec;
use crate::cluster::{Servers, talk};
use crate::control_plane::{ControlPlane, Options};
use crate::kernel_tables::PeerRows;
use crate::kube_cluster::{KubeMember, PREFIX, wait_event};
use crate::lab::Lab;
use crate::process::eventually;
use crate::scenario::Scenario;
use crate::wire::Wire;

const RANGES: [&str; 3] = ["10.244.1.0/24", "10.244.2.0/24", "10.244.3.0/24"];

fn member(plane: &ControlPlane, lab: &Lab, range: &str) -> Result<KubeMember> {
    let node = lab.node()?;
    let spec = NodeSpec { pod_cidrs: vec![range.parse()?], ..NodeSpec::default() };
    plane.admin().create_node(node.name(), &spec)?;
    let mut member = KubeMember::registered(plane, node)?;
    member.start_agent(&[])?;
    Ok(member)
}

/// A Node that says all that flannel's nodes say, and claims what is another's.
fn claimant(range: &str, number: u8) -> Result<NodeSpec> {
    let entries = [
        ("kube-subnet-manager", "true".to_owned()),
        ("backend-type", "vxlan".to_owned()),
        ("backend-data", format!(r#"{{"VNI":1,"VtepMAC":"02:00:00:00:00:{number:02}"}}"#)),
        ("public-ip", format!("172.30.0.{number}")),
    ];
    let annotations = entries.map(|(key, value)| (format!("{PREFIX}{key}"), value)).into();
    Ok(NodeSpec { annotations, pod_cidrs: vec![range.parse()?], ..NodeSpec::default() })
}

pub(super) fn run(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let plane = ControlPlane::start(&lab, &Options::without_controllers())?;
    let mut members = Vec::new();
    for range in RANGES {
        members.push(member(&plane, &lab, range)?);
    }
    let mut pods = Vec::new();
    for member in &mut members {
        pods.push(member.add_pod("a")?);
    }
    let _servers = pods.iter().map(Servers::start).collect::<Result<Vec<_>>>()?;
    let tables = |members: &[KubeMember]| -> Result<Vec<PeerRows>> {
        members.iter().map(|member| member.node.peer_rows()).collect()
    };
    eventually("everybody has two peers", SEEN, || {
        Ok(tables(&members)?.iter().all(|rows| rows.len() == 2))
    })?;
    // A creation time of Kubernetes counts seconds: these come later than all of ours.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let before = tables(&members)?;
    // Its name sorts before ours: a rule by name alone would let it win. The second one claims
    // what is wider than a node's range.
    plane.admin().create_node("aardvark", &claimant(RANGES[1], 90)?)?;
    plane.admin().create_node("badger", &claimant("10.244.0.0/20", 91)?)?;
    for name in ["node1", "node3"] {
        let said = wait_event(plane.admin(), name, "LeaseRefused")?;
        scenario.note(format!("{name}: {said}"));
    }
    for member in &members {
        eventually(&format!("{} refuses both", member.node.name()), SEEN, || {
            let refused = member.state()?["refused"].to_string();
            Ok(refused.contains("aardvark") && refused.contains("badger"))
        })?;
    }
    ensure!(before == tables(&members)?, "the tables changed: {:?}", tables(&members)?);
    // Who starts later, with all claims before its eyes, decides as the others did.
    members[0].stop_agent(Signal::SIGKILL)?;
    members[0].start_agent(&[])?;
    ensure!(before == tables(&members)?, "after a start: {:?}", tables(&members)?);
    for (from, to) in [(0, 1), (1, 0), (2, 1), (1, 2), (0, 2)] {
        talk(&pods[from], &pods[to], 10_000)?;
    }
    // The range is free when its holder is gone.
    members[1].stop_agent(Signal::SIGTERM)?;
    plane.admin().delete_node("node2")?;
    plane.admin().delete_node("badger")?;
    eventually("the next claim is heard", SEEN, || {
        let rows = members[0].node.peer_rows()?;
        let row = rows.get(&"10.244.2.0".parse()?);
        Ok(row.is_some_and(|row| row.node.octets() == [172, 30, 0, 90]))
    })
}
