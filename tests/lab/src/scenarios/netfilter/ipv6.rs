//! The IPv6 half of the rules: a node's own packets in the name of its pods, which no dataplane is
//! needed for, are seen as behind flannel.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipnet::Ipv6Net;

use super::ground::{MIRROR, mirror};
use super::masquerade::asked;
use crate::control_plane::{ControlPlane, Options, User};
use crate::flannel::{FlannelNode, prepare};
use crate::kube_cluster::{KubeMember, register};
use crate::lab::Lab;
use crate::netfilter_rules::Rules;
use crate::node::{NET_CONF, Node};
use crate::process::{Place as _, eventually};
use crate::scenario::Scenario;
use crate::traffic;
use crate::wire::{Outside, Wire};

const DUAL: &str = r#"{"Network":"10.244.0.0/16","IPv6Network":"fd00:10:244::/56","EnableIPv6":true,"EnableNFTables":false,"Backend":{"Type":"vxlan","VNI":1,"Port":8472}}"#;
const OUTSIDE: Ipv6Addr = Ipv6Addr::new(0xfd30, 0, 0, 0, 0, 0, 0, 1);
/// What is sent here from a pod's address carries kube-proxy's mark.
const MARKED: u16 = 7304;
/// The limit of the product's promise.
const SOON: Duration = Duration::from_secs(1);
const GROUP: &str = "ff15::123";
const GROUP_PORT: u16 = 7399;

pub(super) fn beside_flannel(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    Outside.run(&format!("ip -6 address add {OUTSIDE}/64 dev wire0 nodad"))?;
    let plane = ControlPlane::start(&lab, &Options::dual_stack())?;
    let _mirrors = [mirror(&Outside, OUTSIDE, MIRROR)?, mirror(&Outside, OUTSIDE, MARKED)?];
    let theirs = dual_node(&lab)?;
    register(&plane, &theirs)?;
    let kubeconfig = plane.kubeconfig(&User::agent(theirs.name()))?;
    let _flannel = FlannelNode::start_prepared(&theirs, &kubeconfig)?;
    rows(scenario, &theirs).context("flannel")?;
    let mut ours = KubeMember::without_agent(&plane, dual_node(&lab)?)?;
    ours.start_agent(&["--ip-masq"])?;
    rows(scenario, &ours.node).context("Tartan")?;
    let shown = ours.node.run("nft list table ip6 tartan")?;
    scenario.note(&shown);
    ensure!(shown.contains("udp dport 8472") && shown.contains("drop"), "no guard: {shown}");
    comes_back(&ours.node)
}

/// The table, and the accepting rules of a forward chain that drops.
fn comes_back(node: &Node) -> Result<()> {
    node.run("ip6tables -w -P FORWARD DROP")?;
    eventually("the accepting rules", 3 * SOON, || {
        let rules = node.run("ip6tables -w -S FORWARD")?;
        Ok(rules.lines().filter(|rule| rule.contains("fd00:10:244::/56")).count() == 2)
    })?;
    let rules = Rules::ours(node)?;
    for deletion in ["nft delete table ip6 tartan", "ip6tables -w -F FORWARD"] {
        node.run(deletion)?;
        eventually(deletion, SOON, || Ok(Rules::ours(node)?.same_lines(&rules)))?;
    }
    Ok(())
}

fn dual_node(lab: &Lab) -> Result<Node> {
    let node = lab.node()?;
    prepare(&node)?;
    node.run(&format!("ip -6 address add {}/64 dev eth0 nodad", address(&node)))?;
    node.sysctl("net.ipv6.conf.all.forwarding", "1")?;
    node.write(NET_CONF, DUAL)?;
    Ok(node)
}

/// The IPv6 address of a node on the wire, by its IPv4 address.
fn address(node: &Node) -> Ipv6Addr {
    Ipv6Addr::new(0xfd30, 0, 0, 0, 0, 0, 0, node.address().octets()[3].into())
}

/// A pod's address of the node, on the node itself.
fn pods_address(node: &Node) -> Result<Ipv6Addr> {
    let text = node.read("/run/flannel/subnet.env")?;
    let line = text.lines().find_map(|line| line.strip_prefix("FLANNEL_IPV6_SUBNET="));
    let gateway: Ipv6Net = line.context("subnet.env has no FLANNEL_IPV6_SUBNET")?.parse()?;
    let address = Ipv6Addr::from(u128::from(gateway.network()) + 9);
    node.run(&format!("ip -6 address add {address}/128 dev lo nodad"))?;
    Outside.run(&format!("ip -6 route replace {} via {}", gateway.trunc(), self::address(node)))?;
    Ok(address)
}

fn rows(scenario: &Scenario, node: &Node) -> Result<()> {
    let (own, nodes) = (pods_address(node)?, IpAddr::V6(address(node)));
    for protocol in ["tcp", "udp"] {
        let rule = format!("-p {protocol} --dport {MARKED} -j MARK --set-xmark 0x4000/0x4000");
        node.run(&format!("ip6tables -w -t mangle -A OUTPUT {rule}"))?;
    }
    for over in ["", "--udp"] {
        let flags = format!("{over} --from [{own}]:0 --count 3");
        for (port, wanted) in [(MIRROR, nodes), (MARKED, IpAddr::V6(own))] {
            let report = asked(node, (OUTSIDE, port), &flags)?;
            let right = report.answers.iter().all(|answer| answer.seen.ip() == wanted);
            ensure!(right, "port {port} {over}: {report:?}");
            scenario.note(format!("{}, port {port} {over}: seen as {wanted}", node.name()));
        }
    }
    multicast(node, own)
}

/// What goes to a group keeps its source.
fn multicast(node: &Node, own: Ipv6Addr) -> Result<()> {
    let line = format!(
        "seen --to [{GROUP}]:{GROUP_PORT} --udp --from [{own}]:0 --device eth0 --count 3 \
         --patience-ms 50"
    );
    let capture = traffic::sniff(&Outside, &format!("up-{}", node.name()), "--seconds 1")?;
    let asking: traffic::Running<crate::tools::seen::SeenReport> =
        traffic::Running::start(node, &line, "")?;
    asking.finish()?;
    let port = GROUP_PORT.to_be_bytes();
    let frames = capture.finish()?.frames;
    let mut sent = frames.iter().filter(|frame| frame.bytes.get(56..58) == Some(&port));
    let source = sent.next().and_then(|frame| frame.bytes.get(22..38)).context("nothing sent")?;
    ensure!(source == own.octets(), "to a group from {source:?}");
    Ok(())
}
