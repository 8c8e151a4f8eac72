//! What the agent was told: flags and net-conf, checked.

use std::path::PathBuf;

use tartan_common::abi;
use tartan_core::state::Choice;
use tartan_core::{FastPath, NetConf};

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
    /// What `subnet.env` says about masquerading.
    pub ip_masq: bool,
    /// This node's name.
    pub node_name: String,
    /// Where the node keeps what it knew last; `None` where the store is a disk itself.
    pub last_known_file: Option<PathBuf>,
    /// The CNI configuration to install once the node is ready.
    pub cni_conf: Option<CniConf>,
    /// Swap in this binary's programs even if the same build is pinned.
    pub replace_programs: bool,
}

/// A CNI configuration list to be installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CniConf {
    /// Where it comes from: a file of a ConfigMap.
    pub source: PathBuf,
    /// Where the runtime looks for it.
    pub target: PathBuf,
}

impl Settings {
    /// Name of the overlay device.
    #[must_use]
    pub fn overlay_name(&self) -> String {
        format!("flannel.{}", self.conf.backend.vni)
    }

    /// The mode of the gate, and why it is that one.
    #[must_use]
    pub fn fast_path(&self) -> (abi::FastPath, Choice) {
        let (mode, configured, why) = match self.conf.fast_path {
            FastPath::On => (abi::FastPath::On, "on", "net-conf says so"),
            FastPath::AfterAccept => {
                (abi::FastPath::AfterAccept, "after-accept", "net-conf says so")
            }
            FastPath::Off => (abi::FastPath::Off, "off", "net-conf says so"),
            FastPath::Auto => (
                abi::FastPath::AfterAccept,
                "auto",
                "this version does not read netfilter's rules, so the host stack accepts each flow \
                 first; where no policy engine runs, FastPath \"on\" spares new flows that",
            ),
        };
        let choice = Choice {
            configured: configured.to_owned(),
            effective: mode.name().to_owned(),
            why: why.to_owned(),
        };
        (mode, choice)
    }
}
