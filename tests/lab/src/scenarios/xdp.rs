//! Decapsulation by XDP, where an operator asks for it: the same packets arrive, the same are
//! refused, and who reads `status` knows which it is.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::refusals::ground::{Ground, PORT};
use super::refusals::ten_thousand;
use crate::cluster::{Cluster, Member, Servers, talk};
use crate::counters::Counts;
use crate::frames::{Ipv4, UDP, ethernet};
use crate::node::{NET_CONF, Node};
use crate::paths;
use crate::process::{Place as _, checked, eventually};
use crate::scenario::{Entry, Scenario};
use crate::traffic;
use crate::wire::{GATEWAY, Wire};

pub(super) static SCENARIOS: &[Entry] = &[
    Entry::new("xdp::all_pairs_on_an_offloaded_wire", |s| all(s, Wire::Offloaded)),
    Entry::new("xdp::all_pairs_on_a_framed_wire", |s| all(s, Wire::Framed)),
    Entry::new("xdp::all_pairs_without_checksum_offload", |s| all(s, Wire::FramedNoChecksums)),
    Entry::new("xdp::ten_thousand_forged_packets_end_as_ever", refusals).within(120),
    Entry::new("xdp::on_and_off_under_traffic", on_and_off),
    Entry::new("xdp::a_driver_that_cannot_is_told", cannot),
];

/// Every node of the lab has its uplink under this name.
const FLAGS: [&str; 2] = ["--xdp-iface", "eth0"];

/// Starts a member's agent anew, and waits until what its state file says of XDP fits.
fn restart(member: &mut Member, flags: &[&str], fits: impl Fn(Option<&str>) -> bool) -> Result<()> {
    member.stop_agent(Signal::SIGTERM)?;
    member.restart_agent(flags)?;
    eventually("the state file tells of XDP", Duration::from_secs(5), || {
        Ok(fits(told(&member.node)?.as_deref()))
    })
}

fn told(node: &Node) -> Result<Option<String>> {
    let state: Value = serde_json::from_str(&node.read("/run/flannel/tartan.json")?)?;
    Ok(state["xdp"].as_str().map(str::to_owned))
}

fn is_on(told: Option<&str>) -> bool {
    told.is_some_and(|told| told.contains("in the driver of eth0"))
}

fn events(node: &Node) -> Result<Counts> {
    let text = checked(node.product("tartanctl")?.args(["paths", "-o", "json"]))?;
    Counts::parse(&text, "events", "name")
}

fn all(scenario: &mut Scenario, wire: Wire) -> Result<()> {
    let lab = scenario.lab(wire)?;
    let mut cluster = Cluster::new(&lab, 3, 2)?;
    for member in &mut cluster.members {
        restart(member, &FLAGS, is_on)?;
    }
    let _servers = cluster.servers()?;
    for (from, to) in cluster.pairs() {
        talk(from, to, 300_000)?;
    }
    let [one, two, _] = &cluster.members[..] else { anyhow::bail!("not three nodes") };
    // The stack's way: from a host, and to a pod whose flow is none of two pods.
    for pod in &two.pods {
        one.node.run(&format!("ping -n -c 3 -i 0.2 -W 2 {}", pod.address()?))?;
        let _servers = Servers::start_in(&two.node)?;
        pod.run(&format!("ping -n -c 1 -W 2 {}", one.node.address()))?;
        let sent = traffic::tcp_bytes(&one.node, pod.address()?.into(), 3_000_000)?;
        ensure!(sent.intact, "{sent:?}");
    }
    for member in &cluster.members {
        let (paths, drops, events) =
            (member.node.paths()?, member.node.drops()?, events(&member.node)?);
        scenario.note(format!("{}: {paths:?} {drops:?} {events:?}", member.node.name()));
        ensure!(drops.total() == 0, "dropped: {drops:?}");
        ensure!(events.get("xdp-decapsulated") > 100, "{events:?}");
        ensure!(paths.get("uplink-pod-fast") > 50, "{paths:?}");
        ensure!(paths.get("uplink-to-device") == 0, "{paths:?}");
    }
    Ok(())
}

fn refusals(scenario: &mut Scenario) -> Result<()> {
    let mut ground = Ground::new(scenario.lab(Wire::Offloaded)?, None)?;
    for member in &mut ground.cluster.members {
        restart(member, &FLAGS, is_on)?;
    }
    ten_thousand(scenario, &ground)?;
    // The sign by which the two programs know each other is a public address.
    let target = &ground.marks[0];
    let nobodys = Ipv4Addr::from_bits(u32::from(ground.marks[1].pod) ^ 0x4000);
    let bare = Ipv4::new(nobodys, target.pod, UDP).udp(PORT, PORT, b"not from a tunnel");
    let frame = ethernet(target.mac, target.vtep, &bare);
    let before = ground.target().node.drops()?;
    traffic::raw_send(&ground.stranger, "eth0", &[frame], 50)?;
    eventually("every one is refused", Duration::from_secs(3), || {
        Ok(ground.target().node.drops()?.since(&before).get("off-link-source") == 50)
    })?;
    ensure!(events(&ground.target().node)?.get("xdp-disowned") == 50);
    Ok(())
}

fn on_and_off(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let mut cluster = Cluster::new(&lab, 2, 1)?;
    let _servers = cluster.servers()?;
    let (from, to) = (cluster.members[0].pods[0].clone(), cluster.members[1].pods[0].clone());
    let probe = traffic::udp_probe(&from, &[to.address()?.into()], 500, 12.0)?;
    let receiver = &mut cluster.members[1];
    for _ in 0..2 {
        restart(receiver, &FLAGS, is_on)?;
        let before = events(&receiver.node)?;
        eventually("XDP decapsulates", Duration::from_secs(2), || {
            Ok(events(&receiver.node)?.since(&before).get("xdp-decapsulated") > 20)
        })?;
        let text = receiver.node.run("ip link show dev eth0")?;
        ensure!(text.contains("xdp"), "no XDP program: {text}");
        restart(receiver, &[], |told| told.is_none())?;
        // The kernel detaches a program whose last pin went in its own time (`bpf_link_put`).
        eventually("the XDP program is gone", Duration::from_secs(2), || {
            Ok(!receiver.node.run("ip link show dev eth0")?.contains("xdp"))
        })?;
    }
    for report in probe.finish()? {
        scenario.note(format!("{report:?}"));
        // What veth had in hand while its driver was being switched over is lost by the driver.
        ensure!(report.lost <= 5, "packets were lost while XDP came and went: {report:?}");
    }
    Ok(())
}

/// A bridge has no XDP of its own.
fn cannot(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let node = lab.node()?;
    let address = node.address();
    for line in [
        "ip link add br0 type bridge forward_delay 0",
        "ip address flush dev eth0",
        "ip link set eth0 master br0",
        "ip link set br0 up",
        &format!("ip address add {address}/24 dev br0"),
        &format!("ip route add default via {GATEWAY} dev br0"),
    ] {
        node.run(line)?;
    }
    let flags = ["--lease-dir", paths::LEASES, "--net-config-path", NET_CONF, "--iface=br0"];
    let flags = [&flags[..], &["--xdp-iface=br0"]].concat();
    let program = paths::binary("tartand")?;
    let name = [("NODE_NAME", node.name())];
    let mut agent = node.start_agent_as(&program.to_string_lossy(), &flags, &name)?;
    agent.wait_ready()?;
    let told = told(&node)?.context("the state file says nothing of XDP")?;
    scenario.note(told.clone());
    ensure!(told.contains("its driver has no XDP"), "{told}");
    let status = checked(node.product("tartanctl")?.arg("status"))?;
    ensure!(status.contains("wanted on br0 and not there"), "{status}");

    let other = Member::new(lab.node()?, 1)?;
    let pod = node.pod("a")?;
    pod.cni_add()?;
    let _servers = [Servers::start(&other.pods[0])?, Servers::start(&pod)?];
    talk(&pod, &other.pods[0], 100_000)?;
    talk(&other.pods[0], &pod, 100_000)
}
