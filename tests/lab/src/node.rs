//! A node: network, mount and uts namespaces of its own, with every path of a real node.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, Result};

use crate::holder::Kind;
use crate::paths;
use crate::pod::Pod;
use crate::process::Place;
use crate::space::{Space, command_in};
use crate::wire::bridge_netfilter;

/// A node of the lab; clones are handles to the same node.
#[derive(Debug, Clone)]
pub struct Node {
    space: Arc<Space>,
}

/// Where the agent reads the network configuration.
pub const NET_CONF: &str = "/etc/kube-flannel/net-conf.json";
/// Where the runtime reads the CNI configuration.
pub const CONFLIST: &str = "/etc/cni/net.d/10-flannel.conflist";

const DEFAULT_NET_CONF: &str =
    r#"{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan","VNI":1,"Port":8472}}"#;

const DEFAULT_CONFLIST: &str =
    r#"{"name":"cbr0","cniVersion":"1.0.0","plugins":[{"type":"tartan-cni"}]}"#;

impl Node {
    pub(crate) fn new(space: Space) -> Self {
        Self { space: Arc::new(space) }
    }

    /// The configuration files and settings that an administrator would have put there.
    pub(crate) fn prepare(&self, kind: Kind) -> Result<()> {
        self.write("/etc/hostname", self.name())?;
        match kind {
            Kind::Outsider => Ok(()),
            Kind::Node => self.prepare_for_the_lab(),
            Kind::Kubelet => self.prepare_for_a_kubelet(),
        }
    }

    /// As kubeadm asks for, before anything of Kubernetes is there.
    fn prepare_for_a_kubelet(&self) -> Result<()> {
        self.sysctl("net.ipv4.ip_forward", "1")?;
        self.sysctl("net.ipv4.conf.all.rp_filter", "0")?;
        self.sysctl("net.ipv4.conf.default.rp_filter", "0")?;
        if bridge_netfilter()? {
            self.sysctl("net.bridge.bridge-nf-call-iptables", "1")?;
        }
        // A name server that refuses at once: nothing of a node asks the machine's own.
        let (id, last) = ("7a27a4", self.address().octets()[3]);
        self.shell(&format!(
            "echo {id}{last:026x} > /etc/machine-id; mkdir -p /etc/kubernetes /etc/containerd; \
             rm -f /etc/resolv.conf; echo nameserver 127.0.0.1 > /etc/resolv.conf"
        ))
        .map(drop)
    }

    fn prepare_for_the_lab(&self) -> Result<()> {
        // The lab must not depend on what the machine happens to have set.
        self.sysctl("net.ipv4.ip_forward", "0")?;
        self.sysctl("net.ipv4.conf.all.rp_filter", "0")?;
        self.sysctl("net.ipv4.conf.default.rp_filter", "0")?;
        self.write(NET_CONF, DEFAULT_NET_CONF)?;
        self.write(CONFLIST, DEFAULT_CONFLIST)?;
        self.run(&format!("ln -s {}/tartan-cni /opt/cni/bin/tartan-cni", paths::BINARIES)).map(drop)
    }

    /// `node1`, `node2` and so on; also its hostname.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.space.name
    }

    /// Its address on the wire.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.space.address
    }

    /// The process that holds its namespaces.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.space.pid()
    }

    /// A path of the node, as the scenario itself can open it.
    #[must_use]
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.space.path(path)
    }

    /// Reads a file of the node.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self, path: &str) -> Result<String> {
        fs::read_to_string(self.path(path)).with_context(|| format!("{}:{path}", self.name()))
    }

    /// Writes a file of the node.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &str, content: &str) -> Result<()> {
        fs::write(self.path(path), content).with_context(|| format!("{}:{path}", self.name()))
    }

    /// Makes a network namespace for a pod, as a container runtime does. It has no link but `lo`
    /// until [`Pod::cni_add`] or a kernel vxlan node gives it one.
    ///
    /// # Errors
    /// When `ip netns add` fails.
    pub fn pod(&self, name: &str) -> Result<Pod> {
        Pod::new(self.clone(), name)
    }

    /// A command of the product, for instance `tartanctl`.
    ///
    /// # Errors
    /// When it is not built.
    pub fn product(&self, name: &str) -> Result<Command> {
        let path = paths::binary(name)?;
        Ok(self.command(&path.to_string_lossy()))
    }

    /// Switches the node's connection tracking on, as kube-proxy's rules do.
    ///
    /// # Errors
    /// When iptables refuses.
    pub fn track_connections(&self) -> Result<()> {
        self.run("iptables -w -A FORWARD -m conntrack --ctstate INVALID -j DROP").map(drop)
    }

    pub(crate) fn space(&self) -> &Arc<Space> {
        &self.space
    }
}

impl Place for Node {
    fn label(&self) -> String {
        self.name().to_owned()
    }

    fn command(&self, program: &str) -> Command {
        command_in(&self.space, None, program)
    }
}
