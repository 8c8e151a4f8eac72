//! Whether the run measured what it says: checked in every run and printed beside the figures.

use anyhow::Result;
use serde::Serialize;

use super::contender::{Contender, Name};
use super::metric::Metric;
use super::results::Results;
use super::stats::Spread;
use super::wires::WireKind;
use crate::wire::bridge_netfilter;

/// More work of other programs than this makes figures doubtful.
const QUIET: f64 = 0.05;

/// What was found.
#[derive(Debug, Serialize)]
pub(super) struct Premises {
    /// Part of the machine that other programs used just before the run.
    used_by_others: f64,
    /// Whether the bridges of the kernel vxlan nodes show their packets to iptables, as Kubernetes
    /// asks for: only where the machine has `br_netfilter`.
    bridge_netfilter: bool,
    /// Entries of connection tracking, on the first node of each contender.
    tracked: Vec<(Name, u64)>,
    /// Transactions or system calls that failed.
    failed: Vec<(Name, u64)>,
    frames: Vec<Frames>,
    shares: Vec<Share>,
}

/// Average length of a stream's frames, in bytes.
#[derive(Debug, Serialize)]
struct Frames {
    metric: Metric,
    contender: Name,
    bytes: f64,
}

/// Part of the packets that skipped the host stack.
#[derive(Debug, Serialize)]
struct Share {
    metric: Metric,
    contender: Name,
    fast: Spread,
}

impl Premises {
    pub(super) fn check(
        contenders: &[Contender],
        results: &Results,
        used_by_others: f64,
    ) -> Result<Self> {
        let names = || contenders.iter().map(|contender| contender.name);
        let tracked = contenders.iter().map(|contender| Ok((contender.name, contender.tracked()?)));
        let metrics = results.metrics();
        let each = || metrics.iter().flat_map(|m| names().map(move |name| (*m, name)));
        let frames =
            each().filter(|(metric, _)| metric.is_stream()).filter_map(|(metric, name)| {
                let bytes = Spread::of(results.of(metric, name, |sample| sample.frame))?.median;
                Some(Frames { metric, contender: name, bytes })
            });
        let shares = each().filter_map(|(metric, contender)| {
            Some(Share { metric, contender, fast: results.fast_share(metric, contender)? })
        });
        Ok(Self {
            used_by_others,
            bridge_netfilter: bridge_netfilter()?,
            tracked: tracked.collect::<Result<_>>()?,
            failed: names().map(|name| (name, results.failed(name))).collect(),
            frames: frames.collect(),
            shares: shares.collect(),
        })
    }

    pub(super) fn print(&self) {
        println!("\nPremises");
        self.print_machine();
        for wire in [WireKind::Framed, WireKind::Offloaded] {
            self.print_frames(wire);
        }
        self.print_shares();
        println!("  failed transactions: {}", listed(&self.failed));
    }

    fn print_machine(&self) {
        let doubt =
            if self.used_by_others > QUIET { ": TOO MUCH, figures are doubtful" } else { "" };
        println!(
            "  other programs used {:.0} % of the machine{doubt}",
            self.used_by_others * 100.0
        );
        println!("  connection tracking is on in every node, the host's included; entries now:");
        println!("    {}", listed(&self.tracked));
        let bridges = if self.bridge_netfilter { "on" } else { "off: br_netfilter is not loaded" };
        println!("  iptables sees what crosses the bridges of kernel vxlan: {bridges}");
    }

    fn print_frames(&self, wire: WireKind) {
        let of_wire = self.frames.iter().filter(|frames| frames.metric.wire() == wire);
        let list: Vec<_> = of_wire
            .map(|frames| format!("{} {:.0}", frames.contender.text(), frames.bytes))
            .collect();
        if !list.is_empty() {
            println!("  average frame of the stream, {}, bytes:", wire.name());
            println!("    {}", list.join(", "));
        }
    }

    fn print_shares(&self) {
        let mut metrics: Vec<_> = self.shares.iter().map(|share| share.metric).collect();
        metrics.dedup();
        if !metrics.is_empty() {
            println!("  part of the packets that skipped the host stack on both nodes:");
        }
        for metric in metrics {
            let of_metric = self.shares.iter().filter(|share| share.metric == metric);
            let list: Vec<_> = of_metric.map(Share::text).collect();
            println!("    {:18} {}", metric.name(), list.join(", "));
        }
    }
}

impl Share {
    fn text(&self) -> String {
        format!("{} {:.2} %", self.contender.text(), self.fast.median * 100.0)
    }
}

fn listed(counts: &[(Name, u64)]) -> String {
    let each = counts.iter().map(|(name, count)| format!("{} {count}", name.text()));
    each.collect::<Vec<_>>().join(", ")
}
