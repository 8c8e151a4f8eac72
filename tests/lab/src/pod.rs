//! A pod: a network namespace in its node's private /run/netns.

use std::fs::File;
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use ipnet::Ipv4Net;

use crate::cni::{Attachment, Runtime};
use crate::frames::{self, MacBytes};
use crate::node::Node;
use crate::process::Place;
use crate::space::command_in;

/// A pod of the lab; clones are handles to the same pod.
#[derive(Debug, Clone)]
pub struct Pod {
    node: Node,
    name: String,
    net: Arc<File>,
    address: Arc<Mutex<Option<Ipv4Addr>>>,
}

impl Pod {
    pub(crate) fn new(node: Node, name: &str) -> Result<Self> {
        node.run(&format!("ip netns add {name}"))?;
        let path = node.path(format!("/run/netns/{name}"));
        let net = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        let pod = Self { node, name: name.to_owned(), net: Arc::new(net), address: Arc::default() };
        pod.run("ip link set lo up")?;
        Ok(pod)
    }

    /// Its node.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Its name on its node; also that of its network namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The path of its network namespace on the node.
    #[must_use]
    pub fn netns(&self) -> String {
        format!("/run/netns/{}", self.name)
    }

    /// The container id that the lab's runtime gives it.
    #[must_use]
    pub fn container_id(&self) -> String {
        format!("{}-{}", self.node.name(), self.name)
    }

    /// Its address.
    ///
    /// # Errors
    /// When nothing gave it one yet.
    pub fn address(&self) -> Result<Ipv4Addr> {
        let address = self.address.lock().unwrap_or_else(PoisonError::into_inner);
        address.with_context(|| format!("{} has no address yet", self.label()))
    }

    pub(crate) fn set_address(&self, address: Ipv4Addr) {
        *self.address.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
    }

    /// The MAC address of its `eth0`.
    ///
    /// # Errors
    /// When it has none yet.
    pub fn mac(&self) -> Result<MacBytes> {
        link_mac(self, "eth0")
    }

    /// The node's end of its `eth0`.
    ///
    /// # Errors
    /// When it has none yet.
    pub fn host_link(&self) -> Result<String> {
        let (name, _) = self.host_end()?;
        Ok(name)
    }

    /// The MAC address of the node's end of its `eth0`, or of the bridge that this is a port of.
    ///
    /// # Errors
    /// When it has none yet.
    pub fn gateway_mac(&self) -> Result<MacBytes> {
        let (name, bridge) = self.host_end()?;
        link_mac(&self.node, &bridge.unwrap_or(name))
    }

    /// The node's end of `eth0`, and the bridge that it is a port of.
    fn host_end(&self) -> Result<(String, Option<String>)> {
        let shown = self.run("ip -o link show dev eth0")?;
        let index = shown.split("@if").nth(1).and_then(|rest| rest.split(':').next());
        let index = index.with_context(|| format!("eth0 has no peer: {shown}"))?;
        let links = self.node.run("ip -o link show")?;
        let peer = links.lines().find(|link| link.starts_with(&format!("{index}: ")));
        let peer = peer.context("the node has no link of the pod's peer")?;
        let mut words = peer.split_whitespace().skip(1);
        let name = words.next().and_then(|name| name.split('@').next());
        let bridge = words.skip_while(|word| *word != "master").nth(1);
        Ok((name.context("a link without a name")?.to_owned(), bridge.map(str::to_owned)))
    }

    /// Connects the pod: CNI ADD with the node's configuration, as the container runtime does.
    ///
    /// # Errors
    /// When the plugin fails (the error carries its code and message) or its result has no address.
    pub fn cni_add(&self) -> Result<Attachment> {
        let attachment = self.runtime().add()?;
        self.set_address(attachment.address()?.addr());
        Ok(attachment)
    }

    /// Disconnects the pod: CNI DEL.
    ///
    /// # Errors
    /// When the plugin fails.
    pub fn cni_del(&self) -> Result<()> {
        self.runtime().del()
    }

    /// Asks the plugin whether the pod is still connected as `added` says: CNI CHECK.
    ///
    /// # Errors
    /// When the plugin says no.
    pub fn cni_check(&self, added: &Attachment) -> Result<()> {
        self.runtime().check(added)
    }

    /// The runtime's side of CNI, for odd requests.
    #[must_use]
    pub fn runtime(&self) -> Runtime<'_> {
        Runtime::new(self)
    }

    /// Gives the pod one end of a veth, with an address and a default route; the other end is
    /// `host_link` on the node.
    pub(crate) fn link(&self, host_link: &str, address: Ipv4Net, mtu: u16) -> Result<()> {
        let gateway = address.hosts().next().context("the subnet has no first host")?;
        let netns = &self.name;
        self.node.run(&format!(
            "ip link add {host_link} mtu {mtu} type veth peer name eth0 mtu {mtu} netns {netns}"
        ))?;
        self.node.run(&format!("ip link set {host_link} up"))?;
        self.run(&format!("ip address add {address} dev eth0"))?;
        self.run("ip link set eth0 up")?;
        self.run(&format!("ip route add default via {gateway} dev eth0"))?;
        self.set_address(address.addr());
        Ok(())
    }

    /// Removes the pod's network namespace, as a runtime does after DEL.
    ///
    /// # Errors
    /// When `ip netns del` fails.
    pub fn remove(self) -> Result<()> {
        self.node.run(&format!("ip netns del {}", self.name)).map(drop)
    }
}

/// The MAC address of a link.
///
/// # Errors
/// When there is no such link.
pub fn link_mac(place: &dyn Place, link: &str) -> Result<MacBytes> {
    let shown = place.run(&format!("ip -o link show dev {link}"))?;
    let address = shown.split_whitespace().skip_while(|word| *word != "link/ether").nth(1);
    frames::mac(address.with_context(|| format!("{link} has no MAC: {shown}"))?)
}

impl Place for Pod {
    fn label(&self) -> String {
        format!("{}/{}", self.node.name(), self.name)
    }

    fn command(&self, program: &str) -> Command {
        command_in(self.node.space(), Some(&self.net), program)
    }
}
