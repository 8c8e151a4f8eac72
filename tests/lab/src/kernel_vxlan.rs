//! A node whose overlay is the kernel's vxlan, configured as flannel configures it: the peer to
//! talk to, and the baseline to measure against.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};
use ipnet::Ipv4Net;

use crate::lease::Lease;
use crate::node::Node;
use crate::pod::Pod;
use crate::process::Place as _;

const OVERLAY: &str = "flannel.1";
const BRIDGE: &str = "cni0";
/// The pods' MTU: the uplink's less the tunnel's 50 bytes.
const MTU: u16 = 1450;

/// A node with `flannel.1` and `cni0`.
#[derive(Debug)]
pub struct KernelVxlanNode {
    node: Node,
    lease: Lease,
    pods: std::cell::Cell<u8>,
}

impl KernelVxlanNode {
    /// Makes the devices for this part of the pod network.
    ///
    /// # Errors
    /// When the kernel refuses one.
    pub fn new(node: Node, subnet: Ipv4Net) -> Result<Self> {
        let vtep = vtep_mac(node.address());
        Self::with_vtep(node, subnet, vtep)
    }

    /// With this MAC address of the overlay device.
    ///
    /// # Errors
    /// When the kernel refuses a device.
    pub fn with_vtep(node: Node, subnet: Ipv4Net, vtep: String) -> Result<Self> {
        let lease = Lease { name: node.name().to_owned(), subnet, node: node.address(), vtep };
        let this = Self { node, lease, pods: std::cell::Cell::new(0) };
        this.overlay()?;
        this.bridge()?;
        Ok(this)
    }

    fn overlay(&self) -> Result<()> {
        let Lease { subnet, node: local, vtep, .. } = &self.lease;
        let node = &self.node;
        node.run(&format!(
            "ip link add {OVERLAY} address {vtep} mtu {MTU} txqueuelen 0 type vxlan id 1 \
             local {local} dev eth0 dstport 8472 nolearning"
        ))?;
        node.run(&format!("ip address add {}/32 dev {OVERLAY}", subnet.network()))?;
        node.run(&format!("ip link set {OVERLAY} up"))?;
        node.sysctl("net.ipv4.ip_forward", "1")
    }

    fn bridge(&self) -> Result<()> {
        let gateway = self.gateway()?;
        let length = self.lease.subnet.prefix_len();
        self.node.run(&format!("ip link add {BRIDGE} mtu {MTU} type bridge forward_delay 0"))?;
        self.node.run(&format!("ip address add {gateway}/{length} dev {BRIDGE}"))?;
        self.node.run(&format!("ip link set {BRIDGE} up")).map(drop)
    }

    fn gateway(&self) -> Result<Ipv4Addr> {
        self.lease.subnet.hosts().next().context("the lease has no first host")
    }

    /// The node below.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// What the node tells its peers.
    #[must_use]
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Adds a peer: permanent neighbour, forwarding entry, route.
    ///
    /// # Errors
    /// When the kernel refuses one.
    pub fn add_peer(&self, peer: &Lease) -> Result<()> {
        let Lease { subnet, node, vtep, .. } = peer;
        let first = subnet.network();
        self.node
            .run(&format!("ip neigh replace {first} lladdr {vtep} dev {OVERLAY} nud permanent"))?;
        self.node
            .run(&format!("bridge fdb replace {vtep} dev {OVERLAY} dst {node} self permanent"))?;
        self.node
            .run(&format!("ip route replace {subnet} via {first} dev {OVERLAY} onlink"))
            .map(drop)
    }

    /// Makes a pod on the bridge.
    ///
    /// # Errors
    /// When the kernel refuses a link, or the lease is used up.
    pub fn pod(&self, name: &str) -> Result<Pod> {
        let number = self.pods.get() + 1;
        self.pods.set(number);
        let host = self.lease.subnet.hosts().nth(usize::from(number));
        let address =
            Ipv4Net::new(host.context("the lease is used up")?, self.lease.subnet.prefix_len())?;
        let pod = self.node.pod(name)?;
        let link = format!("veth{number:04x}");
        pod.link(&link, address, MTU)?;
        self.node.run(&format!("ip link set {link} master {BRIDGE}"))?;
        self.node.run(&format!("bridge link set dev {link} hairpin on"))?;
        Ok(pod)
    }

    /// Flannel's masquerade and forward rules (iptables).
    ///
    /// # Errors
    /// When iptables refuses one.
    pub fn masquerade(&self, network: Ipv4Net) -> Result<()> {
        let subnet = self.lease.subnet;
        for rule in [
            format!("-t nat -A POSTROUTING -s {subnet} -d {network} -j RETURN"),
            format!("-t nat -A POSTROUTING -s {network} -d {subnet} -j RETURN"),
            format!(
                "-t nat -A POSTROUTING -s {network} ! -d 224.0.0.0/4 -j MASQUERADE --random-fully"
            ),
            format!(
                "-t nat -A POSTROUTING ! -s {network} -d {network} -j MASQUERADE --random-fully"
            ),
            format!("-A FORWARD -s {network} -j ACCEPT"),
            format!("-A FORWARD -d {network} -j ACCEPT"),
        ] {
            self.node.run(&format!("iptables -w {rule}"))?;
        }
        Ok(())
    }

    /// Writes the lease into the lab's lease directory, where the agents of other nodes find it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn publish(&self) -> Result<()> {
        self.lease.publish()
    }

    /// Adds every other node of the lease directory as a peer.
    ///
    /// # Errors
    /// When a lease cannot be read or the kernel refuses a peer.
    pub fn adopt_leases(&self) -> Result<()> {
        for peer in Lease::all()? {
            if peer.subnet != self.lease.subnet {
                self.add_peer(&peer)?;
            }
        }
        Ok(())
    }
}

/// A fixed MAC, so that captures of two runs can be compared.
fn vtep_mac(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("06:fe:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}
