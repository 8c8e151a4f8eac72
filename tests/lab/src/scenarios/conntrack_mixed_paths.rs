//! Packets of one flow that take the host stack and the fast path in turn, because the flow map
//! is so small that it forgets all the time: connection tracking must find nothing invalid, for
//! kube-proxy drops what it calls INVALID.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::cluster::{Cluster, Servers};
use crate::lab::Lab;
use crate::node::{NET_CONF, Node};
use crate::pod::Pod;
use crate::process::{Place as _, checked, eventually};
use crate::scenario::{Entry, Scenario};
use crate::traffic::{self, CrrReport, ECHO_PORT, ProbeReport, RrReport, Running};
use crate::wire::Wire;

pub(super) static SCENARIOS: &[Entry] = &[
    Entry::new("conntrack_mixed_paths::on", |s| mixed(s, "on", VXLAN)).within(300),
    Entry::new("conntrack_mixed_paths::after_accept", |s| mixed(s, "after-accept", VXLAN))
        .within(300),
    Entry::new("conntrack_mixed_paths::on_without_a_tunnel", |s| mixed(s, "on", HOST_GW)).long(),
    Entry::new("conntrack_mixed_paths::after_accept_without_a_tunnel", |s| {
        mixed(s, "after-accept", HOST_GW)
    })
    .long(),
    Entry::new("conntrack_mixed_paths::a_forgotten_connection_ends_on", |s| {
        forgotten(s, "on", VXLAN)
    }),
    Entry::new("conntrack_mixed_paths::a_forgotten_connection_ends_after_accept", |s| {
        forgotten(s, "after-accept", VXLAN)
    }),
    Entry::new("conntrack_mixed_paths::a_forgotten_connection_ends_without_a_tunnel", |s| {
        forgotten(s, "on", HOST_GW)
    }),
    Entry::new("conntrack_mixed_paths::the_flow_map_changes_its_size_beside_traffic", resized),
];

const VXLAN: &str = "vxlan";
const HOST_GW: &str = "host-gw";
/// Packets that must have passed.
const PACKETS: u64 = 1_000_000;
/// Entries of the flow map: the fewest that there may be.
const ENTRIES: u32 = 64;
/// UDP flows from each pod to each pod that it talks to.
const UDP_FLOWS: usize = 24;
/// TCP connections that live through a round, likewise.
const TCP_FLOWS: usize = 4;
/// Connections that rest.
const RESTING: usize = 12;
/// Past the host stack, with a tunnel or without.
const FAST: [&str; 5] =
    ["pod-local-fast", "pod-remote-fast", "uplink-pod-fast", "pod-direct-fast", "link-pod-fast"];
/// Seconds of one round.
const ROUND: f64 = 4.0;

fn net_conf(mode: &str, entries: u32, backend: &str) -> String {
    format!(
        r#"{{"Network":"10.244.0.0/16","FastPath":"{mode}","FlowTableEntries":{entries},"Backend":{{"Type":"{backend}"}}}}"#
    )
}

/// Two nodes with kube-proxy's rule and a flow map that is too small.
fn cluster(scenario: &mut Scenario, mode: &str, backend: &str) -> Result<(Cluster, Lab)> {
    let lab = scenario.lab(Wire::Framed)?;
    let cluster = super::fast_share::cluster(&lab, 2, 2, &net_conf(mode, ENTRIES, backend))?;
    for member in &cluster.members {
        member.node.track_connections()?;
    }
    Ok((cluster, lab))
}

fn mixed(scenario: &mut Scenario, mode: &str, backend: &str) -> Result<()> {
    let (cluster, _lab) = cluster(scenario, mode, backend)?;
    let _servers = cluster.servers()?;
    let before = Totals::of(&cluster)?;
    let mut flows = Flows { brief: 0, lasting: 0 };
    let deadline = Instant::now() + Duration::from_secs(250);
    let added = loop {
        round(&cluster, &mut flows)?;
        let added = Totals::of(&cluster)?.since(&before);
        scenario.note(format!("{mode}: {flows:?}, {added:?}"));
        if added.packets >= PACKETS {
            break added;
        }
        ensure!(Instant::now() < deadline, "too slow: {added:?}");
    };
    ensure!(added.invalid == 0, "{} packets are INVALID to conntrack: {added:?}", added.invalid);
    // Where nothing is forgotten both nodes open a flow once, and a lasting one in every slot.
    let least = 2 * flows.brief + 20 * flows.lasting;
    ensure!(added.opened > least, "the map does not forget: {flows:?}, {added:?}");
    ensure!(added.fast > added.packets / 20, "nothing went fast: {added:?}");
    Ok(())
}

/// Flows that there were.
#[derive(Debug, Clone, Copy)]
struct Flows {
    /// Connections of one round trip.
    brief: u64,
    /// Flows that lived through a round.
    lasting: u64,
}

/// What both nodes counted.
#[derive(Debug, Clone, Copy)]
struct Totals {
    /// From pods, from the tunnel, and into pods by the stack.
    packets: u64,
    fast: u64,
    opened: u64,
    invalid: u64,
}

impl Totals {
    fn of(cluster: &Cluster) -> Result<Self> {
        let mut sum = Self { packets: 0, fast: 0, opened: 0, invalid: 0 };
        for member in &cluster.members {
            let paths = member.node.paths()?;
            sum.packets += paths.total();
            for path in FAST {
                sum.fast += paths.get(path);
            }
            sum.opened += opened(&member.node)?;
            sum.invalid += invalid(&member.node)?;
        }
        Ok(sum)
    }

    fn since(self, before: &Self) -> Self {
        Self {
            packets: self.packets - before.packets,
            fast: self.fast - before.fast,
            opened: self.opened - before.opened,
            invalid: self.invalid - before.invalid,
        }
    }
}

/// How often a flow became direct on a node.
fn opened(node: &Node) -> Result<u64> {
    let text = checked(node.product("tartanctl")?.args(["paths", "-o", "json"]))?;
    let value: Value = serde_json::from_str(&text)?;
    let events = value["events"].as_array().context("tartanctl paths shows no events")?;
    let event = events.iter().find(|event| event["name"] == "gate-opened");
    event.and_then(|event| event["packets"].as_u64()).context("gate-opened is not counted")
}

/// Packets that kube-proxy's rule dropped.
fn invalid(node: &Node) -> Result<u64> {
    let rules = node.run("iptables -w -nvxL FORWARD")?;
    let rule = rules.lines().find(|line| line.contains("ctstate INVALID"));
    let packets = rule.and_then(|line| line.split_whitespace().next());
    Ok(packets.context("kube-proxy's rule is gone")?.parse()?)
}

/// Traffic from every pod of the first node to its neighbour and to every pod of the second.
struct Traffic {
    datagrams: Running<Vec<ProbeReport>>,
    round_trips: Vec<Running<RrReport>>,
    connections: Running<CrrReport>,
}

impl Traffic {
    fn start(from: &Pod, to: IpAddr) -> Result<Self> {
        let rr = |_| -> Result<Running<RrReport>> {
            let line = format!("rr --to {to}:{ECHO_PORT} --seconds {ROUND} --pause-us 2000");
            Running::start(from, &line, "")
        };
        Ok(Self {
            datagrams: traffic::udp_probe(from, &[to; UDP_FLOWS], 50, ROUND)?,
            round_trips: (0..TCP_FLOWS).map(rr).collect::<Result<_>>()?,
            connections: traffic::crr(from, to, 1, ROUND, None)?,
        })
    }

    /// Adds the flows that there were, if all of them came through.
    fn finish(self, flows: &mut Flows) -> Result<()> {
        let probes = self.datagrams.finish()?;
        for probe in &probes {
            ensure!(probe.lost == 0 && probe.received > 0, "datagrams were lost: {probe:?}");
        }
        for one in self.round_trips {
            let report = one.finish()?;
            ensure!(report.round_trips > 10, "a connection stalled: {report:?}");
        }
        let connections = self.connections.finish()?;
        ensure!(connections.failed == 0, "connections failed: {connections:?}");
        flows.brief += connections.connections;
        flows.lasting += u64::try_from(UDP_FLOWS + TCP_FLOWS)?;
        Ok(())
    }
}

/// One round of everything.
fn round(cluster: &Cluster, flows: &mut Flows) -> Result<()> {
    let [one, two] = &cluster.members[..] else { anyhow::bail!("not two nodes") };
    let pairs =
        [(&one.pods[0], &two.pods[0]), (&one.pods[0], &one.pods[1]), (&two.pods[1], &one.pods[1])];
    let start = |(from, to): &(&Pod, &Pod)| Traffic::start(from, to.address()?.into());
    let under_way = pairs.iter().map(start).collect::<Result<Vec<_>>>()?;
    for (from, to) in pairs {
        let sent = traffic::tcp_bytes(from, to.address()?.into(), 2_000_000)?;
        ensure!(sent.intact, "{} to {}: {sent:?}", from.label(), to.label());
    }
    flows.lasting += u64::try_from(pairs.len())?;
    under_way.into_iter().try_for_each(|traffic| traffic.finish(flows))
}

/// Connections rest until the map has forgotten them, and are closed then: the other end hears of
/// it, or it would wait for ever.
fn forgotten(scenario: &mut Scenario, mode: &str, backend: &str) -> Result<()> {
    let (cluster, _lab) = cluster(scenario, mode, backend)?;
    let [one, two] = &cluster.members[..] else { anyhow::bail!("not two nodes") };
    let (client, neighbour) = (&one.pods[0], &one.pods[1]);
    let _servers = [Servers::start(&two.pods[0])?, Servers::start(&two.pods[1])?];
    // A round trip, another one, a rest of four seconds, and the end.
    let to = two.pods[0].address()?;
    let line = format!("rr --to {to}:{ECHO_PORT} --seconds 3 --pause-us 4000000");
    let rest = |_| -> Result<Running<RrReport>> { Running::start(client, &line, "") };
    let resting = (0..RESTING).map(rest).collect::<Result<Vec<_>>>()?;
    let many = [two.pods[1].address()?.into(); 4 * ENTRIES as usize];
    let _others = traffic::udp_probe(neighbour, &many, 20, 5.0)?;
    for one in resting {
        one.finish()?;
    }
    let ended = eventually("the other end hears of the end", Duration::from_secs(5), || {
        Ok(!client.run("cat /proc/net/tcp")?.lines().any(is_unheard))
    });
    let invalid = invalid(&one.node)? + invalid(&two.node)?;
    ended.with_context(|| format!("{invalid} packets are INVALID to conntrack"))?;
    ensure!(invalid == 0, "{invalid} packets are INVALID to conntrack");
    Ok(())
}

/// A socket of `/proc/net/tcp` in FIN_WAIT1: its FIN was not acknowledged.
fn is_unheard(line: &str) -> bool {
    line.split_whitespace().nth(3) == Some("04")
}

/// An agent that finds another size in net-conf makes another map beside the traffic; one that
/// finds the same keeps it.
fn resized(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Framed)?;
    let mut cluster = super::fast_share::cluster(&lab, 2, 2, &net_conf("on", 4096, VXLAN))?;
    let _servers = cluster.servers()?;
    let from = cluster.members[0].pods[0].clone();
    let to = [&cluster.members[1].pods[0], &cluster.members[0].pods[1]];
    let to = [to[0].address()?.into(), to[1].address()?.into()];
    let probe = traffic::udp_probe(&from, &to, 500, 8.0)?;
    let mut maps = vec![flow_map(&cluster.members[0].node)?];
    for entries in [ENTRIES, ENTRIES] {
        let member = &mut cluster.members[0];
        member.node.write(NET_CONF, &net_conf("on", entries, VXLAN))?;
        member.stop_agent(Signal::SIGTERM)?;
        member.restart_agent(&[])?;
        maps.push(flow_map(&member.node)?);
    }
    scenario.note(format!("{maps:?}"));
    let [(first, 4096), (second, ENTRIES), (third, ENTRIES)] = maps[..] else {
        anyhow::bail!("maps of other sizes: {maps:?}");
    };
    ensure!(first != second && second == third, "not replaced, or not adopted: {maps:?}");
    let before = cluster.members[0].node.paths()?;
    for report in probe.finish()? {
        ensure!(report.lost == 0 && report.refused == 0, "packets were lost: {report:?}");
    }
    let added = cluster.members[0].node.paths()?.since(&before);
    let fast = added.get("pod-remote-fast");
    ensure!(fast > 100, "the flow did not go on fast: {added:?}");
    Ok(())
}

/// Number and size of the flow map that is pinned, which the pinned programs use.
fn flow_map(node: &Node) -> Result<(u64, u32)> {
    let show = |what: &str, pin: &str| -> Result<Value> {
        let line = format!("bpftool -j {what} show pinned /sys/fs/bpf/tartan/{pin}");
        Ok(serde_json::from_str(&node.run(&line)?)?)
    };
    let map = show("map", "maps/FLOWS")?;
    let program = show("prog", "programs/pod_egress")?;
    let used = program["map_ids"].as_array().context("a program without maps")?;
    ensure!(used.contains(&map["id"]), "the programs use another map: {map}, {program}");
    let (id, entries) = (map["id"].as_u64(), map["max_entries"].as_u64());
    Ok((id.context("no id")?, u32::try_from(entries.context("no size")?)?))
}
