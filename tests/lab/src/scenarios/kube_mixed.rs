//! Tartan and the real flannel in one cluster, on the real API server: each finds the other by its
//! annotations, and neither forgets itself.

mod dual_stack;
mod one_range;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ipnet::Ipv4Net;
use nix::sys::signal::Signal;

use crate::api::Client;
use crate::cluster::{Servers, pairs, talk};
use crate::control_plane::{ControlPlane, Options};
use crate::flannel::FlannelNode;
use crate::frames::{MacBytes, mac};
use crate::kube_cluster::{KubeMember, flannel_node, published};
use crate::lab::Lab;
use crate::node::Node;
use crate::pod::{Pod, link_mac};
use crate::process::{Place as _, eventually};
use crate::scenario::{Entry, Scenario};
use crate::traffic::{self, ProbeReport, Running};
use crate::wire::Wire;

pub(super) static SCENARIOS: &[Entry] = &[
    Entry::new("kube_mixed::two_of_ours_and_one_of_flannels", together).within(120).with_tools(),
    Entry::new("kube_mixed::leases_of_both_families", dual_stack::run).within(90).with_tools(),
    Entry::new("kube_mixed::one_range_is_never_two_nodes", one_range::run).within(90).with_tools(),
];

/// How long a change may take from one agent to the tables of another.
const SEEN: Duration = Duration::from_secs(5);
const DEVICE: &str = "flannel.1";
const SUBNET_ENV: &str = "/run/flannel/subnet.env";

/// Two nodes of ours and one of flannel's.
struct Mixed {
    plane: ControlPlane,
    ours: [KubeMember; 2],
    theirs: FlannelNode,
    pods: Vec<Pod>,
    _servers: Vec<Servers>,
}

impl Mixed {
    fn new(lab: &Lab) -> Result<Self> {
        let plane = ControlPlane::start(lab, &Options::default())?;
        let member = || KubeMember::new(&plane, lab.node()?);
        let mut ours = [member()?, member()?];
        let theirs = flannel_node(&plane, &lab.node()?)?;
        let mut pods = Vec::new();
        for member in &mut ours {
            pods.extend([member.add_pod("a")?, member.add_pod("b")?]);
        }
        pods.extend([theirs.add_pod("a")?, theirs.add_pod("b")?]);
        let servers = pods.iter().map(Servers::start).collect::<Result<_>>()?;
        Ok(Self { plane, ours, theirs, pods, _servers: servers })
    }

    fn admin(&self) -> &Client {
        self.plane.admin()
    }

    fn nodes(&self) -> [&Node; 3] {
        [&self.ours[0].node, &self.ours[1].node, self.theirs.node()]
    }

    fn all_talk(&self, bytes: u64) -> Result<()> {
        let pods: Vec<_> = self.pods.iter().collect();
        pairs(&pods).into_iter().try_for_each(|(from, to)| talk(from, to, bytes))
    }

    /// What flannel's tables say of a node of ours, and ours of flannel's.
    fn each_knows_the_other(&self) -> Result<()> {
        let far = self.theirs.node();
        for member in &self.ours {
            let subnet = self.admin().wait_pod_cidr(member.node.name())?;
            flannel_knows(far, &member.node, subnet)?;
            let rows = member.node.peer_rows()?;
            let row = rows.get(&self.admin().wait_pod_cidr(far.name())?.network());
            let row = row.with_context(|| format!("{rows:?}"))?;
            ensure!(
                row.node == far.address() && row.vtep == link_mac(far, DEVICE)?,
                "ours has {row:?}"
            );
            let state = member.state()?;
            let peers = state["peers"].as_array().context("no peers in the state")?;
            ensure!(
                peers.iter().any(|peer| peer["node_name"] == far.name()),
                "{peers:?} lacks {}",
                far.name()
            );
        }
        Ok(())
    }
}

/// Route, neighbour and forwarding entry on flannel's node.
fn flannel_knows(far: &Node, node: &Node, subnet: Ipv4Net) -> Result<()> {
    let device_mac = shown(link_mac(node, DEVICE)?);
    let (first, address) = (subnet.network(), node.address());
    for (line, wanted) in [
        (format!("ip route show dev {DEVICE}"), format!("{subnet} via {first} onlink")),
        (format!("ip neigh show dev {DEVICE}"), format!("{first} lladdr {device_mac} PERMANENT")),
        (format!("bridge fdb show dev {DEVICE}"), format!("{device_mac} dst {address}")),
    ] {
        let mut said = String::new();
        eventually(&format!("{}: {wanted}", far.name()), SEEN, || {
            said = far.run(&line)?;
            Ok(said.contains(&wanted))
        })
        .with_context(|| format!("{line}: {said}"))?;
    }
    Ok(())
}

fn shown(mac: MacBytes) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// flannel's annotations of an IPv4 node, byte by byte.
fn annotations_are_flannels(admin: &Client, node: &Node) -> Result<()> {
    let data = format!(r#"{{"VNI":1,"VtepMAC":"{}"}}"#, shown(link_mac(node, DEVICE)?));
    let address = node.address().to_string();
    let wanted = [
        ("backend-data", data.as_str()),
        ("backend-type", "vxlan"),
        ("kube-subnet-manager", "true"),
        ("public-ip", &address),
    ];
    let wanted = wanted.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let found = published(admin, node.name())?;
    ensure!(found == wanted, "{}: {found:?}, not {wanted:?}", node.name());
    Ok(())
}

fn is_in_service(admin: &Client, node: &Node) -> Result<()> {
    eventually(&format!("{} has a network", node.name()), SEEN, || {
        let condition = admin.node_condition(node.name(), "NetworkUnavailable")?;
        Ok(condition.is_some_and(|condition| {
            condition["status"] == "False"
                && condition["reason"] == "FlannelIsUp"
                && condition["message"] == "Flannel is running on this node"
        }))
    })
}

fn together(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let mut mixed = Mixed::new(&lab)?;
    scenario.note("two nodes of ours and one of flannel's, two pods each");
    mixed.all_talk(100_000)?;
    scenario.note("all 30 ordered pairs talk");
    mixed.each_knows_the_other()?;
    for node in mixed.nodes() {
        annotations_are_flannels(mixed.admin(), node)?;
        is_in_service(mixed.admin(), node)?;
    }
    subnet_files_have_one_form(&mixed)?;
    restarts_keep_everything(scenario, &mut mixed)?;
    scenario.note("both agents were killed and started: MAC address and lease stay");
    a_new_mac_reaches_flannel(&mixed)?;
    mixed.all_talk(10_000)?;
    scenario.note("a new MAC address of ours reached flannel");
    Ok(())
}

/// Only the subnets and flannel's own `--ip-masq` tell the files apart.
fn subnet_files_have_one_form(mixed: &Mixed) -> Result<()> {
    let form = |node: &Node| -> Result<String> {
        let subnet = mixed.admin().wait_pod_cidr(node.name())?;
        let gateway = subnet.hosts().next().context("an empty subnet")?;
        let text = node.read(SUBNET_ENV)?.replace(&format!("{gateway}/"), "GATEWAY/");
        Ok(text.replace("IPMASQ=true", "IPMASQ=false"))
    };
    let [one, two, far] = mixed.nodes();
    let theirs = form(far)?;
    ensure!(form(one)? == theirs && form(two)? == theirs, "{} is not {theirs}", form(one)?);
    Ok(())
}

/// What must outlive an agent.
#[derive(Debug, PartialEq)]
struct Identity {
    mac: MacBytes,
    annotations: std::collections::BTreeMap<String, String>,
    subnet: String,
}

fn identity(admin: &Client, node: &Node) -> Result<Identity> {
    Ok(Identity {
        mac: link_mac(node, DEVICE)?,
        annotations: published(admin, node.name())?,
        subnet: node.read(SUBNET_ENV)?,
    })
}

/// The kernel takes the routes to the pods away with the device whose address is their source. A
/// started agent leaves pods that it does not know yet to the plugin for 3 s.
fn the_stack_reaches_neighbours_again(mixed: &Mixed) -> Result<Duration> {
    let (start, to) = (Instant::now(), mixed.pods[1].address()?);
    let ping = format!("ping -n -c 1 -W 1 {to}");
    eventually("a pod reaches its neighbour", SEEN, || mixed.pods[0].succeeds(&ping))?;
    Ok(start.elapsed())
}

/// Two pods of one node of ours, which must not notice what becomes of the agent and its device.
fn neighbours(mixed: &Mixed) -> Result<Running<Vec<ProbeReport>>> {
    traffic::udp_probe(&mixed.pods[0], &[mixed.pods[1].address()?.into()], 200, 300.0)
}

fn restarts_keep_everything(scenario: &Scenario, mixed: &mut Mixed) -> Result<()> {
    let identities = |mixed: &Mixed| -> Result<Vec<Identity>> {
        mixed.nodes().into_iter().map(|node| identity(mixed.admin(), node)).collect()
    };
    let before = identities(mixed)?;
    let neighbours = neighbours(mixed)?;
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        mixed.theirs.stop(signal)?;
        mixed.ours[0].stop_agent(signal)?;
        // With its device, a node of either kind loses the nearest memory of its address.
        if signal == Signal::SIGTERM {
            for node in [mixed.theirs.node(), &mixed.ours[0].node] {
                node.run(&format!("ip link del {DEVICE}"))?;
            }
        }
        mixed.theirs.start_agent(&[])?;
        mixed.ours[0].start_agent(&[])?;
        let after = identities(mixed)?;
        ensure!(before == after, "after {signal}: {before:#?} is now {after:#?}");
    }
    mixed.each_knows_the_other()?;
    let missed = the_stack_reaches_neighbours_again(mixed)?;
    scenario.note(format!("the host's routes to its pods are back {missed:?} after the start"));
    let talked = mixed.all_talk(10_000);
    let neighbours = neighbours.stop()?;
    scenario.note(format!("pods of one node, meanwhile: {neighbours:?}"));
    ensure!(neighbours.iter().all(|probe| probe.lost + probe.refused == 0), "{neighbours:?}");
    talked
}

fn a_new_mac_reaches_flannel(mixed: &Mixed) -> Result<()> {
    let node = &mixed.ours[0].node;
    let new = "02:74:61:72:74:01";
    node.run(&format!("ip link set dev {DEVICE} address {new}"))?;
    let wanted = format!(r#"{{"VNI":1,"VtepMAC":"{new}"}}"#);
    eventually("the new MAC address is published", SEEN, || {
        Ok(published(mixed.admin(), node.name())?.get("backend-data") == Some(&wanted))
    })?;
    let subnet = mixed.admin().wait_pod_cidr(node.name())?;
    flannel_knows(mixed.theirs.node(), node, subnet)?;
    let other = &mixed.ours[1].node;
    eventually("the other node of ours follows", SEEN, || {
        let rows = other.peer_rows()?;
        Ok(rows.get(&subnet.network()).is_some_and(|row| mac(new).is_ok_and(|new| row.vtep == new)))
    })
}
