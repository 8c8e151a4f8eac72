//! The laboratory: a wire and the hosts on it.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use anyhow::{Context as _, Result};

use crate::holder::Kind;
use crate::node::Node;
use crate::process::Place;
use crate::space::{Space, command_in};
use crate::wire::{Outside, Wire};

/// Must be made inside a [`Sandbox`](crate::sandbox::Sandbox); one per run.
#[derive(Debug)]
pub struct Lab {
    wire: Wire,
    hosts: AtomicU8,
}

impl Lab {
    /// Makes the wire.
    ///
    /// # Errors
    /// When the kernel refuses a link.
    pub fn new(wire: Wire) -> Result<Self> {
        wire.set_up().context("cannot make the wire")?;
        Ok(Self { wire, hosts: AtomicU8::new(0) })
    }

    /// The kind of wire.
    #[must_use]
    pub fn wire(&self) -> Wire {
        self.wire
    }

    /// Adds a node: `node1` at 172.30.0.11, `node2` at 172.30.0.12 and so on.
    ///
    /// # Errors
    /// When the kernel refuses a namespace, a mount or a link.
    pub fn node(&self) -> Result<Node> {
        let number = self.next()?;
        self.named_node(number, Kind::Node)
    }

    /// Adds a node for a kubelet: with control groups of its own, its disks kept until the lab
    /// ends, and nothing of Tartan on it. The run needs [`Entry::with_kubelets`].
    ///
    /// [`Entry::with_kubelets`]: crate::scenario::Entry::with_kubelets
    ///
    /// # Errors
    /// As [`Lab::node`], and when the run has no control groups.
    pub fn kubelet_node(&self) -> Result<Node> {
        self.named_node(self.next()?, Kind::Kubelet)
    }

    /// Starts the machine of a node with a kubelet again: the same name, address and disks.
    ///
    /// # Errors
    /// As [`Lab::kubelet_node`].
    pub fn kubelet_node_again(&self, number: u8) -> Result<Node> {
        Outside.succeeds(&format!("ip link del up-node{number}"))?;
        self.named_node(number, Kind::Kubelet)
    }

    /// Makes a node anew, with the name and the addresses of one that was dropped.
    ///
    /// # Errors
    /// As [`Lab::node`].
    pub fn node_again(&self, number: u8) -> Result<Node> {
        // The kernel takes its time over the links of a dropped node; it may be done already.
        Outside.succeeds(&format!("ip link del up-node{number}"))?;
        self.named_node(number, Kind::Node)
    }

    fn named_node(&self, number: u8, kind: Kind) -> Result<Node> {
        let space = Space::new(&format!("node{number}"), address(number), kind)?;
        let node = Node::new(space);
        self.wire.plug(&node, node.pid(), node.address())?;
        node.prepare(kind)?;
        Ok(node)
    }

    /// Several nodes at once.
    ///
    /// # Errors
    /// As [`Lab::node`].
    pub fn nodes<const N: usize>(&self) -> Result<[Node; N]> {
        let nodes = (0..N).map(|_| self.node()).collect::<Result<Vec<_>>>()?;
        nodes.try_into().ok().context("not as many nodes as asked for")
    }

    /// Adds a host on the wire that is no node: the lab's file system, its own network.
    ///
    /// # Errors
    /// As [`Lab::node`].
    pub fn outsider(&self, name: &str) -> Result<Outsider> {
        let number = self.next()?;
        let space = Space::new(name, address(number), Kind::Outsider)?;
        let host = Outsider { space: Arc::new(space) };
        self.wire.plug(&host, host.space.pid(), host.address())?;
        Ok(host)
    }

    fn next(&self) -> Result<u8> {
        let next = |hosts: u8| hosts.checked_add(1).filter(|number| *number < 200);
        let last = self.hosts.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        Ok(last.ok().context("the lab has room for 199 hosts")? + 1)
    }
}

/// The address of the host with this number.
fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(172, 30, 0, 10 + number)
}

/// A host on the wire that is no node of the cluster.
#[derive(Debug, Clone)]
pub struct Outsider {
    space: Arc<Space>,
}

impl Outsider {
    /// Its address on the wire.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.space.address
    }
}

impl Place for Outsider {
    fn label(&self) -> String {
        self.space.name.clone()
    }

    fn command(&self, program: &str) -> Command {
        command_in(&self.space, None, program)
    }
}
