//! A cluster of two families: leases, annotations and subnet files of both, beside flannel's.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use ipnet::IpNet;

use super::{DEVICE, SEEN, SUBNET_ENV, shown};
use crate::api::{Client, NodeSpec};
use crate::cluster::{Servers, talk};
use crate::control_plane::{ControlPlane, Options, User};
use crate::flannel::{FlannelNode, prepare};
use crate::kube_cluster::{KubeMember, PREFIX, published, register};
use crate::lab::Lab;
use crate::node::{NET_CONF, Node};
use crate::pod::link_mac;
use crate::process::{Place as _, eventually};
use crate::scenario::Scenario;
use crate::wire::Wire;

const DUAL: &str = r#"{"Network":"10.244.0.0/16","IPv6Network":"fd00:10:244::/56","EnableIPv6":true,"EnableNFTables":false,"Backend":{"Type":"vxlan","VNI":1,"Port":8472}}"#;

/// The IPv6 address of a node on the wire, by its IPv4 address.
fn address6(node: &Node) -> String {
    format!("fd30::{:x}", node.address().octets()[3])
}

fn dual_node(lab: &Lab) -> Result<Node> {
    let node = lab.node()?;
    node.run(&format!("ip -6 address add {}/64 dev eth0 nodad", address6(&node)))?;
    node.sysctl("net.ipv6.conf.all.forwarding", "1")?;
    node.write(NET_CONF, DUAL)?;
    Ok(node)
}

pub(super) fn run(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let plane = ControlPlane::start(&lab, &Options::dual_stack())?;
    let mut ours =
        [KubeMember::new(&plane, dual_node(&lab)?)?, KubeMember::new(&plane, dual_node(&lab)?)?];
    let far = dual_node(&lab)?;
    prepare(&far)?;
    far.write(NET_CONF, DUAL)?;
    register(&plane, &far)?;
    let theirs = FlannelNode::start_prepared(&far, &plane.kubeconfig(&User::agent(far.name()))?)?;
    annotations(plane.admin(), &ours[0].node, &far)?;
    files(scenario, &ours[0].node, &far)?;
    flannel_reads_ours(plane.admin(), &far, &ours[0].node)?;
    ours_reads_flannels(plane.admin(), &ours[0], &far)?;
    let (pod, other, alien) = (ours[0].add_pod("a")?, ours[1].add_pod("a")?, theirs.add_pod("a")?);
    let _servers = [&pod, &other, &alien].map(Servers::start);
    for (from, to) in [(&pod, &other), (&other, &pod), (&pod, &alien), (&alien, &pod)] {
        talk(from, to, 100_000)?;
    }
    scenario.note("IPv4 goes through while both families are leased");
    half_a_peer_is_a_peer(plane.admin(), &ours[0])
}

/// Six keys of flannel's on both, each with the node's own values.
fn annotations(admin: &Client, ours: &Node, far: &Node) -> Result<()> {
    let (mine, theirs) = (published(admin, ours.name())?, published(admin, far.name())?);
    let keys = |of: &BTreeMap<String, String>| of.keys().cloned().collect::<Vec<_>>();
    ensure!(keys(&mine) == keys(&theirs), "{mine:?} beside flannel's {theirs:?}");
    ensure!(mine.len() == 6, "{mine:?}");
    ensure!(mine.get("public-ipv6") == Some(&address6(ours)), "{mine:?}");
    let data = mine.get("backend-v6-data").context("no backend-v6-data")?;
    let parts = data.strip_prefix(r#"{"VNI":1,"VtepMAC":""#).and_then(|d| d.strip_suffix(r#""}"#));
    ensure!(parts.is_some_and(|mac| mac.len() == 17), "backend-v6-data is {data}");
    Ok(())
}

/// The six lines of both have the same keys in the same order.
fn files(scenario: &Scenario, ours: &Node, far: &Node) -> Result<()> {
    let (mine, theirs) = (ours.read(SUBNET_ENV)?, far.read(SUBNET_ENV)?);
    scenario.note(format!("ours:\n{mine}flannel's:\n{theirs}"));
    let keys = |text: &str| -> Vec<String> {
        text.lines().filter_map(|line| Some(line.split_once('=')?.0.to_owned())).collect()
    };
    ensure!(keys(&mine) == keys(&theirs) && mine.lines().count() == 6, "{mine}\n{theirs}");
    for name in ["FLANNEL_NETWORK", "FLANNEL_IPV6_NETWORK"] {
        let value =
            |text: &str| text.lines().find(|line| line.starts_with(name)).map(str::to_owned);
        ensure!(value(&mine) == value(&theirs), "{name}: {mine}\n{theirs}");
    }
    Ok(())
}

fn flannel_reads_ours(admin: &Client, far: &Node, ours: &Node) -> Result<()> {
    let data = published(admin, ours.name())?.remove("backend-v6-data").unwrap_or_default();
    let mac = data.split('"').nth(5).with_context(|| format!("no MAC in {data}"))?.to_owned();
    let wanted = format!("{mac} dst {}", address6(ours));
    let mut said = String::new();
    eventually("flannel's IPv6 forwarding entry", SEEN, || {
        said = far.run("bridge fdb show dev flannel-v6.1")?;
        Ok(said.contains(&wanted))
    })
    .with_context(|| format!("{wanted} in {said}"))
}

/// IPv4 is in the table; the IPv6 subnet is leased, and nothing is called unreadable or refused.
fn ours_reads_flannels(admin: &Client, member: &KubeMember, far: &Node) -> Result<()> {
    let subnet = admin.wait_pod_cidr(far.name())?;
    eventually("flannel's node is in our table", SEEN, || {
        let rows = member.node.peer_rows()?;
        Ok(rows.get(&subnet.network()).is_some_and(|row| row.node == far.address()))
    })?;
    let state = member.state()?;
    let own6 = admin.wait_pod_cidrs(member.node.name())?;
    let own6 = own6.iter().find(|net| matches!(net, IpNet::V6(_))).context("no IPv6 range")?;
    ensure!(state["subnet6"] == own6.to_string(), "subnet6 is {}", state["subnet6"]);
    for list in ["refused", "unreadable"] {
        ensure!(state[list].as_array().is_some_and(Vec::is_empty), "{list}: {}", state[list]);
    }
    let mac = shown(link_mac(&member.node, DEVICE)?);
    ensure!(state["vtep_mac"] == mac, "{} is not {mac}", state["vtep_mac"]);
    Ok(())
}

/// One Node with IPv4 alone, one with a broken IPv6 half: both are IPv4 peers.
fn half_a_peer_is_a_peer(admin: &Client, member: &KubeMember) -> Result<()> {
    let of = |number: u8, more: &[(&str, &str)]| NodeSpec {
        annotations: [
            ("kube-subnet-manager", "true".to_owned()),
            ("backend-type", "vxlan".to_owned()),
            ("backend-data", format!(r#"{{"VNI":1,"VtepMAC":"02:00:00:00:00:{number:02}"}}"#)),
            ("public-ip", format!("172.30.0.{number}")),
        ]
        .into_iter()
        .chain(more.iter().map(|(key, value)| (*key, (*value).to_owned())))
        .map(|(key, value)| (format!("{PREFIX}{key}"), value))
        .collect(),
        ..NodeSpec::default()
    };
    let broken = [("public-ipv6", "not an address"), ("backend-v6-data", "{")];
    for (name, number, more) in [("half", 90, &[][..]), ("broken", 91, &broken)] {
        admin.create_node(name, &of(number, more))?;
        let subnet = admin.wait_pod_cidr(name)?;
        eventually(&format!("{name} is an IPv4 peer"), SEEN, || {
            Ok(member.node.peer_rows()?.contains_key(&subnet.network()))
        })?;
    }
    // The state file is written at the end of the pass that filled the table.
    let mut unreadable = String::new();
    eventually("the broken half is told of", SEEN, || {
        unreadable = member.state()?["unreadable"].to_string();
        Ok(unreadable.contains("broken"))
    })
    .with_context(|| format!("said of the broken half: {unreadable}"))
}
