//! No packet is lost in silence: what the kernel drops while everything is well is on a list, and
//! packets that go in come out, or are counted.

use anyhow::{Context as _, Result, ensure};

use crate::cluster::{Cluster, talk};
use crate::counters::Counts;
use crate::kernel_drops::{Drops, KernelDrops};
use crate::node::Node;
use crate::process::Place as _;
use crate::scenario::{Entry, Scenario};
use crate::traffic::{self, Running, UdpSinkReport};
use crate::wire::Wire;

pub(super) static SCENARIOS: &[Entry] = &[
    Entry::new("kernel_drops::nothing_but_what_is_on_the_list_offloaded", |s| {
        listed(s, Wire::Offloaded)
    })
    .within(120),
    Entry::new("kernel_drops::nothing_but_what_is_on_the_list_framed", |s| listed(s, Wire::Framed))
        .within(120),
    Entry::new("kernel_drops::half_a_million_packets_are_accounted_for", |s| account(s, 500_000))
        .within(120),
    Entry::new("kernel_drops::ten_million_packets_are_accounted_for", |s| account(s, 10_000_000))
        .long()
        .within(600),
];

/// What a kernel drops of a healthy network: the reason, the function where only that one may
/// have it, and why.
const ALLOWED: [(&str, Option<&str>, &str); 11] = [
    ("NO_SOCKET", None, "the last packets of a flow find its socket closed"),
    ("TCP_OLD_ACK", None, "an acknowledgement that a later one overtook on another CPU"),
    ("TCP_OLD_DATA", None, "a segment that was sent again though it had arrived"),
    ("TCP_OLD_SEQUENCE", None, "the same, before the window"),
    ("SOCKET_CLOSE", None, "what lay unread in a socket when its owner closed it"),
    ("QUEUE_PURGE", Some("sk_stream_kill_queues"), "the same in a connection's own queues"),
    ("SKB_CONSUMED", None, "no drop: the packet was used up"),
    (
        "TUNNEL_TXINFO",
        Some("vxlan_xmit (IPv6)"),
        "the overlay device's own neighbour discovery, which leads nowhere",
    ),
    ("NOT_SPECIFIED", Some("ip6_mc_input (IPv6)"), "a link's multicast that nobody asked for"),
    ("NOT_SPECIFIED", Some("tcp_rcv_state_process"), "a closing connection's used up segments"),
    ("NOT_SPECIFIED", Some("skb_release_data"), "the pieces of a packet that GRO merged"),
];

/// So often the traffic is repeated while something unlisted is heard.
const ROUNDS: usize = 4;

fn listed(scenario: &mut Scenario, wire: Wire) -> Result<()> {
    let lab = scenario.lab(wire)?;
    let cluster = Cluster::new(&lab, 2, 2)?;
    let _servers = cluster.servers()?;
    for (from, to) in cluster.pairs() {
        // Neighbours are found and flows opened before it counts.
        talk(from, to, 10_000)?;
    }
    let mut left = unlisted(scenario, &cluster)?;
    // The kernel tells of all that runs on the machine: what others lose does not come again
    // with the same traffic, what we lose does.
    for _ in 1..ROUNDS {
        if left.is_empty() {
            break;
        }
        let again = unlisted(scenario, &cluster)?;
        left.retain(|drop, _| again.contains_key(drop));
    }
    ensure!(left.is_empty(), "not on the list: {left:?}");
    something_would_be_heard(scenario, &cluster)
}

/// What the kernel drops under traffic between all pods, but for what is on the list.
fn unlisted(scenario: &Scenario, cluster: &Cluster) -> Result<Drops> {
    let kernel = KernelDrops::listen()?;
    for (from, to) in cluster.pairs() {
        talk(from, to, 3_000_000)?;
    }
    let drops = kernel.end()?;
    scenario.note(format!("the kernel dropped {drops:?}"));
    Ok(drops.into_iter().filter(|(drop, _)| !is_allowed(drop)).collect())
}

fn is_allowed((reason, function): &(String, String)) -> bool {
    let is_this = |one: &(&str, Option<&str>, &str)| {
        one.0 == reason && one.1.is_none_or(|only| only == function)
    };
    ALLOWED.iter().any(is_this)
}

/// A packet with a wrong checksum is dropped by the kernel, and heard.
fn something_would_be_heard(scenario: &Scenario, cluster: &Cluster) -> Result<()> {
    let [from, to] = [0, 1].map(|node| &cluster.members[node].pods[0]);
    let mut packet =
        crate::frames::Ipv4::new(from.address()?, to.address()?, 132).build(b"a wrong checksum");
    packet[10] ^= 0xff;
    let frame = crate::frames::ethernet(from.gateway_mac()?, from.mac()?, &packet);
    let kernel = KernelDrops::listen()?;
    traffic::raw_send(from, "eth0", &[frame], 3)?;
    let drops = kernel.end()?;
    scenario.note(format!("of three with a wrong checksum: {drops:?}"));
    let heard: u64 =
        drops.iter().filter(|((reason, _), _)| reason == "IP_CSUM").map(|(_, count)| count).sum();
    ensure!(heard >= 3, "wrong checksums were not heard: {drops:?}");
    Ok(())
}

/// Datagrams from a pod to another node's, as fast as one core sends: sent, seen by each of our
/// hooks, received, or counted by whoever dropped them.
fn account(scenario: &mut Scenario, packets: u64) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let cluster = Cluster::new(&lab, 2, 1)?;
    let [from, to] = [0, 1].map(|node| &cluster.members[node].pods[0]);
    let ip = to.address()?.into();
    let before = State::of(&cluster)?;
    let sink = traffic::udp_sink(to, None)?;
    let mut sent = 0;
    while sent < packets {
        let report = traffic::udp_flood(from, ip, 2.0, None)?.finish()?;
        ensure!(report.errors == 0, "not sent: {report:?}");
        sent += report.sent;
    }
    let received = settled(sink)?;
    let after = State::of(&cluster)?;
    let [out, into] = [0, 1].map(|node| after.paths[node].since(&before.paths[node]));
    let lost = after.backlog - before.backlog;
    let unread = after.unread - before.unread;
    scenario.note(format!(
        "sent {sent}, out {out:?}, into {into:?}, received {received}; counted as lost: {lost} \
         in the CPUs' queues, {unread} at the socket"
    ));
    let left = out.get("pod-remote-fast") + out.get("pod-to-stack");
    let arrived = into.get("uplink-pod-fast") + into.get("uplink-to-stack");
    ensure!(after.refused == before.refused, "our programs dropped something");
    ensure!(sent >= left && left >= arrived && arrived >= received, "more came out than went in");
    // What is neither at the first hook nor received was counted by the kernel.
    let missing = sent - received;
    ensure!(missing == lost + unread, "{missing} are missing, {} counted", lost + unread);
    ensure!(received > packets / 2, "only {received} came through: that proves little");
    Ok(())
}

fn settled(sink: Running<UdpSinkReport>) -> Result<u64> {
    std::thread::sleep(std::time::Duration::from_millis(500));
    Ok(sink.stop()?.received)
}

/// Everything that counts, at one moment.
struct State {
    paths: Vec<Counts>,
    refused: u64,
    backlog: u64,
    unread: u64,
}

impl State {
    fn of(cluster: &Cluster) -> Result<Self> {
        let nodes = || cluster.members.iter().map(|member| &member.node);
        let refused = nodes().map(|node| Ok(node.drops()?.total())).sum::<Result<u64>>()?;
        let unread = cluster.members[1].pods[0].run("cat /proc/net/snmp")?;
        Ok(Self {
            paths: nodes().map(Node::paths).collect::<Result<_>>()?,
            refused,
            backlog: backlog()?,
            unread: receive_errors(&unread).context("no UDP errors in /proc/net/snmp")?,
        })
    }
}

/// Packets for which the CPUs' queues had no room: the second column of each line, hexadecimal.
fn backlog() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/net/softnet_stat")?;
    let mut sum = 0;
    for line in text.lines() {
        let column = line.split_whitespace().nth(1).context("a line without a second column")?;
        sum += u64::from_str_radix(column, 16)?;
    }
    Ok(sum)
}

/// `InErrors` of UDP: datagrams that a socket did not take.
fn receive_errors(text: &str) -> Option<u64> {
    let mut lines = text.lines().filter(|line| line.starts_with("Udp: "));
    let (names, values) = (lines.next()?, lines.next()?);
    let place = names.split_whitespace().position(|name| name == "InErrors")?;
    values.split_whitespace().nth(place)?.parse().ok()
}
