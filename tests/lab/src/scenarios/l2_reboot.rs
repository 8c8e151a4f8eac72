//! Nodes of a real cluster reboot, are drained, leave and join: what they kept of their pods goes
//! with the pods, and the other nodes notice nothing.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::l2_traffic::{Traffic, ensure_untouched, wait_no_leftovers};
use crate::kubernetes::{Cluster, Options, PodView, Steps};
use crate::process::{Place as _, eventually};
use crate::scenario::{Entry, Scenario};
use crate::wire::Wire;

pub(super) static SCENARIOS: &[Entry] =
    &[Entry::new("l2_reboot::nodes_reboot_are_drained_leave_and_join", come_and_go)
        .within(500)
        .with_tools()
        .with_kubelets()
        .long()];

/// The node to which things are done.
const NODE: &str = "node2";

fn come_and_go(scenario: &mut Scenario) -> Result<()> {
    let mut steps = Steps::new();
    let options = Options { dns: false, ..Options::default() };
    let mut cluster = Cluster::up(scenario.lab(Wire::Framed)?, &options, &mut steps)?;
    let pods = steps.step("first pods Ready", || cluster.toolboxes("web"))?;
    let others: Vec<PodView> = pods.iter().filter(|pod| pod.node != NODE).cloned().collect();
    let traffic = Traffic::start(&cluster, &others)?;

    let before = cluster.pod("default", &format!("web-{NODE}"))?;
    steps.step(format!("{NODE} rebooted and Ready"), || {
        cluster.reboot(1)?;
        cluster.wait_booted(NODE)
    })?;
    steps.step("its pod is Ready again", || cluster.wait_restarted(&before))?;
    settled(&cluster, &mut steps, "after the reboot")?;
    talk(&cluster)?;

    steps.step(format!("{NODE} drained"), || {
        cluster.kubectl(&format!("drain {NODE} --ignore-daemonsets --force --timeout=60s"))
    })?;
    settled(&cluster, &mut steps, "after the drain")?;
    cluster.kubectl(&format!("uncordon {NODE}"))?;
    steps.step("uncordoned, its pod is Ready", || cluster.toolboxes("web"))?;
    talk(&cluster)?;

    let address = cluster.node(NODE)?.node().address();
    steps.step(format!("{NODE} deleted"), || {
        cluster.remove_node(NODE)?;
        // No kubelet says any more that it has ended.
        cluster.kubectl(&format!("delete pod web-{NODE} --force --grace-period=0"))
    })?;
    steps.step("the others have forgotten it", || {
        eventually("no entry of it is left", Duration::from_secs(20), || {
            let mut known = false;
            for node in &cluster.nodes {
                known |= node.node().peer_rows()?.values().any(|peer| peer.node == address);
                known |= node.node().sender_rows()?.values().any(|sender| *sender == address);
            }
            Ok(!known)
        })
    })?;
    steps.step("a new node joins and is Ready", || {
        cluster.add_node()?;
        cluster.wait_nodes_ready()
    })?;
    steps.step("its pod is Ready", || cluster.toolboxes("web"))?;
    talk(&cluster)?;
    settled(&cluster, &mut steps, "in the end")?;

    let flow = traffic.stop()?;
    scenario.note(format!("between the other two nodes: {flow}"));
    flow.whole()?;
    ensure_untouched(&cluster, &others)
}

/// No node keeps more than its pods need.
fn settled(cluster: &Cluster, steps: &mut Steps, when: &str) -> Result<()> {
    steps.step(format!("nothing is left over {when}"), || {
        for node in &cluster.nodes {
            wait_no_leftovers(cluster, node.name())?;
        }
        Ok(())
    })
}

/// Every pod reaches every other one.
fn talk(cluster: &Cluster) -> Result<()> {
    let pods = cluster.pods("default", "app=web")?;
    for from in &pods {
        let place = cluster.place(from)?;
        for to in pods.iter().filter(|to| to.name != from.name) {
            let address = to.address.with_context(|| format!("{} has no address", to.name))?;
            eventually("the pods talk", Duration::from_secs(10), || {
                place.succeeds(&format!("ping -n -c 1 -W 1 {address}"))
            })
            .with_context(|| format!("{} to {}", from.name, to.name))?;
        }
    }
    ensure!(pods.len() == cluster.nodes.len(), "{} pods", pods.len());
    Ok(())
}
