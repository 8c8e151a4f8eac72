//! Whether the run measured what it says: checked in every run and printed beside the figures. A
//! premise that does not hold is said loudly, and leaves the exit code alone.

use anyhow::Result;
use serde::Serialize;

use super::contender::{Contender, Name, Skips};
use super::machine::{Machine, Meanwhile};
use super::metric::Metric;
use super::results::Results;
use super::wires::WireKind;
use crate::tools::load::Load;
use crate::wire::bridge_netfilter;

/// More work of other programs than this makes figures doubtful.
const QUIET: f64 = 0.05;
/// As does more time that the hypervisor gave to others.
const STOLEN: f64 = 0.01;
/// Ethernet, IPv4 and UDP headers, in bytes; with TCP and its timestamps.
const UDP_HEADERS: f64 = 42.0;
const TCP_HEADERS: f64 = 66.0;
/// How far an average frame of datagrams may be from what it must be, for the odd ARP, in bytes.
const ODD: f64 = 2.0;
/// The longest frame of a framed wire, in bytes, and the shortest average of a stream's.
const FRAME: f64 = 1514.0;
const FULL: f64 = 1300.0;
/// Packets that cross an offloaded wire unsegmented are longer on average, in bytes.
const UNCUT: f64 = 8000.0;
/// GRO merges at least so many frames of one stream on average.
const MERGED: f64 = 4.0;
/// What `Skips::All` and `Skips::Nothing` mean in practice.
const ALMOST_ALL: f64 = 0.99;
const ALMOST_NONE: f64 = 0.01;
/// Part of a single stream's segments that may have been sent again.
const AGAIN: f64 = 0.02;

/// One premise.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Premise {
    pub(super) what: String,
    /// What was found.
    pub(super) found: String,
    pub(super) holds: bool,
}

/// All of them, in the order of printing.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Premises(pub(super) Vec<Premise>);

impl Premises {
    pub(super) fn check(
        contenders: &[Contender],
        results: &Results,
        machine: &Machine,
        meanwhile: Meanwhile,
        offloads: Vec<Premise>,
    ) -> Result<Self> {
        let mut all = of_machine(machine, meanwhile);
        all.push(tracking(contenders)?);
        all.extend(bridges(results)?);
        all.extend(offloads);
        all.extend(of_figures(results));
        Ok(Self(all))
    }

    pub(super) fn broken(&self) -> impl Iterator<Item = &Premise> {
        self.0.iter().filter(|premise| !premise.holds)
    }
}

fn premise(what: impl Into<String>, found: impl Into<String>, holds: bool) -> Premise {
    Premise { what: what.into(), found: found.into(), holds }
}

fn of_machine(machine: &Machine, meanwhile: Meanwhile) -> Vec<Premise> {
    let percent = |part: f64| format!("{:.1} %", part * 100.0);
    vec![
        premise(
            "the machine was quiet before the run",
            format!("others used {}", percent(machine.used_by_others)),
            machine.used_by_others <= QUIET,
        ),
        premise(
            "its hypervisor gave no processor away",
            format!("{} stolen during the run", percent(meanwhile.stolen)),
            meanwhile.stolen <= STOLEN,
        ),
        premise(
            "BPF programs are compiled",
            if machine.bpf_jit { "they are" } else { "they are interpreted" },
            machine.bpf_jit,
        ),
    ]
}

fn tracking(contenders: &[Contender]) -> Result<Premise> {
    let mut found = Vec::new();
    let mut holds = true;
    for contender in contenders {
        holds &= contender.check_tracking().is_ok();
        let entries = contender.tracked()?;
        // What skips the stack is not tracked; all else must be.
        holds &= entries > 0 || contender.name.skips() == Skips::All;
        found.push(format!("{} {entries}", contender.name.text()));
    }
    let what = "connection tracking is on in every node; entries of the first node now";
    Ok(premise(what, found.join(", "), holds))
}

/// As Kubernetes asks for: what crosses the bridges of kernel contenders meets iptables.
fn bridges(results: &Results) -> Result<Option<Premise>> {
    let bridged = [Name::KernelHostGw, Name::KernelVxlan, Name::Flannel];
    if !results.names().iter().any(|name| bridged.contains(name)) {
        return Ok(None);
    }
    let on = bridge_netfilter()?;
    let found = if on { "it does" } else { "no: br_netfilter is not loaded" };
    Ok(Some(premise("iptables sees what crosses the bridges of pods", found, on)))
}

fn of_figures(results: &Results) -> Vec<Premise> {
    let checks = [frames, merging, skipping, retransmissions];
    let metrics = results.metrics();
    let each = metrics.iter().flat_map(|metric| checks.map(|check| check(results, *metric)));
    each.flatten().chain([failures(results)]).collect()
}

/// A line about one metric, from each contender's word and whether that is as it should be.
fn of_metric(
    results: &Results,
    metric: Metric,
    what: &str,
    judge: impl Fn(Name) -> Option<(String, bool)>,
) -> Option<Premise> {
    let names = results.names().into_iter();
    let (mut found, mut holds) = (Vec::new(), true);
    for (name, (text, good)) in names.filter_map(|name| Some((name, judge(name)?))) {
        holds &= good;
        let mark = if good { "" } else { " (!)" };
        found.push(format!("{} {text}{mark}", name.text()));
    }
    let what = format!("{}: {what}", metric.name());
    (!found.is_empty()).then(|| premise(what, found.join(", "), holds))
}

/// Frames are as long as the figure's name says, tunnel headers included.
fn frames(results: &Results, metric: Metric) -> Option<Premise> {
    let length = |name| results.median(metric, name, |sample| sample.frame);
    let exact = |headers: f64| {
        of_metric(results, metric, "bytes of a frame, exactly", |name| {
            let wanted = f64::from(metric.payload() + name.overhead()) + headers;
            let length = length(name)?;
            Some((format!("{length:.0}"), (length - wanted).abs() <= ODD))
        })
    };
    match metric.load() {
        Load::UdpRr | Load::UdpFlood | Load::UdpRate => exact(UDP_HEADERS),
        Load::TcpRr => exact(TCP_HEADERS),
        Load::TcpStream => of_metric(results, metric, "bytes of an average frame", |name| {
            let length = length(name)?;
            let good = match metric.wire() {
                WireKind::Framed => (FULL..=FRAME).contains(&length),
                WireKind::Offloaded => length >= UNCUT,
            };
            Some((format!("{length:.0}"), good))
        }),
        Load::TcpCrr => None,
    }
}

/// GRO merges what the wire cut, so that no contender is measured without it.
fn merging(results: &Results, metric: Metric) -> Option<Premise> {
    if !metric.is_stream() || metric.wire() != WireKind::Framed {
        return None;
    }
    of_metric(results, metric, "frames that the receiver's GRO merged into one", |name| {
        let packet = results.median(metric, name, |sample| sample.packet)?;
        let frame = results.median(metric, name, |sample| sample.frame)?;
        let factor = packet / frame.max(1.0);
        Some((format!("{factor:.1}"), factor >= MERGED || metric.connections() > 1))
    })
}

fn skipping(results: &Results, metric: Metric) -> Option<Premise> {
    of_metric(results, metric, "packets that skipped the host stacks", |name| {
        let share = results.fast_share(metric, name)?.median;
        let good = match name.skips() {
            Skips::All => share >= ALMOST_ALL,
            Skips::Nothing => share <= ALMOST_NONE,
            // The packets that open and close a flow are the stack's: all of a connection's.
            Skips::Accepted => metric.load() == Load::TcpCrr || share >= ALMOST_ALL,
            Skips::Unknown => true,
        };
        Some((format!("{:.2} %", share * 100.0), good))
    })
}

fn retransmissions(results: &Results, metric: Metric) -> Option<Premise> {
    if !metric.is_stream() {
        return None;
    }
    of_metric(results, metric, "segments sent again", |name| {
        let share = results.median(metric, name, |sample| sample.retransmitted)?;
        // Streams that fill the machine make each other lose some: that is part of their figure.
        Some((format!("{:.2} %", share * 100.0), share <= AGAIN || metric.connections() > 1))
    })
}

fn failures(results: &Results) -> Premise {
    let counts: Vec<_> =
        results.names().into_iter().map(|name| (name, results.failed(name))).collect();
    let found: Vec<_> =
        counts.iter().map(|(name, count)| format!("{} {count}", name.text())).collect();
    let holds = counts.iter().all(|(_, count)| *count == 0);
    premise("failed transactions and calls", found.join(", "), holds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::sample::{Sample, sample};

    fn results(metric: Metric, name: Name, sample: Sample) -> Results {
        let mut results = Results::default();
        results.add(metric, name, sample);
        results
    }

    #[test]
    fn a_tunnel_whose_frames_lack_its_headers_is_no_tunnel() {
        for (name, holds) in [(Name::Host, true), (Name::KernelVxlan, false)] {
            let results = results(Metric::UdpRr, name, sample(1.0));
            assert_eq!(frames(&results, Metric::UdpRr).unwrap().holds, holds, "{name:?}");
        }
    }

    #[test]
    fn a_fast_path_that_half_the_packets_miss_is_found_out() {
        for (share, holds) in [(0.999, true), (0.5, false)] {
            let sample = Sample { fast_share: Some(share), ..sample(1.0) };
            let results = results(Metric::TcpRr, Name::TartanFast, sample);
            assert_eq!(skipping(&results, Metric::TcpRr).unwrap().holds, holds);
        }
    }

    #[test]
    fn a_stream_that_gro_does_not_merge_is_found_out() {
        for (packet, holds) in [(15_000.0, true), (1500.0, false)] {
            let sample = Sample { packet, frame: 1500.0, ..sample(1.0) };
            let results = results(Metric::StreamFramed, Name::Host, sample);
            assert_eq!(merging(&results, Metric::StreamFramed).unwrap().holds, holds);
        }
    }
}
