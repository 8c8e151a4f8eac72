//! Services as kube-proxy makes them: a virtual address that netfilter translates to pods of this
//! node and of another. Translated flows work, and direct ones go fast beside them.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, ensure};

use crate::cluster::Cluster;
use crate::counters::Counts;
use crate::node::Node;
use crate::pod::Pod;
use crate::process::Place;
use crate::scenario::{Entry, Scenario};
use crate::traffic::{
    self, Capture, ClosedPortReport, ECHO_PORT, ExchangeReport, Running, Transport,
};
use crate::wire::Wire;

pub(super) static SCENARIOS: &[Entry] = &[
    Entry::new("services::iptables_beside_the_fast_path", |s| thousand(s, Proxy::Iptables, "on"))
        .within(120),
    Entry::new("services::nftables_beside_the_fast_path", |s| thousand(s, Proxy::Nftables, "on"))
        .within(120),
    Entry::new("services::iptables_after_accept", |s| thousand(s, Proxy::Iptables, "after-accept"))
        .within(120),
    Entry::new("services::iptables_beside_the_fast_path_without_a_tunnel", |s| {
        thousand_over(s, Proxy::Iptables, "on", "host-gw")
    })
    .within(120),
    Entry::new("services::iptables_after_accept_without_a_tunnel", |s| {
        thousand_over(s, Proxy::Iptables, "after-accept", "host-gw")
    })
    .within(120),
    Entry::new("services::a_reused_tuple_is_translated_again", |s| reused_tuples(s, VXLAN))
        .within(120),
    Entry::new("services::a_reused_tuple_is_translated_again_without_a_tunnel", |s| {
        reused_tuples(s, "host-gw")
    })
    .within(120),
    Entry::new("services::one_tuple_for_two_connections_off", |s| same_tuples(s, "off", 0)).long(),
    Entry::new("services::one_tuple_for_two_connections_after_accept", |s| {
        same_tuples(s, "after-accept", 0)
    })
    .long(),
    Entry::new("services::one_tuple_for_two_connections_on", |s| same_tuples(s, "on", KNOWN_LIMIT))
        .long(),
    Entry::new("services::a_node_is_translated_by_iptables", |s| from_the_node(s, Proxy::Iptables)),
    Entry::new("services::a_node_is_translated_by_nftables", |s| from_the_node(s, Proxy::Nftables)),
    Entry::new("services::a_closed_port_refuses_over_the_fast_path", closed_port),
];

/// Who translates.
#[derive(Debug, Clone, Copy)]
enum Proxy {
    Iptables,
    Nftables,
}

const VIRTUAL: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
const PORT: u16 = 80;
/// The backend that most clusters have.
const VXLAN: &str = "vxlan";
/// Exchanges over each transport.
const EXCHANGES: u64 = 1000;

/// Two nodes, two pods each, that translate the virtual address to `node1/b` and `node2/a`.
fn cluster(
    scenario: &mut Scenario,
    proxy: Proxy,
    mode: &str,
    backend: &str,
) -> Result<(Cluster, crate::lab::Lab)> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let net_conf = format!(
        r#"{{"Network":"10.244.0.0/16","FastPath":"{mode}","Backend":{{"Type":"{backend}"}}}}"#
    );
    let cluster = super::fast_share::cluster(&lab, 2, 2, &net_conf)?;
    let [local, remote] = backends(&cluster)?;
    for member in &cluster.members {
        let backends = [local.address()?, remote.address()?];
        match proxy {
            Proxy::Iptables => iptables(&member.node, backends)?,
            Proxy::Nftables => nftables(&member.node, backends)?,
        }
    }
    Ok((cluster, lab))
}

fn backends(cluster: &Cluster) -> Result<[&Pod; 2]> {
    let [one, two] = &cluster.members[..] else { anyhow::bail!("not two nodes") };
    Ok([&one.pods[1], &two.pods[0]])
}

fn iptables(node: &Node, [local, remote]: [Ipv4Addr; 2]) -> Result<()> {
    for chain in ["PREROUTING", "OUTPUT"] {
        for protocol in ["tcp", "udp"] {
            let rule =
                format!("iptables -w -t nat -A {chain} -d {VIRTUAL} -p {protocol} --dport {PORT}");
            let half = "-m statistic --mode nth --every 2 --packet 0";
            node.run(&format!("{rule} {half} -j DNAT --to-destination {local}:{ECHO_PORT}"))?;
            node.run(&format!("{rule} -j DNAT --to-destination {remote}:{ECHO_PORT}"))?;
        }
    }
    node.track_connections()
}

fn nftables(node: &Node, [local, remote]: [Ipv4Addr; 2]) -> Result<()> {
    let to = |backend| {
        let rule = |protocol| format!("meta l4proto {protocol} dnat to {backend}:{ECHO_PORT}\n");
        [rule("tcp"), rule("udp")].concat()
    };
    let translate = format!(
        "ip daddr {VIRTUAL} meta l4proto {{ tcp, udp }} th dport {PORT} \
         numgen inc mod 2 vmap {{ 0 : goto first, 1 : goto second }}"
    );
    let table = format!(
        "table ip services {{
           chain first {{\n{}}}
           chain second {{\n{}}}
           chain prerouting {{\n type nat hook prerouting priority dstnat\n {translate}\n }}
           chain output {{\n type nat hook output priority -100\n {translate}\n }}
           chain forward {{\n type filter hook forward priority filter\n ct state invalid drop\n }}
         }}\n",
        to(local),
        to(remote)
    );
    node.write("/run/services.nft", &table)?;
    node.run("nft -f /run/services.nft").map(drop)
}

fn exchange(place: &dyn Place, to: Ipv4Addr, port: u16, udp: bool, count: u64) -> Result<()> {
    all_good(start(place, to, port, udp, count)?, count)
        .with_context(|| format!("{} to {to}:{port}, udp {udp}", place.label()))
}

fn start(
    place: &dyn Place,
    to: Ipv4Addr,
    port: u16,
    udp: bool,
    count: u64,
) -> Result<Running<ExchangeReport>> {
    let over = if udp { "--udp" } else { "" };
    Running::start(place, &format!("exchange --to {to}:{port} {over} --count {count}"), "")
}

fn all_good(exchange: Running<ExchangeReport>, count: u64) -> Result<()> {
    let report = exchange.finish()?;
    ensure!(report.failed == 0 && report.good == count, "of {count}: {report:?}");
    Ok(())
}

fn thousand(scenario: &mut Scenario, proxy: Proxy, mode: &str) -> Result<()> {
    thousand_over(scenario, proxy, mode, VXLAN)
}

fn thousand_over(scenario: &mut Scenario, proxy: Proxy, mode: &str, backend: &str) -> Result<()> {
    let (cluster, _lab) = cluster(scenario, proxy, mode, backend)?;
    let [local, remote] = backends(&cluster)?;
    let client = &cluster.members[0].pods[0];
    let _servers = cluster.servers()?;
    for udp in [false, true] {
        let captures = [capture(local)?, capture(remote)?];
        let before = cluster.members[0].node.paths()?;
        let beside = Beside::start(&cluster, 4.0)?;
        exchange(client, VIRTUAL, PORT, udp, EXCHANGES)?;
        // Direct flows of the same client to the same server, while the load goes on.
        exchange(client, remote.address()?, ECHO_PORT, udp, EXCHANGES)?;
        beside.finish()?;
        let added = cluster.members[0].node.paths()?.since(&before);
        scenario.note(format!("{proxy:?} {mode} udp {udp}: {added:?}"));
        for (capture, backend) in captures.into_iter().zip([local, remote]) {
            came_from(&capture.stop()?, backend, client.address()?, EXCHANGES / 3)?;
        }
        others_were_fast(&added)?;
    }
    Ok(())
}

/// Flows that nobody translates, from the client's neighbour and between other pods.
struct Beside {
    round_trips: [Running<traffic::RrReport>; 2],
    stream: Running<traffic::SendReport>,
}

impl Beside {
    fn start(cluster: &Cluster, seconds: f64) -> Result<Self> {
        let [one, two] = &cluster.members[..] else { anyhow::bail!("not two nodes") };
        let (from, to) = (&one.pods[1], two.pods[1].address()?.into());
        let rr = |over| traffic::rr(from, over, to, seconds, None);
        let round_trips = [rr(Transport::Tcp)?, rr(Transport::Udp)?];
        let stream = traffic::tcp_stream(from, to, seconds, None)?;
        Ok(Self { round_trips, stream })
    }

    fn finish(self) -> Result<()> {
        for one in self.round_trips {
            let report = one.finish()?;
            ensure!(report.lost == 0 && report.round_trips > 100, "beside: {report:?}");
        }
        let sent = self.stream.finish()?;
        ensure!(sent.sent > 10_000_000, "beside: {sent:?}");
        Ok(())
    }
}

fn others_were_fast(added: &Counts) -> Result<()> {
    let fast = added.get("pod-remote-fast") + added.get("pod-direct-fast");
    ensure!(fast > 2000, "other flows did not go fast: {added:?}");
    Ok(())
}

fn capture(backend: &Pod) -> Result<Running<Capture>> {
    traffic::sniff(backend, "eth0", "--snap 60")
}

/// Every packet for the server came from this address, and there were at least so many.
fn came_from(capture: &Capture, backend: &Pod, client: Ipv4Addr, least: u64) -> Result<()> {
    let port = ECHO_PORT.to_be_bytes();
    let requests = capture.frames.iter().filter(|frame| {
        !frame.outgoing
            && frame.bytes.get(12..14) == Some(&[8, 0])
            && frame.bytes.get(36..38) == Some(&port)
    });
    let sources: Vec<[u8; 4]> =
        requests.filter_map(|frame| frame.bytes.get(26..30)?.try_into().ok()).collect();
    let unique: BTreeSet<_> = sources.iter().map(|bytes| Ipv4Addr::from(*bytes)).collect();
    ensure!(sources.len() as u64 >= least, "{}: {} packets", backend.label(), sources.len());
    ensure!(unique == BTreeSet::from([client]), "{} saw {unique:?}", backend.label());
    Ok(())
}

/// The same client ports to the same server, directly and through the virtual address in turn: a
/// flow that was direct is not any more once netfilter has translated another one to its tuple.
fn reused_tuples(scenario: &mut Scenario, backend: &str) -> Result<()> {
    let (cluster, _lab) = cluster(scenario, Proxy::Iptables, "on", backend)?;
    let client = &cluster.members[0].pods[0];
    let _servers = cluster.servers()?;
    client.sysctl("net.ipv4.ip_local_port_range", "\"40000 40015\"")?;
    // Closed connections would block their ports for a minute.
    client.sysctl("net.ipv4.tcp_max_tw_buckets", "0")?;
    for round in 0..20 {
        for backend in backends(&cluster)? {
            for udp in [false, true] {
                let all = || -> Result<()> {
                    exchange(client, backend.address()?, ECHO_PORT, udp, 20)?;
                    exchange(client, VIRTUAL, PORT, udp, 20)
                };
                all().with_context(|| format!("round {round}"))?;
            }
        }
    }
    scenario.note(format!("{:?}", cluster.members[0].node.paths()?));
    Ok(())
}

/// Resets of 2,000 exchanges that mode `on` may cost a client that has no more than sixteen ports:
/// conntrack does not know connections that were direct before the first one was translated to
/// their end (docs/ARCHITECTURE.md, the gate).
const KNOWN_LIMIT: u64 = 3;

/// The same client ports to the same server at the same time: netfilter gives a translated
/// connection another port when the tuple is in use, if it knows.
fn same_tuples(scenario: &mut Scenario, mode: &str, tolerated: u64) -> Result<()> {
    let (cluster, _lab) = cluster(scenario, Proxy::Iptables, mode, VXLAN)?;
    let client = &cluster.members[0].pods[0];
    let _servers = cluster.servers()?;
    client.sysctl("net.ipv4.ip_local_port_range", "\"40000 40015\"")?;
    client.sysctl("net.ipv4.tcp_max_tw_buckets", "0")?;
    for udp in [false, true] {
        let mut under_way = vec![start(client, VIRTUAL, PORT, udp, 2 * EXCHANGES)?];
        for backend in backends(&cluster)? {
            under_way.push(start(client, backend.address()?, ECHO_PORT, udp, 2 * EXCHANGES)?);
        }
        for (number, exchange) in under_way.into_iter().enumerate() {
            let report = exchange.finish()?;
            scenario.note(format!("{mode}, udp {udp}, client {number}: {report:?}"));
            ensure!(report.good + report.failed == 2 * EXCHANGES, "not all were tried");
            ensure!(report.failed <= tolerated, "{mode}, udp {udp}, client {number}: {report:?}");
        }
    }
    Ok(())
}

/// The node's own processes are translated at output.
fn from_the_node(scenario: &mut Scenario, proxy: Proxy) -> Result<()> {
    let (cluster, _lab) = cluster(scenario, proxy, "on", VXLAN)?;
    let _servers = cluster.servers()?;
    for udp in [false, true] {
        exchange(&cluster.members[0].node, VIRTUAL, PORT, udp, 200)?;
    }
    Ok(())
}

/// The error comes back on the flow's own way: conntrack never saw the flow and would drop it.
fn closed_port(scenario: &mut Scenario) -> Result<()> {
    let (cluster, _lab) = cluster(scenario, Proxy::Iptables, "on", VXLAN)?;
    let [one, two] = &cluster.members[..] else { anyhow::bail!("not two nodes") };
    for server in [&two.pods[0], &one.pods[1]] {
        let echo = traffic::echo(server, None)?;
        let line = format!("closed-port --to {}:{ECHO_PORT}", server.address()?);
        let client: Running<ClosedPortReport> = Running::start(&one.pods[0], &line, "")?;
        let before = (one.node.paths()?, two.node.paths()?);
        drop(echo);
        let report = client.finish()?;
        let added = one.node.paths()?.since(&before.0).plus(&two.node.paths()?.since(&before.1));
        scenario.note(format!("{}: {report:?}, {added:?}", server.label()));
        ensure!(report.refused, "{} closed its port, nobody was told: {added:?}", server.label());
        let slow = added.get("pod-to-stack") + added.get("uplink-to-stack");
        ensure!(slow == 0, "the error went through the stack: {added:?}");
        ensure!(added.total() > 0, "nothing was counted");
    }
    Ok(())
}
