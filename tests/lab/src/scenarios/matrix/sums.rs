//! The checksums that hosts count as bad, and those on the wire.

use anyhow::{Context as _, Result};

use super::ground::Ground;
use crate::node::Node;
use crate::process::Place;
use crate::traffic::{Running, SumsReport};
use crate::wire::Outside;

/// Packets with a bad checksum that a network namespace has met, whatever their protocol.
pub(super) fn bad(place: &dyn Place) -> Result<u64> {
    let [v4, v6] = ["snmp", "snmp6"].map(|name| place.run(&format!("cat /proc/net/{name}")));
    Ok(in_snmp(&v4?)? + in_snmp6(&v6?)?)
}

/// Lines in pairs: the names, the numbers.
fn in_snmp(text: &str) -> Result<u64> {
    let lines: Vec<Vec<&str>> =
        text.lines().map(|line| line.split_whitespace().collect()).collect();
    let (mut sum, mut found) = (0, false);
    for pair in lines.chunks_exact(2) {
        for (name, value) in pair[0].iter().zip(&pair[1]) {
            if *name == "InCsumErrors" {
                sum += value.parse::<u64>().with_context(|| format!("no number: {value}"))?;
                found = true;
            }
        }
    }
    found.then_some(sum).context("/proc/net/snmp has no InCsumErrors")
}

fn in_snmp6(text: &str) -> Result<u64> {
    let lines = text.lines().filter_map(|line| line.split_once(char::is_whitespace));
    let bad = lines.filter(|(name, _)| name.ends_with("InCsumErrors"));
    let numbers: Vec<u64> = bad.map(|(_, value)| value.trim().parse()).collect::<Result<_, _>>()?;
    (!numbers.is_empty()).then(|| numbers.iter().sum()).context("/proc/net/snmp6 has none")
}

/// What all hosts of a ground have counted.
pub(super) struct Tally(u64);

impl Tally {
    pub(super) fn of(ground: &Ground) -> Result<Self> {
        let mut sum = 0;
        for node in ground.nodes() {
            sum += bad(node)?;
        }
        for pod in ground.pods() {
            sum += bad(pod)?;
        }
        Ok(Self(sum))
    }

    pub(super) fn since(&self, before: &Self) -> u64 {
        self.0 - before.0
    }
}

/// A look at all tunnel packets that a node sends and gets.
pub(super) struct Watch(Running<SumsReport>);

impl Watch {
    /// At the first node's end of the wire.
    pub(super) fn start(ground: &Ground) -> Result<Self> {
        Self::on(ground.nodes()[0])
    }

    pub(super) fn on(node: &Node) -> Result<Self> {
        Ok(Self(Running::start(&Outside, &format!("sums --iface up-{}", node.name()), "")?))
    }

    pub(super) fn stop(self) -> Result<SumsReport> {
        self.0.stop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_protocols_bad_checksums_are_added() {
        let text = "Tcp: InSegs InCsumErrors\nTcp: 7 2\nUdp: InCsumErrors MemErrors\nUdp: 3 9\n";
        assert_eq!(in_snmp(text).unwrap(), 5);
        assert_eq!(in_snmp6("Icmp6InCsumErrors \t4\nUdp6InCsumErrors 1\nIp6InX 8\n").unwrap(), 5);
        assert!(in_snmp("Tcp: InSegs\nTcp: 7\n").is_err() && in_snmp6("").is_err());
    }
}
