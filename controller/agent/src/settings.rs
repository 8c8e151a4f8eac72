//! What the agent was told: flags and net-conf, checked.

use std::path::PathBuf;

use tartan_common::Vni;
use tartan_core::NetConf;

use crate::host::UplinkChoice;

/// Everything that stays the same for as long as the agent runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The network's configuration.
    pub conf: NetConf,
    /// How the uplink is chosen.
    pub uplink: UplinkChoice,
    /// Where `subnet.env` goes.
    pub subnet_file: PathBuf,
    /// What is asked of the host's packet filter.
    pub rules: Rules,
    /// Whether a blackhole route of the node's own subnet is kept.
    pub blackhole_route: bool,
    /// This node's name.
    pub node_name: String,
    /// Where the node keeps what it knew last; `None` where the store is a disk itself.
    pub last_known_file: Option<PathBuf>,
    /// The CNI configuration to install once the node is ready.
    pub cni_conf: Option<CniConf>,
    /// Swap in this binary's programs even if the same build is pinned.
    pub replace_programs: bool,
    /// Uplinks that get the XDP program, by name.
    pub xdp_interfaces: Vec<String>,
}

impl Settings {
    /// Whether an uplink of this name shall have the XDP program.
    #[must_use]
    pub fn wants_xdp(&self, uplink: &str) -> bool {
        self.xdp_interfaces.iter().any(|name| name == uplink)
    }
}

/// What is asked of the host's packet filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whether what pods send out of the pod network is masqueraded, as `subnet.env` tells, too.
    pub ip_masq: bool,
    /// Whether masquerading draws source ports at random.
    pub random_fully: bool,
    /// Whether pods' packets shall pass where the host drops forwarded ones by policy.
    pub accept_forwarded: bool,
}

/// A CNI configuration list to be installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CniConf {
    /// Where it comes from: a file of a ConfigMap.
    pub source: PathBuf,
    /// Where the runtime looks for it.
    pub target: PathBuf,
}

/// Name of the overlay device.
#[must_use]
pub fn overlay_name(vni: Vni) -> String {
    format!("flannel.{vni}")
}
