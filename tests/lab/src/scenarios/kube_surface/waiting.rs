//! A node whose name nobody registered, and then one without podCIDR: the agent waits, says why in
//! every place where people look, and goes on by itself.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use super::{SUBNET_ENV, Systemd, is_there};
use crate::api::NodeSpec;
use crate::control_plane::{ControlPlane, Options};
use crate::health::probe;
use crate::kube_cluster::wait_event;
use crate::lab::Lab;
use crate::node::{CONFLIST, NET_CONF, Node};
use crate::paths::BINARIES;
use crate::process::{Place as _, eventually};
use crate::scenario::Scenario;
use crate::wire::Wire;

/// How long the agent may take to notice, and to be ready when nothing is missing any more.
const NOTICED: Duration = Duration::from_secs(5);
const READY: Duration = Duration::from_secs(2);

pub(super) fn run(scenario: &mut Scenario) -> Result<()> {
    let lab: Lab = scenario.lab(Wire::Offloaded)?;
    let plane = ControlPlane::start(&lab, &Options::without_controllers())?;
    let node = lab.node()?;
    node.run(&format!("mv {CONFLIST} /etc/kube-flannel/cni-conf.json"))?;
    let systemd = Systemd::new(&node)?;
    // A token that is bound to the node outlives the Node object.
    plane.admin().create_node(node.name(), &NodeSpec::default())?;
    let kubeconfig = plane.kubeconfig(&plane.bound_agent(node.name())?)?;
    plane.admin().delete_node(node.name())?;
    let arguments = [
        "--kube-subnet-mgr",
        &format!("--kubeconfig-file={kubeconfig}"),
        &format!("--net-config-path={NET_CONF}"),
        "--iface=eth0",
        "--healthz-port=8081",
        "--cni-conf-source=/etc/kube-flannel/cni-conf.json",
        &format!("--cni-conf-file={CONFLIST}"),
    ];
    let variables = [("NODE_NAME", node.name()), ("NOTIFY_SOCKET", &systemd.path)];
    let agent = node.start_agent_as(&format!("{BINARIES}/tartand"), &arguments, &variables)?;
    waits(scenario, &node, "there is no Node node1 in the cluster: register it")?;
    plane.admin().create_node(node.name(), &NodeSpec::default())?;
    waits(scenario, &node, "node \"node1\" pod cidr not assigned")?;
    waits(scenario, &node, "--allocate-node-cidrs=true --cluster-cidr=10.244.0.0/16")?;
    let said = wait_event(plane.admin(), node.name(), "PodCIDRMissing")?;
    scenario.note(format!("Event PodCIDRMissing: {said}"));
    ensure!(said.contains("--allocate-node-cidrs"), "{said}");
    let heard = systemd.heard()?;
    ensure!(!heard.contains("READY=1") && heard.contains("STATUS="), "systemd heard {heard}");
    ensure!(!agent.is_ready(), "ready without a podCIDR");
    let start = Instant::now();
    let range = "10.244.7.0/24";
    let change = json!({ "spec": { "podCIDR": range, "podCIDRs": [range] } });
    plane.admin().patch(&format!("/api/v1/nodes/{}", node.name()), &change)?;
    eventually("the agent goes on by itself", Duration::from_secs(20), || {
        Ok(probe(&node, "/readyz")? == (200, "flanneld is ready".to_owned()))
    })?;
    let took = start.elapsed();
    scenario.note(format!("ready {took:?} after the podCIDR"));
    ensure!(took < READY, "ready {took:?} after the podCIDR");
    ensure!(is_there(&node, SUBNET_ENV) && is_there(&node, CONFLIST), "ready without its files");
    eventually("systemd hears READY=1", NOTICED, || Ok(systemd.heard()?.contains("READY=1")))
}

/// Alive, not ready, and the reason is where people look.
fn waits(scenario: &Scenario, node: &Node, why: &str) -> Result<()> {
    let mut verbose = String::new();
    let said = eventually(&format!("/readyz?verbose says {why:?}"), NOTICED, || {
        let (status, body) = probe(node, "/readyz?verbose")?;
        verbose = body;
        Ok(status == 503 && verbose.contains(why))
    });
    said.map_err(|error| error.context(verbose.clone()))?;
    let line = verbose.lines().find(|line| line.contains(why)).unwrap_or_default();
    scenario.note(line);
    ensure!(line.starts_with("[-]lease failed: "), "{verbose}");
    for (path, wanted) in [
        ("/readyz", (503, "flanneld is not ready yet")),
        ("/healthz", (200, "flanneld is running")),
        ("/livez", (200, "ok")),
    ] {
        let (status, body) = probe(node, path)?;
        ensure!((status, body.as_str()) == wanted, "{path}: {status} {body}");
    }
    for path in [SUBNET_ENV, CONFLIST] {
        ensure!(!is_there(node, path), "{path} is there while the node waits");
    }
    Ok(())
}
