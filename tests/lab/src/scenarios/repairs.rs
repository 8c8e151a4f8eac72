//! The agent puts back what somebody deletes.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::cluster::{Cluster, Member};
use crate::process::{Place as _, checked, eventually};
use crate::scenario::{Entry, Scenario};
use crate::wire::Wire;

pub(super) static SCENARIOS: &[Entry] =
    &[Entry::new("repairs::whatever_is_deleted_comes_back", come_back).within(180)];

/// What is deleted, how it shows that it is there, and how to delete it. `VETH`, `ADDRESS`
/// and `KEY` stand for the first pod's interface and address, `OTHER` for the other node's subnet.
const VICTIMS: &[(&str, &str, &str)] = &[
    ("the overlay device", "ip link show flannel.1", "ip link del flannel.1"),
    (
        "the network's route",
        "ip route show 10.244.0.0/16 | grep -q flannel.1",
        "ip route del 10.244.0.0/16",
    ),
    (
        "the gateway's address",
        "ip addr show flannel.1 | grep -q '\\.1/32'",
        "ip addr del $(ip -o -4 addr show flannel.1 | grep -o '[0-9.]*\\.1/32') dev flannel.1",
    ),
    ("a pod's route", "ip route get ADDRESS | grep -q VETH", "ip route del ADDRESS/32"),
    (
        "the uplink's program",
        "test -e /sys/fs/bpf/tartan/links/uplink_ingress \
         || tc filter show dev eth0 ingress | grep -q tartan:uplink_ingress",
        "rm /sys/fs/bpf/tartan/links/uplink_ingress || tc qdisc del dev eth0 clsact",
    ),
    (
        "a pod's program",
        "test -e /sys/fs/bpf/tartan/links/pods/VETH/pod_egress \
         || tc filter show dev VETH ingress | grep -q tartan:pod_egress",
        "rm /sys/fs/bpf/tartan/links/pods/VETH/pod_egress || tc qdisc del dev VETH clsact",
    ),
    (
        "a pinned program",
        "test -e /sys/fs/bpf/tartan/programs/pod_ingress",
        "rm /sys/fs/bpf/tartan/programs/pod_ingress",
    ),
    (
        "a peer's entry",
        "bpftool map dump pinned /sys/fs/bpf/tartan/maps/PEERS | grep -q next_hop",
        "bpftool map delete pinned /sys/fs/bpf/tartan/maps/PEERS key hex \
         $(printf '0a f4 %02x 00' OTHER)",
    ),
    (
        "a pod's entry",
        "bpftool map lookup pinned /sys/fs/bpf/tartan/maps/PODS key hex KEY | grep -q ifindex",
        "bpftool map delete pinned /sys/fs/bpf/tartan/maps/PODS key hex KEY",
    ),
    (
        "the map of pods",
        "bpftool map lookup pinned /sys/fs/bpf/tartan/maps/PODS key hex KEY | grep -q ifindex",
        "rm /sys/fs/bpf/tartan/maps/PODS",
    ),
    ("the subnet file", "test -e /run/flannel/subnet.env", "rm /run/flannel/subnet.env"),
];

/// The slowest repair is found by the periodic look, every ten seconds.
const PATIENCE: Duration = Duration::from_secs(20);

fn come_back(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let cluster = Cluster::new(&lab, 2, 1)?;
    let (here, there) = (&cluster.members[0], &cluster.members[1]);
    let _servers = cluster.servers()?;
    for (what, shows, delete) in VICTIMS {
        let [shows, delete] = [shows, delete].map(|text| filled_in(text, here, there));
        let (shows, delete) = (shows?, delete?);
        here.node.shell(&shows).with_context(|| format!("{what} is not there to begin with"))?;
        here.node.shell(&delete)?;
        let start = Instant::now();
        eventually(&format!("{what} is back"), PATIENCE, || Ok(here.node.shell(&shows).is_ok()))?;
        scenario.note(format!("{what}: back after {:.1} s", start.elapsed().as_secs_f64()));
        eventually(&format!("pods talk again after {what}"), PATIENCE, || {
            let [a, b] = [&here.pods[0], &there.pods[0]];
            Ok(a.succeeds(&format!("ping -c 1 -W 1 {}", b.address()?))?
                && b.succeeds(&format!("ping -c 1 -W 1 {}", a.address()?))?)
        })?;
    }
    checked(here.node.product("tartanctl")?.arg("status"))?;
    Ok(())
}

fn filled_in(text: &str, here: &Member, there: &Member) -> Result<String> {
    let pod = &here.pods[0];
    let other = there.subnet()?.network().octets()[2].to_string();
    let key: Vec<_> = pod.address()?.octets().iter().map(|b| format!("{b:02x}")).collect();
    Ok(text
        .replace("KEY", &key.join(" "))
        .replace("VETH", &pod.host_link()?)
        .replace("ADDRESS", &pod.address()?.to_string())
        .replace("OTHER", &other))
}
