//! Which way Tartan's packets took, by its own counters.

use anyhow::{Result, ensure};

use super::contender::Contender;
use crate::counters::Counts;

/// Counters of both nodes at one time.
pub(super) struct Paths([Counts; 2]);

impl Paths {
    /// `None` of a contender that has none.
    pub(super) fn of(contender: &Contender) -> Result<Option<Self>> {
        if !contender.name.is_tartan() {
            return Ok(None);
        }
        let [one, two] = &contender.nodes;
        Ok(Some(Self([one.paths()?, two.paths()?])))
    }

    /// The part of packets since then that went fast.
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    pub(super) fn share(&self, contender: &Contender) -> Result<f64> {
        let Self(before) = self;
        let (mut fast, mut slow) = (0, 0);
        for (node, before) in contender.nodes.iter().zip(before) {
            let (quick, others) = split(&node.paths()?.since(before));
            fast += quick;
            slow += others;
        }
        ensure!(fast + slow > 0, "no packet passed the programs");
        Ok(fast as f64 / (fast + slow) as f64)
    }
}

/// Packets that a pod sent or got past the host stack, and those that were left to it.
fn split(counts: &Counts) -> (u64, u64) {
    let sum = |wanted: fn(&str) -> bool| {
        let own = counts.iter().filter(|(name, _)| wanted(name));
        own.map(|(_, packets)| packets).sum()
    };
    let slow = |name: &str| name.ends_with("-to-stack") || name.ends_with("-to-device");
    (sum(|name| name.ends_with("-fast")), sum(slow))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_of_a_pods_packets_is_one_or_the_other() {
        let text = r#"{"paths":[{"name":"pod-remote-fast","packets":5},
            {"name":"uplink-to-stack","packets":2},{"name":"overlay-encap","packets":9}]}"#;
        assert_eq!(split(&Counts::parse(text, "paths", "name").unwrap()), (5, 2));
    }
}
