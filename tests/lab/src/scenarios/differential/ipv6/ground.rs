//! Our node, the peer, and the node that takes our place with the kernel's vxlan.

use std::net::Ipv6Addr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use ipnet::{IpNet, Ipv6Net};

use crate::control_plane::ControlPlane;
use crate::frames::MacBytes;
use crate::ipv6::{address6, plug6, pod_address6};
use crate::kube_cluster::{KubeMember, PREFIX, published, register};
use crate::lab::Lab;
use crate::node::{NET_CONF, Node};
use crate::pod::{Pod, link_mac};
use crate::process::{Place as _, eventually};

const CONF: &str = r#"{"Network":"10.244.0.0/16","IPv6Network":"fd00:10:244::/56","EnableIPv6":true,"FastPath":"on","Backend":{"Type":"vxlan"}}"#;
const OVERLAY: &str = "flannel-v6.1";
/// The pods' MTU: the uplink's less the tunnel's 70 bytes.
const MTU: u16 = 1430;
/// The peer's VTEP.
const FAR_VTEP: &str = "06:fe:00:00:00:02";

/// What is known of one node: what it tells the others, and its pod.
#[derive(Debug, Clone)]
pub(in super::super) struct Side {
    pub(in super::super) node: Ipv6Addr,
    pub(in super::super) station: MacBytes,
    pub(in super::super) subnet: Ipv6Net,
    pub(in super::super) vtep: String,
    pub(in super::super) pod: Ipv6Addr,
}

impl Side {
    /// That of a node which Tartan runs.
    pub(super) fn published(plane: &ControlPlane, node: &Node, pod: &Pod) -> Result<Self> {
        let data = published(plane.admin(), node.name())?;
        let data: serde_json::Value =
            serde_json::from_str(data.get("backend-v6-data").context("no backend-v6-data")?)?;
        let vtep = data["VtepMAC"].as_str().context("no VtepMAC")?.to_owned();
        let pod = pod_address6(pod)?;
        let (subnet, station) = (subnet6(plane, node)?, link_mac(node, "eth0")?);
        Ok(Self { node: address6(node.address()), station, subnet, vtep, pod })
    }
}

fn subnet6(plane: &ControlPlane, node: &Node) -> Result<Ipv6Net> {
    let ranges = plane.admin().wait_pod_cidrs(node.name())?;
    let subnet = ranges.iter().find_map(|range| match range {
        IpNet::V6(net) => Some(*net),
        IpNet::V4(_) => None,
    });
    subnet.with_context(|| format!("no IPv6 podCIDR: {ranges:?}"))
}

/// Our node and its pod.
pub(super) fn own_node(lab: &Lab, plane: &ControlPlane) -> Result<(KubeMember, Pod)> {
    let node = lab.node()?;
    plug6(&node, node.address())?;
    node.write(NET_CONF, CONF)?;
    let mut member = KubeMember::without_agent(plane, node)?;
    member.start_agent(&[])?;
    let pod = member.add_pod("a")?;
    Ok((member, pod))
}

/// The peer: the kernel's vxlan, known to the others by its annotations.
pub(super) struct Far {
    pub(super) node: Node,
    pub(super) side: Side,
    reference: Reference,
}

pub(super) fn far_node(lab: &Lab, plane: &ControlPlane) -> Result<(Far, Pod)> {
    let node = lab.node()?;
    plug6(&node, node.address())?;
    register(plane, &node)?;
    let subnet = subnet6(plane, &node)?;
    let pod = subnet.hosts().nth(2).context("no third host")?;
    let station = link_mac(&node, "eth0")?;
    let vtep = FAR_VTEP.to_owned();
    let side = Side { node: address6(node.address()), station, subnet, vtep, pod };
    let reference = Reference::new(node.clone(), &side)?;
    let target = reference.pod("t", &side)?;
    let data = format!(r#"{{"VNI":1,"VtepMAC":"{FAR_VTEP}"}}"#);
    for (key, value) in [
        ("backend-type", "vxlan"),
        ("backend-data", &data),
        ("public-ip", &node.address().to_string()),
        ("backend-v6-data", &data),
        ("public-ipv6", &side.node.to_string()),
        ("kube-subnet-manager", "true"),
    ] {
        plane.admin().annotate_node(node.name(), &format!("{PREFIX}{key}"), Some(value))?;
    }
    Ok((Far { node, side, reference }, target))
}

impl Far {
    /// Sends to this node from now on.
    pub(super) fn adopt(&self, own: &Side) -> Result<()> {
        self.reference.add_peer(own)
    }
}

/// A node with the kernel's vxlan over IPv6, as flannel sets it up.
pub(super) struct Reference {
    node: Node,
}

impl Reference {
    pub(super) fn new(node: Node, own: &Side) -> Result<Self> {
        let Side { node: local, subnet, vtep, .. } = own;
        if !node.run("ip -6 address show dev eth0")?.contains(&local.to_string()) {
            plug6(&node, node.address())?;
        }
        node.sysctl("net.ipv6.conf.all.forwarding", "1")?;
        // Connection tracking puts fragments together, on nodes of either kind.
        node.run("ip6tables -w -A FORWARD -m conntrack --ctstate NEW")?;
        node.run(&format!(
            "ip link add {OVERLAY} address {vtep} mtu {MTU} txqueuelen 0 type vxlan id 1 \
             local {local} dev eth0 dstport 8472 nolearning"
        ))?;
        node.run(&format!("ip address add {}/128 dev {OVERLAY} nodad", subnet.network()))?;
        node.run(&format!("ip link set {OVERLAY} up"))?;
        Ok(Self { node })
    }

    pub(super) fn add_peer(&self, peer: &Side) -> Result<()> {
        let Side { node, subnet, vtep, .. } = peer;
        let first = subnet.network();
        for line in [
            format!("ip -6 neigh replace {first} lladdr {vtep} dev {OVERLAY} nud permanent"),
            format!("bridge fdb replace {vtep} dev {OVERLAY} dst {node} self permanent"),
            format!("ip -6 route replace {subnet} via {first} dev {OVERLAY} onlink"),
        ] {
            self.node.run(&line)?;
        }
        Ok(())
    }

    /// A pod with the side's address, on a link of its own.
    pub(super) fn pod(&self, name: &str, side: &Side) -> Result<Pod> {
        let pod = self.node.pod(name)?;
        let gateway = side.subnet.hosts().nth(1).context("no first host")?;
        self.node.run(&format!(
            "ip link add veth0 mtu {MTU} type veth peer name eth0 mtu {MTU} netns {name}"
        ))?;
        let node = [
            "ip link set veth0 up".to_owned(),
            format!("ip -6 address add {gateway}/128 dev veth0 nodad"),
            format!("ip -6 route add {}/128 dev veth0", side.pod),
        ];
        node.iter().try_for_each(|line| self.node.run(line).map(drop))?;
        let inside = [
            "ip link set eth0 up".to_owned(),
            format!("ip -6 address add {}/128 dev eth0 nodad", side.pod),
            format!("ip -6 route add {gateway}/128 dev eth0"),
            format!("ip -6 route add default via {gateway} dev eth0"),
        ];
        inside.iter().try_for_each(|line| pod.run(line).map(drop))?;
        eventually("the pod reaches its node", Duration::from_secs(5), || {
            pod.succeeds(&format!("ping -n -c 1 -W 1 {gateway}"))
        })?;
        Ok(pod)
    }
}
