//! What the agent says about itself: written to a file after every change,
//! read by `tartanctl status`.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::atomic_file;

/// Where the agent writes it.
pub const STATE_FILE: &str = "/run/flannel/tartan.json";
/// Held by the agent while it runs, its process id inside.
pub const LOCK_FILE: &str = "/run/flannel/tartand.lock";

/// The agent's last word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentState {
    /// Version of the agent.
    pub version: String,
    /// Build of the programs that it pinned.
    pub build: String,
    /// The node's name.
    pub node_name: String,
    /// Whether everything that pods need is in place.
    pub ready: bool,
    /// What is not in place, and what to do; empty when all is well.
    pub problems: Vec<String>,
    /// The interface that leads to the other nodes.
    pub uplink: DeviceState,
    /// How it stands with XDP, where it is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xdp: Option<String>,
    /// What the kernel has.
    #[serde(default)]
    pub kernel: KernelState,
    /// flannel's `backend-type`.
    #[serde(default)]
    pub backend: String,
    /// Whether nodes on the same link are sent to without a tunnel.
    #[serde(default)]
    pub is_direct: bool,
    /// The device that the host stack routes the pod network to, where there is a tunnel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlay: Option<DeviceState>,
    /// Whether the device was made for Tartan or taken over.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub overlay_kind: String,
    /// The largest packet of a pod, in bytes.
    #[serde(default)]
    pub pod_mtu: u16,
    /// The IPv4 pod network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// The IPv6 pod network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network6: Option<String>,
    /// This node's IPv4 subnet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet: Option<String>,
    /// This node's IPv6 subnet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet6: Option<String>,
    /// The address that peers send to: that of IPv4, where the node has it.
    pub public_ip: IpAddr,
    /// The IPv6 address that peers send to, beside that of IPv4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_ipv6: Option<Ipv6Addr>,
    /// Which IPv6 goes in the tunnel over IPv4, and why, where there is any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6_over_ipv4: Option<String>,
    /// MAC address of the overlay device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vtep_mac: Option<String>,
    /// VXLAN network identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vni: Option<u32>,
    /// UDP port of the tunnel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Where leases come from.
    pub store: String,
    /// Why the store cannot be reached, if it cannot: forwarding does not depend on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_trouble: Option<String>,
    /// When flows may skip the host stack.
    pub fast_path: Choice,
    /// What is in the host's packet filter.
    #[serde(default)]
    pub firewall: FirewallState,
    /// Which inner sources are accepted.
    pub source_check: String,
    /// The other nodes.
    pub peers: Vec<PeerState>,
    /// The other nodes' IPv6 subnets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers6: Vec<PeerState>,
    /// Pods whose flows never skip the host stack, though others' may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slow_pods: Vec<SlowPodState>,
    /// Leases that are not used.
    pub refused: Vec<RefusedState>,
    /// What could not be read as a lease.
    #[serde(default)]
    pub unreadable: Vec<UnreadableState>,
}

/// One network device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceState {
    /// Its name.
    pub name: String,
    /// Its index.
    pub ifindex: u32,
    /// Its MTU.
    pub mtu: u16,
    /// Its address: that of IPv4, where it has one.
    pub address: IpAddr,
}

/// The kernel, as far as the programs are concerned.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelState {
    /// What `uname -r` says.
    pub release: String,
    /// How programs are attached: `tcx` or `clsact`.
    pub attached: String,
    /// What it lacks; empty with a kernel that has all that Tartan can use.
    pub missing: Vec<MissingState>,
}

/// Something that the kernel lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingState {
    /// Its name.
    pub feature: String,
    /// The first release that has it.
    pub since: String,
    /// What is done in its place, and what that costs.
    pub instead: String,
    /// Whether the kernel has it, and it is only pretended that it has not.
    #[serde(default)]
    pub forced: bool,
}

impl fmt::Display for MissingState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { feature, since, instead, forced } = self;
        let forced = if *forced { ", switched off by TARTAN_FORCE" } else { "" };
        write!(f, "{instead} (no {feature}, in Linux since {since}{forced})")
    }
}

/// The packet filter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirewallState {
    /// Where our rules live.
    pub rules: String,
    /// What is masqueraded.
    pub masquerade: String,
    /// What is not as it should be, and what to do.
    pub troubles: Vec<String>,
}

/// A choice with its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// What the configuration says.
    pub configured: String,
    /// What is in force.
    pub effective: String,
    /// Why.
    pub why: String,
}

/// One peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerState {
    /// Its name.
    pub node_name: String,
    /// Its subnet.
    pub subnet: String,
    /// Where packets go.
    pub public_ip: IpAddr,
    /// Its VTEP's MAC address, where there is a tunnel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vtep_mac: Option<String>,
    /// The next hop; absent where nothing can be sent to it, and where only the kernel's device
    /// knows it.
    pub next_hop: Option<IpAddr>,
    /// How packets go to it.
    #[serde(default)]
    pub mode: PeerWay,
}

/// How packets go to a peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeerWay {
    /// Through the tunnel.
    #[default]
    Tunnel,
    /// Through the tunnel over IPv4, though its pods are IPv6 pods.
    TunnelOverIpv4,
    /// As they are: its node is on the same link.
    Direct,
    /// Not at all.
    None,
}

impl PeerWay {
    /// The word for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tunnel => "tunnel",
            Self::TunnelOverIpv4 => "tunnel over IPv4",
            Self::Direct => "direct",
            Self::None => "none",
        }
    }
}

/// A pod whose flows never skip the host stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlowPodState {
    /// Its address.
    pub address: IpAddr,
    /// The host's end of its link.
    pub interface: String,
    /// Why.
    pub why: String,
}

/// A lease that is not used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedState {
    /// The node that claims it.
    pub node_name: String,
    /// The subnet that it claims.
    pub subnet: String,
    /// Why it is not used.
    pub why: String,
    /// What to do about it.
    pub remedy: String,
}

/// Something in the store that is no lease, though it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadableState {
    /// Where: a node, or a file.
    pub place: String,
    /// What is wrong, and what to do.
    pub what: String,
}

impl AgentState {
    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        atomic_file::write(path, &text, 0o644)
    }

    /// Reads the file; `None` when the agent never wrote it.
    ///
    /// # Errors
    /// When it cannot be read or understood.
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(path) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
