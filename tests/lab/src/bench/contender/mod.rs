//! Who is measured: pairs of nodes on one wire. A new contender is a variant of [`Name`] and a row
//! of [`ROWS`].

mod flannel;
mod kernel;
mod tartan;

use std::any::Any;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

use super::ground::Ground;
use super::wires::WireKind;
use crate::node::Node;
use crate::process::{Place, eventually};

/// How long the two ends may take to reach each other at first.
const REACH: Duration = Duration::from_secs(10);
/// What an IPv4 VXLAN tunnel adds to a packet, in bytes.
const TUNNEL: u16 = 50;

/// A way for packets from one node's end to another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Name {
    Host,
    KernelHostGw,
    KernelVxlan,
    Flannel,
    TartanFast,
    TartanAfterAccept,
    TartanStack,
    TartanHostGw,
}

/// Which part of the pods' packets may skip the host stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Skips {
    /// The contender has no such thing.
    Unknown,
    /// All but a few at a flow's beginning.
    All,
    /// None at all.
    Nothing,
    /// Those of flows that the stack accepted; the others are no fault.
    Accepted,
}

/// What there is to know about a contender.
pub(super) struct Row {
    name: Name,
    text: &'static str,
    about: &'static str,
    /// Bytes that its packets grow by on the wire.
    overhead: u16,
    skips: Skips,
    /// A class of the page's style.
    colour: &'static str,
    make: fn(&Ground) -> Result<Pair>,
}

/// In the order of tables and reports.
static ROWS: &[Row] = &[
    Row {
        name: Name::Host,
        text: "host",
        about: "sockets of the nodes themselves",
        overhead: 0,
        skips: Skips::Unknown,
        colour: "host",
        make: kernel::host,
    },
    Row {
        name: Name::KernelHostGw,
        text: "kernel host-gw",
        about: "pods on a bridge, kernel routes, flannel's rules",
        overhead: 0,
        skips: Skips::Unknown,
        colour: "kernel",
        make: kernel::host_gw,
    },
    Row {
        name: Name::KernelVxlan,
        text: "kernel vxlan",
        about: "pods on a bridge, the kernel's vxlan, flannel's rules",
        overhead: TUNNEL,
        skips: Skips::Unknown,
        colour: "kernel",
        make: kernel::vxlan,
    },
    Row {
        name: Name::Flannel,
        text: "flannel",
        about: "flanneld on an API server, its own CNI chain and rules, vxlan",
        overhead: TUNNEL,
        skips: Skips::Unknown,
        colour: "flannel",
        make: flannel::pair,
    },
    Row {
        name: Name::TartanFast,
        text: "Tartan fast",
        about: "vxlan, FastPath on",
        overhead: TUNNEL,
        skips: Skips::All,
        colour: "tartan",
        make: |ground| tartan::pair(ground, "on", &tartan::vxlan()),
    },
    Row {
        name: Name::TartanAfterAccept,
        text: "Tartan accept",
        about: "vxlan, FastPath after-accept",
        overhead: TUNNEL,
        skips: Skips::Accepted,
        colour: "second",
        make: |ground| tartan::pair(ground, "after-accept", &tartan::vxlan()),
    },
    Row {
        name: Name::TartanStack,
        text: "Tartan stack",
        about: "vxlan, FastPath off",
        overhead: TUNNEL,
        skips: Skips::Nothing,
        colour: "second",
        make: |ground| tartan::pair(ground, "off", &tartan::vxlan()),
    },
    Row {
        name: Name::TartanHostGw,
        text: "Tartan host-gw",
        about: "host-gw, FastPath on",
        overhead: 0,
        skips: Skips::All,
        colour: "tartan",
        make: |ground| tartan::pair(ground, "on", &tartan::host_gw()),
    },
];

impl Name {
    /// In the order of tables and reports.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(|row| row.name)
    }

    fn row(self) -> &'static Row {
        // A test sees to it that every name has its row.
        ROWS.iter().find(|row| row.name == self).unwrap_or(&ROWS[0])
    }

    pub(super) fn text(self) -> &'static str {
        self.row().text
    }

    pub(super) fn about(self) -> &'static str {
        self.row().about
    }

    pub(super) fn colour(self) -> &'static str {
        self.row().colour
    }

    pub(super) fn overhead(self) -> u16 {
        self.row().overhead
    }

    pub(super) fn skips(self) -> Skips {
        self.row().skips
    }

    /// Whether its counters say which packets skipped the host stack.
    pub(super) fn is_tartan(self) -> bool {
        self.skips() != Skips::Unknown
    }
}

/// Two nodes and the two places between which traffic flows.
pub(super) struct Pair {
    from: Box<dyn Place>,
    to: Box<dyn Place>,
    address: IpAddr,
    nodes: [Node; 2],
    /// Ends with the pair: agents.
    held: Vec<Box<dyn Any>>,
}

/// A pair that is ready to be measured.
pub(super) struct Contender {
    pub(super) name: Name,
    pub(super) from: Box<dyn Place>,
    pub(super) to: Box<dyn Place>,
    pub(super) address: IpAddr,
    pub(super) nodes: [Node; 2],
    _held: Vec<Box<dyn Any>>,
}

impl Contender {
    /// Makes the nodes, with connection tracking on, and sees that the two ends reach each other.
    pub(super) fn new(name: Name, ground: &Ground) -> Result<Self> {
        let made = (name.row().make)(ground);
        let Pair { from, to, address, nodes, held } =
            made.with_context(|| format!("cannot set up {}", name.text()))?;
        for node in &nodes {
            node.track_connections()?;
        }
        eventually(&format!("the ends of {} reach each other", name.text()), REACH, || {
            from.succeeds(&format!("ping -n -c 1 -W 1 {address}"))
        })?;
        Ok(Self { name, from, to, address, nodes, _held: held })
    }

    pub(super) fn set_wire(&self, wire: WireKind) -> Result<()> {
        self.nodes.iter().try_for_each(|node| wire.set(node))
    }

    /// Entries of the first node's connection tracking.
    pub(super) fn tracked(&self) -> Result<u64> {
        let [node, _] = &self.nodes;
        let text = node.run("cat /proc/sys/net/netfilter/nf_conntrack_count")?;
        text.trim().parse().context("no number of tracked connections")
    }

    /// The rules that switch connection tracking on are where they were put.
    pub(super) fn check_tracking(&self) -> Result<()> {
        for node in &self.nodes {
            let rules = node.run("iptables -w -S FORWARD")?;
            let tracks = rules.contains("--ctstate INVALID");
            ensure!(tracks, "{} of {} does not track", node.name(), self.name.text());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn every_contender_has_its_row() {
        assert_eq!(Name::value_variants(), Name::all().collect::<Vec<_>>());
    }
}
