//! What the sockets' end of a path counted: packets as IP got them, segments sent again.

use anyhow::{Context as _, Result};

use crate::process::Place;

/// Counters of one network namespace until now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Netstat {
    /// Packets that IP received; what GRO merged counts once.
    received: u64,
    /// Their bytes, IP headers included.
    bytes: u64,
    /// TCP segments sent, and sent again.
    sent: u64,
    again: u64,
}

impl Netstat {
    pub(super) fn of(place: &dyn Place) -> Result<Self> {
        let text = place.run("cat /proc/net/snmp /proc/net/netstat")?;
        parse(&text).with_context(|| format!("{}: /proc/net/snmp lacks a counter", place.label()))
    }

    /// Average length of a packet as IP received it since `before`, in bytes.
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    pub(super) fn packet_since(&self, before: &Self) -> f64 {
        let packets = self.received.saturating_sub(before.received).max(1);
        self.bytes.saturating_sub(before.bytes) as f64 / packets as f64
    }

    /// Part of the TCP segments since `before` that were sent again.
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    pub(super) fn again_since(&self, before: &Self) -> f64 {
        let sent = self.sent.saturating_sub(before.sent).max(1);
        self.again.saturating_sub(before.again) as f64 / sent as f64
    }
}

fn parse(text: &str) -> Option<Netstat> {
    let counter = |group: &str, name: &str| -> Option<u64> {
        let mut rows = text.lines().filter_map(|line| line.strip_prefix(group));
        let at = rows.next()?.split_whitespace().position(|word| word == name)?;
        rows.next()?.split_whitespace().nth(at)?.parse().ok()
    };
    Some(Netstat {
        received: counter("Ip:", "InReceives")?,
        bytes: counter("IpExt:", "InOctets")?,
        sent: counter("Tcp:", "OutSegs")?,
        again: counter("Tcp:", "RetransSegs")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Ip: Forwarding InReceives\nIp: 1 4\nTcp: OutSegs RetransSegs\nTcp: 50 5\n\
                        IpExt: InNoRoutes InOctets\nIpExt: 0 6000\n";

    #[test]
    fn counters_are_found_by_their_names() {
        let now = parse(TEXT).unwrap();
        assert_eq!(now, Netstat { received: 4, bytes: 6000, sent: 50, again: 5 });
        assert!((now.packet_since(&Netstat::default()) - 1500.0).abs() < 1e-9);
        assert!((now.again_since(&Netstat::default()) - 0.1).abs() < 1e-9);
        assert_eq!(parse("Ip: Forwarding\nIp: 1\n"), None);
    }
}
