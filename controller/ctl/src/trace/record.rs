//! What the programs tell of a traced packet: the line of a record, in words.

use std::fmt::Write as _;

use serde::Serialize;
use tartan_common::abi::Counted;
use tartan_common::marked::Hook;
use tartan_common::path::Path;
use tartan_common::reason::Reason;
use tartan_datapath::interface_name;

use crate::log::protocol_name;

/// One thing that happened to the packet.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(super) enum Event {
    /// A program met it.
    Met {
        program: &'static str,
        interface: String,
        /// Nanoseconds of CLOCK_MONOTONIC.
        time: u64,
        ttl: u8,
        /// Whether it was in its tunnel.
        tunnelled: bool,
    },
    /// The program decided.
    Fate {
        /// The counter that moved: a path of `tartanctl paths` or a reason of `tartanctl drops`.
        counter: &'static str,
        caption: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        remedy: Option<&'static str>,
        bytes: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        packet: Option<String>,
        #[serde(skip)]
        leaves_node: bool,
    },
}

impl Event {
    /// Reads a record of `ebpf/src/log.rs`.
    pub(super) fn parse(record: &str) -> Option<Self> {
        match record.strip_prefix("@ ") {
            Some(rest) => met(rest),
            None => fate(record),
        }
    }

    /// For people; times count from the first event.
    pub(super) fn line(&self, first: Option<&Self>) -> String {
        match self {
            Self::Met { program, interface, time, ttl, tunnelled } => {
                let since = first.and_then(Self::time).unwrap_or(*time);
                let nanoseconds = time.saturating_sub(since);
                let (whole, rest) = (nanoseconds / 1000, nanoseconds % 1000 / 100);
                let shape = if *tunnelled { ", in its tunnel" } else { "" };
                format!("{whole:>7}.{rest} us  {program} on {interface}: TTL {ttl}{shape}")
            }
            Self::Fate { counter, caption, remedy, bytes, packet, .. } => {
                let mut line = format!("              {counter}, {caption}");
                if let Some(packet) = packet {
                    let _ = write!(line, " ({packet}, {bytes} bytes)");
                }
                if let Some(remedy) = remedy {
                    let _ = write!(line, "\n              -> {remedy}");
                }
                line
            }
        }
    }

    pub(super) const fn is_drop(&self) -> bool {
        match self {
            Self::Met { .. } => false,
            Self::Fate { remedy, .. } => remedy.is_some(),
        }
    }

    /// Whether the packet went to another node with this.
    pub(super) const fn leaves_node(&self) -> bool {
        match self {
            Self::Met { .. } => false,
            Self::Fate { leaves_node, .. } => *leaves_node,
        }
    }

    const fn time(&self) -> Option<u64> {
        match self {
            Self::Met { time, .. } => Some(*time),
            Self::Fate { .. } => None,
        }
    }
}

/// `hook time ifindex ttl tunnelled`
fn met(record: &str) -> Option<Event> {
    let mut words = record.split_whitespace();
    let number: u8 = words.next()?.parse().ok()?;
    let program = Hook::ALL.iter().find(|hook| hook.number() == number)?.name();
    let time = words.next()?.parse().ok()?;
    let interface = name(words.next()?)?;
    let ttl = words.next()?.parse().ok()?;
    let tunnelled = words.next()? != "0";
    Some(Event::Met { program, interface, time, ttl, tunnelled })
}

/// `slot ifindex length [source destination protocol]`
fn fate(record: &str) -> Option<Event> {
    let mut words = record.split_whitespace();
    let slot: u32 = words.next()?.parse().ok()?;
    words.next()?;
    let bytes = words.next()?.parse().ok()?;
    let packet = match (words.next(), words.next(), words.next()) {
        (Some(from), Some(to), Some(protocol)) => {
            Some(format!("{from} -> {to} {}", protocol_name(protocol)))
        }
        _ => None,
    };
    let path = Path::ALL.iter().find(|path| Counted::Path(**path).slot() == slot);
    let reason = Reason::ALL.iter().find(|reason| Counted::Reason(**reason).slot() == slot);
    let (counter, caption, remedy) = match (path, reason) {
        (Some(path), _) => (path.name(), path.caption(), None),
        (None, Some(reason)) => (reason.name(), reason.caption(), Some(reason.remedy())),
        (None, None) => return None,
    };
    let leaves_node = path.is_some_and(|path| LEAVING.contains(path));
    Some(Event::Fate { counter, caption, remedy, bytes, packet, leaves_node })
}

/// The paths that end at another node.
const LEAVING: [Path; 4] =
    [Path::PodRemoteFast, Path::PodDirectFast, Path::OverlayEncap, Path::OverlayDevice];

fn name(ifindex: &str) -> Option<String> {
    let index = ifindex.parse().ok()?;
    Some(interface_name(index).unwrap_or_else(|| format!("interface {index}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_met_is_told_with_the_time_since_the_first() {
        let first = Event::parse("@ 0 1000 4294967295 64 0").unwrap();
        let second = Event::parse("@ 4 26400 4294967295 63 1").unwrap();
        assert!(first.line(None).contains("0.0 us  pod_egress on"), "{}", first.line(None));
        let line = second.line(Some(&first));
        assert!(line.contains(" 25.4 us  uplink_ingress"), "{line}");
        assert!(line.ends_with("TTL 63, in its tunnel"), "{line}");
    }

    #[test]
    fn a_drop_comes_with_its_remedy() {
        let slot = Counted::Reason(Reason::NoPeer).slot();
        let event = Event::parse(&format!("{slot} 3 54 10.244.1.5 10.244.9.9 1")).unwrap();
        assert!(event.is_drop());
        let line = event.line(None);
        assert!(line.contains("no-peer") && line.contains("10.244.1.5 -> 10.244.9.9 ICMP"));
        assert!(line.contains("->"), "{line}");
        assert_eq!(Event::parse("nothing"), None);
    }
}
