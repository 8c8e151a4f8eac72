//! Each thing that a kernel may lack, pretended to be missing on this one: packets get through,
//! spoofers do not, and `status` says what it costs.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::agent_restarts::{Load, one_program_per_hook};
use super::kernel_vxlan_interop::mixed_under;
use crate::cluster::{Cluster, Member, Servers, pairs, talk};
use crate::frames::{Ipv4, UDP, ethernet};
use crate::lab::Lab;
use crate::node::Node;
use crate::process::{Place as _, checked, eventually};
use crate::scenario::{Entry, Scenario, skip};
use crate::traffic;
use crate::wire::Wire;

pub(super) static SCENARIOS: &[Entry] = &[
    Entry::new("kernel_reach::as_it_is", |s| reach(s, "", Wire::Framed)).within(400),
    Entry::new("kernel_reach::without_tcx", |s| reach(s, "clsact", Wire::Framed)).within(120),
    Entry::new("kernel_reach::without_decap_l3", |s| reach(s, "no-decap-l3", Wire::Framed))
        .within(120),
    Entry::new("kernel_reach::without_encap_l2_eth", |s| {
        reach(s, "no-encap-l2-eth", Wire::Offloaded)
    })
    .within(120),
    Entry::new("kernel_reach::without_a_coarse_clock", |s| {
        reach(s, "no-coarse-clock", Wire::Framed)
    })
    .within(120),
    Entry::new("kernel_reach::without_redirect_neigh", |s| {
        reach(s, "no-redirect-neigh", Wire::Framed)
    })
    .within(120),
    Entry::new("kernel_reach::without_redirect_peer", |s| {
        reach(s, "no-redirect-peer", Wire::Offloaded)
    })
    .within(120),
    Entry::new("kernel_reach::without_any_of_it", |s| reach(s, EVERYTHING, Wire::Framed))
        .within(120),
    Entry::new("kernel_reach::without_a_program_no_packet_passes", no_program).within(180),
    Entry::new("kernel_reach::clsact_agents_come_and_go", come_and_go).within(180),
    Entry::new("kernel_reach::clsact_and_tcx_take_turns", take_turns).within(180),
    Entry::new("kernel_reach::clsact_is_shared_with_strangers", strangers).within(120),
    Entry::new("kernel_reach::an_unknown_word_is_refused", unknown_word),
    // For the run on real old kernels.
    Entry::new("kernel_reach::an_old_kernel_is_refused", old_kernel).long(),
];

const EVERYTHING: &str =
    "clsact,no-decap-l3,no-encap-l2-eth,no-coarse-clock,no-redirect-neigh,no-redirect-peer";

/// Also what a run on a real old kernel passes on to every agent.
const FORCE: &str = "TARTAN_FORCE";

/// An agent's environment with these words, and with those of the run.
fn forced(words: &str) -> String {
    let own = std::env::var(FORCE).unwrap_or_default();
    format!("{FORCE}={own},{words}")
}

fn reach(scenario: &mut Scenario, words: &str, wire: Wire) -> Result<()> {
    let lab = scenario.lab(wire)?;
    let force = forced(words);
    let (_kernel, members, pods) = mixed_under(&lab, &["env", &force])?;
    let servers = pods.iter().map(Servers::start).collect::<Result<Vec<_>>>()?;
    let all: Vec<_> = pods.iter().collect();
    for (from, to) in pairs(&all) {
        from.run(&format!("ping -n -c 1 -W 2 -s 1400 {}", to.address()?))?;
        talk(from, to, 300_000)?;
    }
    let far = pods.last().context("no pod")?;
    let sent = traffic::tcp_bytes(&members[0].pods[0], far.address()?.into(), 8 << 20)?;
    ensure!(sent.intact, "{sent:?}");
    drop(servers);
    for member in &members {
        liars_are_refused(member, &members)?;
        told(scenario, &member.node, words)?;
    }
    ways(scenario, &members[0].node, words)
}

/// A pod that sends with another one's address, and a stranger's tunnel packet, are dropped.
fn liars_are_refused(member: &Member, members: &[Member]) -> Result<()> {
    let [liar, other] = &member.pods[..] else { anyhow::bail!("not two pods") };
    let far = members.iter().find(|one| one.node.name() != member.node.name()).context("alone")?;
    let before = member.node.drops()?;
    let packet =
        Ipv4::new(other.address()?, far.pods[0].address()?, UDP).udp(9, 9, b"not mine to send");
    let frame = ethernet(liar.gateway_mac()?, liar.mac()?, &packet);
    traffic::raw_send(liar, "eth0", &[frame], 100)?;
    eventually("a spoofer's packets are counted", Duration::from_secs(2), || {
        Ok(member.node.drops()?.since(&before).get("spoofed-source") == 100)
    })
}

/// What `tartanctl status` says; nothing of it is a problem.
fn told(scenario: &Scenario, node: &Node, words: &str) -> Result<()> {
    let status = status(node)?;
    let kernel = &status["agent"]["kernel"];
    scenario.note(kernel);
    let missing = kernel["missing"].as_array().context("the status tells of no kernel")?;
    let says = |name: &str| missing.iter().any(|one| one["feature"] == name);
    for word in words.split(',').filter(|word| !word.is_empty()) {
        let name = if word == "clsact" { "tcx" } else { word.trim_start_matches("no-") };
        ensure!(says(name), "{name} is not told: {kernel}");
    }
    let way = if says("tcx") { "clsact" } else { "tcx" };
    ensure!(kernel["attached"] == way, "attached by {}", kernel["attached"]);
    let text = node.product("tartanctl")?.arg("status").output()?;
    ensure!(text.status.success(), "a kernel that lacks something is called a problem");
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    ensure!(text.contains(&format!("programs attached by {way}")), "{text}");
    Ok(())
}

fn status(node: &Node) -> Result<Value> {
    let status = checked(node.product("tartanctl")?.args(["status", "-o", "json"]))?;
    Ok(serde_json::from_str(&status)?)
}

/// The packets went the way that is left.
fn ways(scenario: &Scenario, node: &Node, words: &str) -> Result<()> {
    let paths = node.paths()?;
    scenario.note(format!("{paths:?}"));
    let (fast, device) = (paths.get("pod-remote-fast"), paths.get("overlay-device"));
    let has = |word: &str| words.split(',').any(|one| one == word);
    if has("no-redirect-neigh") {
        ensure!(fast == 0 && device > 0, "not by the device: {paths:?}");
    } else if has("no-redirect-peer") {
        ensure!(fast == 0 && paths.get("overlay-encap") > 0, "not by the stack: {paths:?}");
    } else {
        ensure!(fast > 0 && device == 0, "not the fast way: {paths:?}");
    }
    Ok(())
}

/// The counterpart of every green line above: it is the programs that forward.
fn no_program(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let mut cluster = Cluster::new(&lab, 2, 1)?;
    let [from, to] = &cluster.pods().cloned().collect::<Vec<_>>()[..] else {
        anyhow::bail!("not two pods")
    };
    let ping = format!("ping -n -c 1 -W 1 {}", to.address()?);
    eventually("they talk", Duration::from_secs(5), || from.succeeds(&ping))?;
    cluster.members[0].stop_agent(Signal::SIGTERM)?;
    let node = &cluster.members[0].node;
    node.shell(
        "rm -f /sys/fs/bpf/tartan/links/overlay_egress; tc qdisc del dev flannel.1 clsact || true; \
         for d in /sys/class/net/veth*; do d=${d##*/}; \
         rm -f /sys/fs/bpf/tartan/links/pods/$d/pod_egress; tc qdisc del dev $d clsact || true; done",
    )?;
    ensure!(!from.succeeds(&ping)?, "a packet got through without a program");
    scenario.note("nothing passes without the programs");
    cluster.members[0].restart_agent(&[])?;
    eventually("they talk again", Duration::from_secs(20), || from.succeeds(&ping))
}

fn by_clsact(lab: &Lab, nodes: usize) -> Result<Cluster> {
    let force = forced("clsact");
    let member = || Member::under(lab.node()?, &["env", &force], 1);
    Ok(Cluster { members: (0..nodes).map(|_| member()).collect::<Result<_>>()? })
}

/// Killed, ended, and with all programs replaced, under traffic of which nothing is lost.
fn come_and_go(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let mut cluster = by_clsact(&lab, 2)?;
    let servers = cluster.servers()?;
    let load = Load::start(&cluster, 30.0)?;
    for round in 0..10 {
        for member in &mut cluster.members {
            let before = traffic::hooks(&member.node, "eth0")?;
            member.stop_agent(if round % 2 == 0 { Signal::SIGKILL } else { Signal::SIGTERM })?;
            member.restart_agent(if round % 3 == 0 { &["--replace-programs"] } else { &[] })?;
            let after = traffic::hooks(&member.node, "eth0")?;
            ensure!((before != after) == (round % 3 == 0), "{before:?} became {after:?}");
        }
    }
    load.finish(scenario)?;
    drop(servers);
    one_program_per_hook(&cluster)?;
    gone_after_cleanup(&mut cluster)
}

/// Filters and qdiscs of ours are off every device that stays.
fn gone_after_cleanup(cluster: &mut Cluster) -> Result<()> {
    for member in &mut cluster.members {
        member.stop_agent(Signal::SIGTERM)?;
        checked(member.node.product("tartanctl")?.arg("cleanup"))?;
        let left = member.node.shell("tc qdisc show | grep clsact || true")?;
        ensure!(left.trim().is_empty(), "cleanup left {left}");
        let pins = member.node.shell("ls /sys/fs/bpf")?;
        ensure!(!pins.contains("tartan"), "cleanup left pins: {pins}");
    }
    Ok(())
}

/// One way of attaching takes the other's place under traffic, both ways. The kernel stops a
/// device's queues for a moment while a qdisc is added or removed, and what the host sends by it
/// then is lost; connections live on.
fn take_turns(scenario: &mut Scenario) -> Result<()> {
    if std::env::var(FORCE).is_ok_and(|words| words.contains("clsact")) || !has_tcx(scenario)? {
        return Err(skip("there is no TCX to take turns with"));
    }
    let lab = scenario.lab(Wire::Offloaded)?;
    let mut cluster = Cluster::new(&lab, 2, 1)?;
    let _servers = cluster.servers()?;
    let force = forced("clsact");
    let load = Load::start(&cluster, 25.0)?;
    for round in 0..4 {
        let launcher: &[&str] = if round % 2 == 0 { &["env", &force] } else { &[] };
        for member in &mut cluster.members {
            member.launch_by(launcher);
            member.stop_agent(Signal::SIGTERM)?;
            member.restart_agent(&[])?;
            let way = if round % 2 == 0 { "clsact" } else { "tcx" };
            settled(member, way)?;
        }
        // A link whose pin is gone is taken off some milliseconds later.
        eventually("nothing runs twice", Duration::from_secs(5), || {
            Ok(one_program_per_hook(&cluster).is_ok())
        })?;
    }
    let (sent, lost) = load.losses()?;
    scenario.note(format!("{lost} of {sent} packets were lost"));
    ensure!(sent > 0 && lost * 20 < sent, "{lost} of {sent} packets were lost");
    Ok(())
}

/// Every hook of the node runs in this way, and in this alone.
fn settled(member: &Member, way: &str) -> Result<()> {
    eventually(
        &format!("{} attaches by {way}", member.node.name()),
        Duration::from_secs(20),
        || {
            let qdiscs = member.node.shell("tc qdisc show | grep -c clsact || true")?;
            let links = member.node.shell("find /sys/fs/bpf/tartan/links -type f | wc -l")?;
            let wanted = if way == "clsact" { ("3", "0") } else { ("0", "5") };
            Ok((qdiscs.trim(), links.trim()) == wanted)
        },
    )
}

fn has_tcx(scenario: &Scenario) -> Result<bool> {
    Ok(release(scenario)? >= (6, 6))
}

fn release(scenario: &Scenario) -> Result<(u32, u32)> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut numbers = release.split('.').map(|text| text.parse().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    scenario.note(format!("kernel {}.{}", version.0, version.1));
    Ok(version)
}

/// Before anything is changed, with what to do about it.
fn old_kernel(scenario: &mut Scenario) -> Result<()> {
    if release(scenario)? >= (5, 15) {
        return Err(skip("this kernel is not too old"));
    }
    let lab = scenario.lab(Wire::Offloaded)?;
    let node = lab.node()?;
    let agent = node.start_agent_under(&["env", "TARTAN_FORCE="], &[])?;
    let (code, log) = agent.wait_end()?;
    ensure!(code == Some(1), "it ended with {code:?}");
    ensure!(log.contains("is too old: Tartan needs 5.15"), "{log}");
    let left = node.shell("ls /sys/fs/bpf | grep tartan || true; ip link show type vxlan")?;
    ensure!(left.trim().is_empty(), "something was changed: {left}");
    Ok(())
}

/// A qdisc and filters that others made stay, whatever we do.
fn strangers(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let node = lab.node()?;
    let mut first = node.start_agent()?;
    first.wait_ready()?;
    // Any program will do for a stranger's: it only has to pass what it sees.
    node.shell(
        "mkdir /sys/fs/bpf/stranger; \
         bpftool prog pin pinned /sys/fs/bpf/tartan/programs/pod_ingress /sys/fs/bpf/stranger/p",
    )?;
    first.stop(Signal::SIGTERM)?;
    checked(node.product("tartanctl")?.arg("cleanup"))?;
    node.shell(
        "tc qdisc add dev eth0 clsact; tc filter add dev eth0 ingress pref 1 handle 1 bpf da \
         object-pinned /sys/fs/bpf/stranger/p; tc filter add dev eth0 egress pref 7 bpf da \
         object-pinned /sys/fs/bpf/stranger/p",
    )?;
    let before = filters(&node)?;
    let force = forced("clsact");
    let mut member = Member::under(node.clone(), &["env", &force], 1)?;
    let with_ours = filters(&node)?;
    scenario.note(&with_ours);
    ensure!(with_ours.contains("tartan:uplink_ingress"), "ours is not there: {with_ours}");
    member.pods[0].run(&format!("ping -n -c 1 -W 2 {}", node.address()))?;
    member.stop_agent(Signal::SIGTERM)?;
    checked(node.product("tartanctl")?.arg("cleanup"))?;
    let after = filters(&node)?;
    ensure!(before == after, "a stranger's filters changed from {before} to {after}");
    ensure!(node.shell("tc qdisc show dev eth0")?.contains("clsact"), "a stranger's qdisc is gone");
    Ok(())
}

fn filters(node: &Node) -> Result<String> {
    node.shell("tc filter show dev eth0 ingress; tc filter show dev eth0 egress")
}

fn unknown_word(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let node = lab.node()?;
    let agent = node.start_agent_under(&["env", "TARTAN_FORCE=no-such-thing"], &[])?;
    let (code, log) = agent.wait_end()?;
    ensure!(code == Some(1), "it ended with {code:?}");
    ensure!(log.contains("no-such-thing") && log.contains("no-redirect-peer"), "{log}");
    let left = node.shell("ls /sys/fs/bpf | grep tartan || true; ip link show type vxlan")?;
    ensure!(left.trim().is_empty(), "something was changed: {left}");
    Ok(())
}
