//! The lab's own control plane and the real flannel on it: what the scenarios about Kubernetes
//! stand on.

use std::time::Duration;

use anyhow::{Result, ensure};
use hyper::{Method, StatusCode};
use serde_json::json;

use crate::api::{MERGE_PATCH, NodeSpec};
use crate::cluster::{Servers, pairs, talk};
use crate::control_plane::{BlackHole, ControlPlane, Options, User};
use crate::kube_cluster::flannel_node;
use crate::lab::Lab;
use crate::process::Place as _;
use crate::scenario::{Entry, Scenario};
use crate::wire::{GATEWAY, Wire};

pub(super) static SCENARIOS: &[Entry] = &[
    Entry::new("kube_control_plane::three_flannel_nodes_talk", flannel).with_tools(),
    Entry::new("kube_control_plane::users_may_do_what_is_theirs", users).with_tools(),
    Entry::new("kube_control_plane::dual_stack_on_two_api_servers", dual_stack).with_tools(),
    Entry::new("kube_control_plane::an_api_server_can_fail_in_every_way", faults).with_tools(),
];

/// From nothing to a ready API server: 3 s on two idle cores, so that this leaves room for a
/// machine that does something else as well.
const READY: Duration = Duration::from_secs(15);

fn start(scenario: &Scenario, lab: &Lab, options: &Options) -> Result<ControlPlane> {
    let control_plane = ControlPlane::start(lab, options)?;
    let took = control_plane.started_in().as_secs_f64();
    scenario.note(format!("API servers ready {took:.2} s after the start of etcd"));
    Ok(control_plane)
}

fn flannel(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let control_plane = start(scenario, &lab, &Options::default())?;
    ensure!(control_plane.started_in() <= READY, "not ready within {READY:?}");
    let nodes = lab.nodes::<3>()?;
    let members =
        nodes.iter().map(|node| flannel_node(&control_plane, node)).collect::<Result<Vec<_>>>()?;
    scenario.note("three nodes are flannel's");
    let mut pods = Vec::new();
    for member in &members {
        pods.extend([member.add_pod("a")?, member.add_pod("b")?]);
    }
    let _servers = pods.iter().map(Servers::start).collect::<Result<Vec<_>>>()?;
    scenario.note("six pods are there");
    let everybody: Vec<_> = pods.iter().collect();
    for (from, to) in pairs(&everybody) {
        talk(from, to, 100_000)?;
    }
    scenario.note("all 30 ordered pairs talk");
    members[0].del_pod(pods.swap_remove(0))
}

fn users(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let control_plane = start(scenario, &lab, &Options::without_controllers())?;
    for name in ["node1", "node2"] {
        control_plane.admin().create_node(name, &NodeSpec::default())?;
    }
    let change = json!({ "metadata": { "annotations": {
        "flannel.alpha.coreos.com/public-ip": "192.0.2.1",
    } } })
    .to_string();
    let patch = |user: &User, node: &str| {
        let path = format!("/api/v1/nodes/{node}/status");
        let client = control_plane.client(user)?;
        Ok(client.call(&Method::PATCH, &path, MERGE_PATCH, change.clone())?.status)
    };
    let kubelet = User::kubelet("node1");
    for (user, node, wanted) in [
        (&kubelet, "node1", StatusCode::OK),
        (&kubelet, "node2", StatusCode::FORBIDDEN),
        (&User::agent("node1"), "node1", StatusCode::OK),
        (&control_plane.bound_agent("node1")?, "node1", StatusCode::OK),
        (&User::new("nobody", &[]), "node1", StatusCode::UNAUTHORIZED),
    ] {
        let status: Result<StatusCode> = patch(user, node);
        ensure!(status? == wanted, "{} patches {node}: not {wanted}", user.name());
    }
    let agent = control_plane.client(&User::agent("node1"))?;
    let secrets = agent.get("/api/v1/secrets").map(drop);
    ensure!(secrets.is_err_and(|error| error.to_string().contains("403")), "secrets are open");
    Ok(())
}

fn dual_stack(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let options = Options::dual_stack().two_api_servers();
    let control_plane = start(scenario, &lab, &options)?;
    control_plane.admin().create_node("node1", &NodeSpec::default())?;
    let cidrs = control_plane.admin().wait_pod_cidrs("node1")?;
    scenario.note(format!("node1 has {cidrs:?}"));
    ensure!(cidrs.len() == 2, "not one range per family: {cidrs:?}");
    let second = control_plane.client_at(1, &User::admin())?;
    ensure!(second.wait_pod_cidrs("node1")? == cidrs, "the second server sees another node");
    Ok(())
}

fn faults(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let mut control_plane = start(scenario, &lab, &Options::without_controllers())?;
    let node = lab.node()?;
    let patience = Duration::from_millis(500);
    let admin = control_plane.admin().clone().with_patience(patience);
    let connects = || node.succeeds(&format!("timeout 1 bash -c :</dev/tcp/{GATEWAY}/6443"));
    control_plane.freeze(0)?;
    ensure!(admin.get("/readyz").is_err(), "a frozen server answers");
    control_plane.thaw(0)?;
    admin.get("/readyz")?;
    ensure!(connects()?, "the node does not reach the server");
    let black_hole = BlackHole::around(&node)?;
    ensure!(!connects()?, "a black hole lets packets out");
    black_hole.close()?;
    ensure!(connects()?, "a closed black hole holds packets back");
    control_plane.kill(0)?;
    ensure!(admin.get("/readyz").is_err(), "a killed server answers");
    control_plane.restart(0)?;
    admin.get("/readyz").map(drop)
}
