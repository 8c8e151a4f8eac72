//! The table of source addresses: who is seen how by whom, for each kind of flow.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context as _, Result, bail, ensure};

use super::ground::{BEHIND, Ground, MIRROR, OUTSIDE, ask, mirror};
use crate::node::Node;
use crate::process::Place;
use crate::scenario::Scenario;
use crate::traffic;
use crate::wire::Outside;

/// By which address a server sees its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// By its own.
    Itself,
    /// By the first node's, on the wire.
    Node,
    /// By that of the first node's overlay device.
    Overlay,
    /// By another one.
    Other(IpAddr),
    /// Not at all.
    Nobody,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Itself => f.write_str("its own"),
            Self::Node => f.write_str("the node's"),
            Self::Overlay => f.write_str("the overlay device's"),
            Self::Other(ip) => write!(f, "{ip}"),
            Self::Nobody => f.write_str("no answer"),
        }
    }
}

/// One kind of flow.
struct Row<'a> {
    name: &'static str,
    from: &'a dyn Place,
    /// The address that the client binds.
    bind: Ipv4Addr,
    to: (Ipv4Addr, u16),
    /// What flannel's iptables rules make of it.
    iptables: Seen,
    /// What its nft rules make of it.
    nft: Seen,
}

/// A marked pod meets nobody who masquerades.
const MARKED: u16 = 7304;
/// As [`MARKED`], with other bits in the mark.
const MARKED_AMONG_OTHERS: u16 = 7305;
/// A marked pod meets kube-proxy's masquerade.
const KUBE: u16 = 7306;
/// A NodePort with local policy, to a pod of the node.
const NODE_PORT_LOCAL: u16 = 30_080;
/// A NodePort with cluster policy, to a pod of the other node.
const NODE_PORT_CLUSTER: u16 = 30_081;

/// Which column of the table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    /// flannel's iptables rules: the reference.
    Reference,
    /// flannel's nft rules, with their differences.
    FlannelNft,
}

/// Compares every row, over UDP and TCP. kube-proxy's rules are made by this program (`iptables` or
/// `iptables-legacy`).
pub(super) fn compare(
    scenario: &Scenario,
    ground: &Ground,
    iptables: &str,
    column: Column,
) -> Result<()> {
    kube_proxy(ground, iptables)?;
    let _mirrors = [MARKED, MARKED_AMONG_OTHERS, KUBE]
        .into_iter()
        .map(|port| mirror(&Outside, OUTSIDE, port))
        .collect::<Result<Vec<_>>>()?;
    // The first pod of the second node is reached from outside through the first node.
    let around = format!("{}/32 via {}", ground.pods[2].address()?, ground.nodes[0].address());
    let mut wrong = Vec::new();
    for row in rows(ground)? {
        let detour = row.name.contains("through another node");
        if detour {
            Outside.run(&format!("ip route add {around}"))?;
        }
        let wanted = if column == Column::Reference { row.iptables } else { row.nft };
        for over in ["tcp", "udp"] {
            let seen = observe(ground, &row, over)?;
            let verdict = if seen == wanted { "" } else { "  WRONG" };
            scenario.note(format!("{:58} {over}  {seen}{verdict}", row.name));
            if seen != wanted {
                wrong.push(format!("{} ({over}): {seen}, not {wanted}", row.name));
            }
        }
        if detour {
            Outside.run(&format!("ip route del {around}"))?;
        }
    }
    let multicast = multicast(ground)?;
    scenario.note(format!("{:58} udp  {multicast}", "the node's overlay address to a group"));
    if multicast != Seen::Itself {
        wrong.push(format!("multicast: {multicast}"));
    }
    ensure!(wrong.is_empty(), "not as wanted:\n{}", wrong.join("\n"));
    Ok(())
}

fn rows(ground: &Ground) -> Result<Vec<Row<'_>>> {
    let [one, two] = &ground.nodes;
    let [a, b, c] = &ground.pods;
    let any = Ipv4Addr::UNSPECIFIED;
    let row = |name, from: &'static str, to, seen| -> Result<Row<'_>> {
        let (from, bind): (&dyn Place, _) = match from {
            "pod" => (a, any),
            "node" => (one, any),
            "uplink" => (one, one.address()),
            "overlay" => (one, ground.overlay(0)?),
            "outside" => (&Outside, any),
            other => bail!("no client {other}"),
        };
        Ok(Row { name, from, bind, to, iptables: seen, nft: seen })
    };
    let (a, b, c) = (a.address()?, b.address()?, c.address()?);
    let mut rows = vec![
        row("pod to an outside host", "pod", (OUTSIDE, MIRROR), Seen::Node)?,
        row("pod to a network behind it", "pod", (BEHIND, MIRROR), Seen::Node)?,
        row("pod to another node", "pod", (two.address(), MIRROR), Seen::Node)?,
        row("pod to its own node", "pod", (one.address(), MIRROR), Seen::Itself)?,
        row("pod to a pod of another node", "pod", (c, MIRROR), Seen::Itself)?,
        row("pod to a pod of its node", "pod", (b, MIRROR), Seen::Itself)?,
        row("node to a pod of another node", "node", (c, MIRROR), Seen::Itself)?,
        row("node to its own pod", "node", (a, MIRROR), Seen::Itself)?,
        row("the node's address to a pod of another node", "uplink", (c, MIRROR), Seen::Overlay)?,
        row("the overlay's address to an outside host", "overlay", (OUTSIDE, MIRROR), Seen::Node)?,
        row("outside to a pod, by route", "outside", (a, MIRROR), Seen::Itself)?,
        row("outside to a pod, through another node", "outside", (c, MIRROR), Seen::Overlay)?,
        row("NodePort, local", "outside", (one.address(), NODE_PORT_LOCAL), Seen::Itself)?,
        row("NodePort, cluster", "outside", (one.address(), NODE_PORT_CLUSTER), Seen::Overlay)?,
        row("pod to outside, marked 0x4000", "pod", (OUTSIDE, MARKED), Seen::Itself)?,
        row("pod to outside, marked 0x5001", "pod", (OUTSIDE, MARKED_AMONG_OTHERS), Seen::Itself)?,
        row("pod to outside, marked, kube-proxy", "pod", (OUTSIDE, KUBE), Seen::Node)?,
    ];
    for row in &mut rows {
        // Its nft rules return what leaves for pods before they masquerade it, and compare the
        // whole mark.
        match row.name {
            "the node's address to a pod of another node"
            | "outside to a pod, through another node" => row.nft = Seen::Itself,
            "pod to outside, marked 0x5001" => row.nft = Seen::Node,
            _ => {}
        }
    }
    Ok(rows)
}

fn observe(ground: &Ground, row: &Row<'_>, over: &str) -> Result<Seen> {
    let udp = if over == "udp" { "--udp" } else { "" };
    let flags = format!("{udp} --from {}:0 --count 3", row.bind);
    let report = ask(row.from, row.to, &flags)?.finish().with_context(|| row.name)?;
    let Some(first) = report.answers.first() else { return Ok(Seen::Nobody) };
    let same = report.answers.iter().all(|answer| answer.seen.ip() == first.seen.ip());
    ensure!(same && report.failed == 0, "{}: {report:?}", row.name);
    kind(ground, first.own.ip(), first.seen.ip())
}

fn kind(ground: &Ground, own: IpAddr, seen: IpAddr) -> Result<Seen> {
    Ok(match seen {
        ip if ip == own => Seen::Itself,
        ip if ip == ground.nodes[0].address() => Seen::Node,
        ip if ip == ground.overlay(0)? => Seen::Overlay,
        ip => Seen::Other(ip),
    })
}

/// What the node sends to a group from its address in the pod network.
fn multicast(ground: &Ground) -> Result<Seen> {
    const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
    const PORT: u16 = 7399;
    let own = ground.overlay(0)?;
    let filter = format!("--udp-port {PORT} --count 1 --seconds 3");
    let capture = traffic::sniff(&Outside, "up-node1", &filter)?;
    let flags = format!("--udp --from {own}:0 --device eth0 --count 3 --patience-ms 50");
    ask(&ground.nodes[0], (GROUP, PORT), &flags)?.finish()?;
    let frames = capture.finish()?.frames;
    let Some(source) = frames.first().and_then(|frame| frame.bytes.get(26..30)) else {
        return Ok(Seen::Nobody);
    };
    let octets: [u8; 4] = source.try_into()?;
    kind(ground, own.into(), IpAddr::from(octets))
}

/// Rules as kube-proxy's, and marks by destination port.
fn kube_proxy(ground: &Ground, iptables: &str) -> Result<()> {
    let node = &ground.nodes[0];
    let run = |rule: &str| node.run(&format!("{iptables} -w {rule}")).map(drop);
    run("-t nat -N KUBE-POSTROUTING")?;
    for protocol in ["tcp", "udp"] {
        for (port, mark) in [(MARKED, "0x4000/0x4000"), (KUBE, "0x4000/0x4000")] {
            let rule = format!("-p {protocol} --dport {port} -j MARK --set-xmark {mark}");
            run(&format!("-t mangle -A PREROUTING {rule}"))?;
        }
        let rule =
            format!("-p {protocol} --dport {MARKED_AMONG_OTHERS} -j MARK --set-xmark 0x5001");
        run(&format!("-t mangle -A PREROUTING {rule}"))?;
        let own = format!("-p {protocol} -m multiport --dports {MARKED},{MARKED_AMONG_OTHERS}");
        run(&format!("-t nat -A KUBE-POSTROUTING {own} -j RETURN"))?;
    }
    run("-t nat -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN")?;
    run("-t nat -A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0")?;
    run("-t nat -A KUBE-POSTROUTING -j MASQUERADE --random-fully")?;
    run("-t nat -I POSTROUTING -j KUBE-POSTROUTING")?;
    node_ports(ground, node, &run)
}

fn node_ports(ground: &Ground, node: &Node, run: &dyn Fn(&str) -> Result<()>) -> Result<()> {
    let [local, _, remote] = &ground.pods;
    for protocol in ["tcp", "udp"] {
        for (port, pod) in [(NODE_PORT_LOCAL, local), (NODE_PORT_CLUSTER, remote)] {
            let matches = format!("-d {} -p {protocol} --dport {port}", node.address());
            if port == NODE_PORT_CLUSTER {
                let mark = "-j MARK --set-xmark 0x4000/0x4000";
                run(&format!("-t nat -A PREROUTING {matches} {mark}"))?;
            }
            let target = format!("-j DNAT --to-destination {}:{MIRROR}", pod.address()?);
            run(&format!("-t nat -A PREROUTING {matches} {target}"))?;
        }
    }
    Ok(())
}
