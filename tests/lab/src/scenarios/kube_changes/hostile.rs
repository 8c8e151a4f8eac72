//! What a node may say of itself is all that it can do to others: nothing.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::{exact, forgives, refuses};
use crate::api::Client;
use crate::cluster::Servers;
use crate::control_plane::{Options, User};
use crate::ghost::Ghost;
use crate::kernel_tables::PeerRows;
use crate::kube_cluster::{KubeCluster, PREFIX};
use crate::process::eventually;
use crate::scenario::Scenario;
use crate::scenarios::kube_outage::{finish_traffic, in_step, peer_row, start_traffic};
use crate::trace::Trace;
use crate::wire::Wire;

/// The node whose kubelet is not a friend.
const FOE: &str = "node9";
/// How long an Event may take: they are spaced.
const TOLD: Duration = Duration::from_secs(20);

pub(super) fn annotations(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let cluster = KubeCluster::new(&lab, &Options::default(), 2, 1)?;
    let kubelet = cluster.plane.client(&User::kubelet(FOE))?;
    let _servers = cluster.pods().map(Servers::start).collect::<Result<Vec<_>>>()?;
    let good = Ghost { name: FOE.to_owned(), ..Ghost::new("", 109) };
    good.appear(&kubelet)?;
    let friends: PeerRows = [peer_row(&cluster.members[1])?].into();
    let mut all = friends.clone();
    all.extend([good.row()]);
    let here = &cluster.members[0];
    in_step(here, &all, Instant::now())?;

    let trace = Trace::of(here.agent()?.pid(), "execve,execveat")?;
    let pods: Vec<_> = cluster.pods().collect();
    let probes = start_traffic(&pods, 6.0)?;
    let victims = [here.node.address(), cluster.members[1].node.address()];
    for (key, value, why) in attacks(&victims.map(|address| address.to_string())) {
        patch(&kubelet, key, &value)?;
        refuses(here, FOE).with_context(|| format!("{key} = {value:.60}"))?;
        scenario.note(format!("{why}: {}", reason(here)?));
        in_step(here, &friends, Instant::now())?;
        exact(&here.node, &friends)?;
        for (full, value) in good.annotations() {
            patch(&kubelet, full.trim_start_matches(PREFIX), &value)?;
        }
        in_step(here, &all, Instant::now())?;
        forgives(here, FOE)?;
    }
    foreign_prefixes(scenario, &cluster, &kubelet)?;
    finish_traffic(scenario, probes)?;
    eventually("an Event tells of a refusal", TOLD, || {
        let events = cluster.admin().node_events("node1")?;
        Ok(events.iter().any(|event| event.to_string().contains(FOE)))
    })?;
    ensure!(trace.end()?.is_empty(), "the agent ran a program");
    Ok(())
}

fn attacks(victims: &[String; 2]) -> Vec<(&'static str, String, &'static str)> {
    let data = |text: &str| text.to_owned();
    vec![
        ("public-ip", data("$(touch /tmp/owned); reboot"), "a command"),
        ("public-ip", victims[0].clone(), "this node's address"),
        ("public-ip", data("10.244.0.7"), "an address of the pod network"),
        ("public-ip", data("127.0.0.1"), "loopback"),
        ("public-ip", data("224.0.0.1"), "multicast"),
        ("backend-data", data("{\"VNI\":1,\"VtepMAC\":\"ff:ff:ff:ff:ff:ff\"}"), "broadcast"),
        ("backend-data", data("{\"VNI\":7,\"VtepMAC\":\"02:00:00:00:00:09\"}"), "another VNI"),
        ("backend-data", data("{\"VNI\":"), "half a document"),
        ("backend-data", data("\u{0}\u{1b}[2J\u{202e}"), "control characters"),
        ("backend-data", "[".repeat(100_000), "depth"),
        ("backend-type", data("host-gw\u{1b}]0;x"), "another backend"),
        ("public-ip", victims[1].clone(), "the address of another node"),
    ]
}

/// The kubelet changes its own Node, as NodeRestriction lets it.
fn patch(kubelet: &Client, key: &str, value: &str) -> Result<()> {
    let change = json!({ "metadata": { "annotations": { (format!("{PREFIX}{key}")): value } } });
    kubelet.patch(&format!("/api/v1/nodes/{FOE}/status"), &change).map(drop)
}

/// What the node says of the foe.
fn reason(member: &crate::kube_cluster::KubeMember) -> Result<String> {
    let state = member.state()?;
    let all = [&state["refused"], &state["unreadable"]];
    let mut all = all.into_iter().filter_map(|list| list.as_array()).flatten();
    let entry = all.find(|entry| entry.to_string().contains(FOE)).context("no reason")?;
    let text = entry["why"].as_str().or(entry["what"].as_str()).unwrap_or_default();
    Ok(text.chars().take(120).collect())
}

/// A kubelet may say on creation which subnet its Node has; not that of another.
fn foreign_prefixes(scenario: &Scenario, cluster: &KubeCluster, kubelet: &Client) -> Result<()> {
    let [here, there] = &cluster.members[..] else { anyhow::bail!("not two members") };
    let friends = PeerRows::from([peer_row(there)?]);
    for victim in [here, there] {
        let (subnet, _) = peer_row(victim)?;
        let mut thief = Ghost { name: FOE.to_owned(), ..Ghost::new("", 109) };
        thief.subnet = ipnet::Ipv4Net::new(subnet, 24)?;
        cluster.admin().delete_node(FOE)?;
        in_step(here, &friends, Instant::now())?;
        forgives(here, FOE)?;
        thief.appear(kubelet)?;
        refuses(here, FOE)?;
        scenario.note(format!("the subnet of {}: {}", victim.node.name(), reason(here)?));
        exact(&here.node, &friends)?;
    }
    Ok(())
}
