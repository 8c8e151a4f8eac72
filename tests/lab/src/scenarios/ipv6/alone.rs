//! A cluster of IPv6 alone: its nodes and pods have no IPv4 address, and its API server is reached
//! over IPv6.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{reach, serve};
use crate::cluster::pairs;
use crate::control_plane::{ControlPlane, Options, User};
use crate::flannel::{FlannelNode, chain, prepare};
use crate::ipv6::{address6, plug6, pod_address6, unplug4};
use crate::kube_cluster::{KubeMember, published, register_at};
use crate::lab::Lab;
use crate::node::{NET_CONF, Node};
use crate::pod::Pod;
use crate::process::{Place as _, checked, eventually};
use crate::scenario::Scenario;
use crate::wire::Wire;

const ALONE: &str = r#"{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd00:10:244::/56","FastPath":"on","Backend":{"Type":"vxlan","VNI":1,"Port":8472}}"#;
/// What flannel reads: it knows no fast path.
const FLANNELS: &str = r#"{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd00:10:244::/56","EnableNFTables":false,"Backend":{"Type":"vxlan","VNI":1,"Port":8472}}"#;
const SUBNET_ENV: &str = "/run/flannel/subnet.env";
/// How long an agent may take until what it does is seen.
pub(super) const SOON: Duration = Duration::from_secs(20);

struct Ground {
    plane: ControlPlane,
    ours: Vec<KubeMember>,
    pods: Vec<Pod>,
}

impl Ground {
    fn new(lab: &Lab, nodes: usize, pods: usize) -> Result<Self> {
        let plane = ControlPlane::start(lab, &Options::ipv6_alone())?;
        let mut this = Self { plane, ours: Vec::new(), pods: Vec::new() };
        for _ in 0..nodes {
            let node = node(lab, &this.plane, ALONE)?;
            let mut member = KubeMember::registered(&this.plane, node)?;
            member.start_agent(&["--ip-masq"])?;
            this.ours.push(member);
        }
        for member in &this.ours {
            for name in ["a", "b"].iter().take(pods) {
                let pod = member.node.pod(name)?;
                pod.runtime().add()?;
                this.pods.push(pod);
            }
        }
        this.await_peers(nodes - 1)?;
        Ok(this)
    }

    fn await_peers(&self, others: usize) -> Result<()> {
        for member in &self.ours {
            eventually("IPv6 peers", SOON, || {
                Ok(rows(&member.node)?.iter().filter(|row| row["programmed"] == true).count()
                    >= others)
            })?;
        }
        Ok(())
    }

    fn nothing_is_wrong(&self, scenario: &Scenario) -> Result<()> {
        for member in &self.ours {
            let drops = member.node.drops()?;
            scenario.note(format!("{}: drops {drops:?}", member.node.name()));
            ensure!(drops.total() == 0, "dropped: {drops:?}");
            let state = member.state()?;
            ensure!(state["problems"].as_array().is_some_and(Vec::is_empty), "{state}");
            scenario.note(checked(member.node.product("tartanctl")?.arg("status"))?);
        }
        Ok(())
    }
}

/// A node of the wire without an IPv4 address, and its Node object.
fn node(lab: &Lab, plane: &ControlPlane, net_conf: &str) -> Result<Node> {
    let node = lab.node()?;
    plug6(&node, node.address())?;
    unplug4(&node)?;
    node.write(NET_CONF, net_conf)?;
    register_at(plane, &node, &[address6(node.address()).into()])?;
    Ok(node)
}

/// What `tartanctl peers` lists.
fn rows(node: &Node) -> Result<Vec<Value>> {
    let text = checked(node.product("tartanctl")?.args(["peers", "-o", "json"]))?;
    let listing: Value = serde_json::from_str(&text)?;
    Ok(listing["peers"].as_array().context("no peers")?.clone())
}

pub(super) fn all(scenario: &mut Scenario, wire: Wire) -> Result<()> {
    let lab = scenario.lab(wire)?;
    let ground = Ground::new(&lab, 2, 2)?;
    surface(scenario, &ground)?;
    let _servers = ground.pods.iter().map(|pod| serve(pod)).collect::<Result<Vec<_>>>()?;
    let pods: Vec<&Pod> = ground.pods.iter().collect();
    for (from, to) in pairs(&pods) {
        let ip = IpAddr::V6(pod_address6(to)?);
        reach(from, ip, 300_000)
            .with_context(|| format!("from {} to {}", from.label(), to.label()))?;
        from.run(&format!("ping -n -c 1 -W 2 -s 9000 {ip}"))?;
    }
    for member in &ground.ours {
        for pod in &ground.pods {
            let label = (member.node.label(), pod.label());
            reach(&member.node, pod_address6(pod)?.into(), 100_000)
                .with_context(|| format!("from and to {label:?}"))?;
        }
    }
    ground.nothing_is_wrong(scenario)
}

/// Annotations and files are flannel's of such a node, and pods have nothing of IPv4.
fn surface(scenario: &Scenario, ground: &Ground) -> Result<()> {
    let node = &ground.ours[0].node;
    let published = published(ground.plane.admin(), node.name())?;
    let keys: Vec<_> = published.keys().map(String::as_str).collect();
    let wanted = ["backend-type", "backend-v6-data", "kube-subnet-manager", "public-ipv6"];
    ensure!(keys == wanted, "{published:?}");
    let env = node.read(SUBNET_ENV)?;
    scenario.note(&env);
    let keys: Vec<_> = env.lines().filter_map(|line| line.split('=').next()).collect();
    let wanted = ["FLANNEL_IPV6_NETWORK", "FLANNEL_IPV6_SUBNET", "FLANNEL_MTU", "FLANNEL_IPMASQ"];
    ensure!(keys == wanted && env.contains("FLANNEL_MTU=1450"), "{env}");
    let pod = &ground.pods[0];
    let shown = pod.run("ip address show dev eth0")?;
    ensure!(!shown.contains("inet ") && shown.contains("mtu 1430"), "{shown}");
    let row = rows(node)?.pop().context("no peer")?;
    ensure!(row["public_ip"] == address6(ground.ours[1].node.address()).to_string(), "{row}");
    Ok(())
}

/// The kernel's vxlan over IPv6, as the real flannel sets it up without IPv4, on the other side.
pub(super) fn beside_flannel(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Framed)?;
    let ground = Ground::new(&lab, 2, 1)?;
    let far = node(&lab, &ground.plane, FLANNELS)?;
    far.sysctl("net.ipv6.conf.all.forwarding", "1")?;
    prepare(&far)?;
    far.write(NET_CONF, FLANNELS)?;
    let kubeconfig = ground.plane.kubeconfig(&User::agent(far.name()))?;
    let _theirs = FlannelNode::start_prepared(&far, &kubeconfig)?;
    ground.await_peers(2)?;
    let (mine, theirs) = (ground.ours[0].node.name(), far.name());
    let keys = |name| -> Result<Vec<String>> {
        Ok(published(ground.plane.admin(), name)?.into_keys().collect())
    };
    ensure!(keys(mine)? == keys(theirs)?, "{:?} beside {:?}", keys(mine)?, keys(theirs)?);
    let alien = far.pod("a")?;
    chain(&alien, "add")?;
    // flannel gives its pods 1450 bytes, which a tunnel over IPv6 does not carry on this wire.
    alien.run("ip link set eth0 mtu 1430")?;
    let ip = IpAddr::V6(pod_address6(&alien)?);
    let _alien = serve(&alien)?;
    eventually("flannel's pod answers", SOON, || {
        ground.pods[0].succeeds(&format!("ping -n -c 1 -W 1 {ip}"))
    })?;
    for pod in &ground.pods {
        let _servers = serve(pod)?;
        reach(pod, ip, 1_000_000).context("to flannel's pod")?;
        reach(&alien, pod_address6(pod)?.into(), 1_000_000).context("from flannel's pod")?;
    }
    ground.nothing_is_wrong(scenario)
}

/// A restarted agent finds everything again; what somebody deletes comes back.
pub(super) fn repairs(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let mut ground = Ground::new(&lab, 2, 1)?;
    let ip = pod_address6(&ground.pods[0])?;
    let far = ground.pods[1].clone();
    let node = ground.ours[0].node.clone();
    let answers =
        |what: &str| eventually(what, SOON, || far.succeeds(&format!("ping -n -c 1 -W 1 {ip}")));
    for deletion in [
        format!("ip -6 route del {ip}/128"),
        "ip -6 route del fd00:10:244::/56".to_owned(),
        "ip link del flannel.1".to_owned(),
        "rm /sys/fs/bpf/tartan/maps/PODS6".to_owned(),
    ] {
        node.run(&deletion)?;
        answers(&format!("pods answer after {deletion}"))?;
        scenario.note(deletion);
    }
    let before = published(ground.plane.admin(), node.name())?;
    ground.ours[0].stop_agent(nix::sys::signal::Signal::SIGKILL)?;
    far.run(&format!("ping -n -c 1 -W 2 {ip}")).context("without the agent")?;
    ground.ours[0].start_agent(&["--ip-masq"])?;
    answers("pods answer after a restart")?;
    ensure!(published(ground.plane.admin(), node.name())? == before, "published anew");
    let pod = &ground.pods[0];
    pod.runtime().del()?;
    let left = node.run("ip -6 route show table main")?;
    ensure!(!left.contains(&ip.to_string()), "{left}");
    Ok(())
}
