//! Both kinds of wire between the same nodes, and what crossed them.

use std::fs;

use anyhow::{Context as _, Result};

use crate::node::Node;
use crate::process::Place as _;
use crate::wire::Outside;

/// What the uplinks leave to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum WireKind {
    /// Frames of at most the MTU: the sender segments, the receiver's GRO merges.
    Framed,
    /// 64 KiB packets cross as they are.
    Offloaded,
}

impl WireKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Framed => "framed wire",
            Self::Offloaded => "offloaded wire",
        }
    }

    /// What this kind has of two.
    pub(super) fn of<T>(self, framed: T, offloaded: T) -> T {
        match self {
            Self::Framed => framed,
            Self::Offloaded => offloaded,
        }
    }

    /// Sets both ends of a node's uplink.
    pub(super) fn set(self, node: &Node) -> Result<()> {
        let (segment, merge) = self.of(("off", "on"), ("on", "off"));
        let ends = format!("tso {segment} gso {segment}");
        Outside.run(&format!("ethtool -K up-{} {ends} gro off", node.name()))?;
        node.run(&format!("ethtool -K eth0 {ends} gro {merge}")).map(drop)
    }
}

/// What the wire got from one node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Crossed {
    frames: u64,
    bytes: u64,
}

impl Crossed {
    /// Until now.
    pub(super) fn from(node: &Node) -> Result<Self> {
        let text = fs::read_to_string("/proc/net/dev")?;
        parse(&text, &format!("up-{}", node.name()))
            .with_context(|| format!("no uplink of {} in /proc/net/dev", node.name()))
    }

    /// Average length since `before`, in bytes.
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    pub(super) fn average_since(&self, before: &Self) -> f64 {
        let added = self.frames.saturating_sub(before.frames).max(1);
        self.bytes.saturating_sub(before.bytes) as f64 / added as f64
    }
}

fn parse(text: &str, link: &str) -> Option<Crossed> {
    let counters = text.lines().find_map(|row| row.trim().strip_prefix(link)?.strip_prefix(':'))?;
    let mut words = counters.split_whitespace().map(str::parse);
    let (bytes, frames) = (words.next()?.ok()?, words.next()?.ok()?);
    Some(Crossed { frames, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Inter-| Receive\n up-node1: 3000 2 0 0\nup-node11: 9000 9 0 0\n";

    #[test]
    fn frames_are_counted_per_uplink() {
        let crossed = parse(TEXT, "up-node1").unwrap();
        assert_eq!(crossed, Crossed { frames: 2, bytes: 3000 });
        assert!((crossed.average_since(&Crossed::default()) - 1500.0).abs() < 1e-9);
        assert_eq!(parse(TEXT, "up-node2"), None);
    }
}
