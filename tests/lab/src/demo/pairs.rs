//! All ordered pairs of pods, and the path that their packets took.

use std::net::IpAddr;

use anyhow::{Context as _, Result};

use super::show::{self, Show};
use crate::cluster::Cluster;
use crate::counters::Counts;
use crate::pod::Pod;
use crate::process::Place as _;
use crate::traffic;

/// Of one pair.
struct Outcome {
    ping_ms: String,
    tcp: bool,
    udp: bool,
    bulk: bool,
    path: &'static str,
    fast_percent: u64,
}

pub(super) fn show(show: &mut Show, cluster: &Cluster) -> Result<()> {
    let pairs = cluster.pairs();
    show::heading(&format!("All {} ordered pairs", pairs.len()));
    println!("  from     to       ping ms  TCP    UDP    100 kB  path          fast packets");
    for (from, to) in pairs {
        let outcome = try_pair(from, to)?;
        row(show, from, to, &outcome);
    }
    println!("\n  Fast: from the sending pod's link straight to the receiving pod's link, or to");
    println!("  the wire, past the host's stack. A flow's first packets take the stack.");
    Ok(())
}

fn row(show: &mut Show, from: &Pod, to: &Pod, outcome: &Outcome) {
    let word = |ok: bool| if ok { "ok" } else { "FAILED" };
    println!(
        "  {:8} {:8} {:>7}  {:6} {:6} {:6}  {:12} {:>11} %",
        from.label(),
        to.label(),
        outcome.ping_ms,
        word(outcome.tcp),
        word(outcome.udp),
        word(outcome.bulk),
        outcome.path,
        outcome.fast_percent,
    );
    let local = from.node().name() == to.node().name();
    let wanted = if local { "local fast" } else { "remote fast" };
    let all = outcome.ping_ms != "FAILED" && outcome.tcp && outcome.udp && outcome.bulk;
    if !all || outcome.path != wanted {
        show.failure(format!("from {} to {}: see the table", from.label(), to.label()));
    }
}

fn try_pair(from: &Pod, to: &Pod) -> Result<Outcome> {
    let ip: IpAddr = to.address()?.into();
    let before = paths(from, to)?;
    let ping = from.run(&format!("ping -n -c 1 -W 1 {ip}"));
    let tcp = traffic::crr_count(from, ip, 5).is_ok_and(|report| report.failed == 0);
    let probe = traffic::udp_probe(from, &[ip], 1000, 0.05)?.finish()?;
    let udp = probe.iter().all(|report| report.lost == 0 && report.refused == 0);
    let bulk = traffic::tcp_bytes(from, ip, 100_000).is_ok_and(|report| report.intact);
    let added = paths(from, to)?.since(&before);
    let (path, fast_percent) = judge(&added);
    let ping_ms = ping.as_deref().map_or("FAILED".to_owned(), round_trip);
    Ok(Outcome { ping_ms, tcp, udp, bulk, path, fast_percent })
}

/// The counters of both nodes: answers are counted where they are sent.
fn paths(from: &Pod, to: &Pod) -> Result<Counts> {
    let mine = from.node().paths().context("the counters of the sender's node")?;
    if from.node().name() == to.node().name() {
        return Ok(mine);
    }
    Ok(mine.plus(&to.node().paths()?))
}

/// The path of most packets between the pods, and how many of 100 went fast.
fn judge(added: &Counts) -> (&'static str, u64) {
    let local = added.get("pod-local-fast");
    let remote = added.get("pod-remote-fast");
    let stack = added.get("pod-to-stack");
    let all = (local + remote + stack).max(1);
    let path = if stack > local + remote {
        "stack"
    } else if local > remote {
        "local fast"
    } else if remote > 0 {
        "remote fast"
    } else {
        "not counted"
    };
    (path, (local + remote) * 100 / all)
}

fn round_trip(ping: &str) -> String {
    let after = ping.split("time=").nth(1);
    after.and_then(|rest| rest.split_whitespace().next()).unwrap_or("?").to_owned()
}
