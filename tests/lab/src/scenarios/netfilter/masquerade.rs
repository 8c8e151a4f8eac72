//! Servers see the same source addresses behind Tartan as behind flannel, kind of flow by kind of
//! flow, and the flags and keys about masquerading do what they say.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::{Result, ensure};

use super::ground::{BEHIND, CONF, Flavour, Ground, MIRROR, OUTSIDE, Start, TUNNEL, ask, mirror};
use super::table::{Column, compare};
use crate::netfilter_rules::Rules;
use crate::process::Place;
use crate::scenario::Scenario;
use crate::tools::seen::SeenReport;
use crate::wire::{Outside, Wire};

/// The reference: flannel itself.
pub(super) fn flannels_table(scenario: &mut Scenario, flavour: Flavour) -> Result<()> {
    let ground = Ground::flannel(scenario.lab(Wire::Offloaded)?, flavour)?;
    let column = match flavour {
        Flavour::Iptables => Column::Reference,
        Flavour::Nft => Column::FlannelNft,
    };
    compare(scenario, &ground, "iptables", column)
}

/// Ours, with kube-proxy's rules made by this program.
pub(super) fn our_table(scenario: &mut Scenario, launcher: &[&str], iptables: &str) -> Result<()> {
    let start = Start { launcher, ..Start::default() };
    let ground = Ground::tartan(scenario.lab(Wire::Offloaded)?, &start)?;
    compare(scenario, &ground, iptables, Column::Reference)
}

/// Without the flag pods keep their addresses everywhere.
pub(super) fn not_asked_for(scenario: &mut Scenario) -> Result<()> {
    let start = Start { flags: &[], ..Start::default() };
    let ground = Ground::tartan(scenario.lab(Wire::Offloaded)?, &start)?;
    for to in [OUTSIDE, BEHIND, ground.nodes[1].address()] {
        for over in ["", "--udp"] {
            let report = asked(&ground.pods[0], (to, MIRROR), &format!("--count 3 {over}"))?;
            let kept = report.answers.iter().all(|answer| answer.own == answer.seen);
            ensure!(kept, "to {to} {over}: {report:?}");
        }
    }
    let ours = Rules::ours(&ground.nodes[0])?;
    ensure!(ours.with("masquerade").is_empty(), "{ours:#?}");
    Ok(())
}

/// Towards these networks pods keep their source address; elsewhere they are masqueraded.
pub(super) fn exceptions(scenario: &mut Scenario) -> Result<()> {
    let key = r#""NonMasqueradeCIDRs":["198.51.100.0/24","203.0.113.0/24"],"Backend""#;
    let net_conf = CONF.replace(r#""Backend""#, key);
    let start = Start { net_conf: &net_conf, ..Start::default() };
    let ground = Ground::tartan(scenario.lab(Wire::Offloaded)?, &start)?;
    for over in ["", "--udp"] {
        let flags = format!("--count 3 {over}");
        let behind = asked(&ground.pods[0], (BEHIND, MIRROR), &flags)?;
        let kept = behind.answers.iter().all(|answer| answer.own == answer.seen);
        ensure!(kept, "to {BEHIND} {over}: {behind:?}");
        let outside = asked(&ground.pods[0], (OUTSIDE, MIRROR), &flags)?;
        let address = ground.nodes[0].address();
        let masqueraded = outside.answers.iter().all(|answer| answer.seen.ip() == address);
        ensure!(masqueraded, "to {OUTSIDE} {over}: {outside:?}");
    }
    Ok(())
}

/// Source ports are chosen at random, unless the flag leaves them to the kernel, which keeps free
/// ones.
pub(super) fn ports(scenario: &mut Scenario, launcher: &[&str]) -> Result<()> {
    let start = Start { launcher, ..Start::default() };
    let mut ground = Ground::tartan(scenario.lab(Wire::Offloaded)?, &start)?;
    let pod = ground.pods[0].clone();
    for over in ["", "--udp"] {
        let report = asked(&pod, (OUTSIDE, MIRROR), &format!("--count 50 {over}"))?;
        let kept = ports_kept(&report);
        scenario.note(format!("fully random, {over}: {kept} of 50 ports kept"));
        ensure!(kept <= 2, "{kept} of 50 ports kept {over}");
    }
    let disabled = ["--ip-masq", "--ip-masq-fully-random-disable"];
    ground.restart(&Start { flags: &disabled, ..start })?;
    for over in ["", "--udp"] {
        let report = asked(&pod, (OUTSIDE, MIRROR), &format!("--count 50 {over}"))?;
        let kept = ports_kept(&report);
        scenario.note(format!("left to the kernel, {over}: {kept} of 50 ports kept"));
        // Ports of the first half may still be in use.
        ensure!(kept >= 45, "{kept} of 50 ports kept {over}");
    }
    Ok(())
}

fn ports_kept(report: &SeenReport) -> usize {
    let kept = report.answers.iter().filter(|answer| answer.own.port() == answer.seen.port());
    kept.count()
}

/// A masqueraded packet never leaves from the tunnel's port, whatever port the pod has and however
/// ports are chosen; to port 8472 of a host that is no node pods may send.
pub(super) fn tunnel_port(scenario: &mut Scenario, launcher: &[&str]) -> Result<()> {
    let start = Start { launcher, ..Start::default() };
    let mut ground = Ground::tartan(scenario.lab(Wire::Offloaded)?, &start)?;
    never_from_the_tunnel_port(scenario, &ground, 6000)?;
    let disabled = ["--ip-masq", "--ip-masq-fully-random-disable"];
    ground.restart(&Start { flags: &disabled, ..start })?;
    never_from_the_tunnel_port(scenario, &ground, 200)?;
    let _mirror = mirror(&Outside, OUTSIDE, TUNNEL)?;
    let report = asked(&ground.pods[0], (OUTSIDE, TUNNEL), "--udp --count 5")?;
    let address = ground.nodes[0].address();
    ensure!(report.answers.iter().all(|answer| answer.seen.ip() == address), "{report:?}");
    Ok(())
}

fn never_from_the_tunnel_port(scenario: &Scenario, ground: &Ground, flows: u64) -> Result<()> {
    let (pod, address) = (&ground.pods[0], ground.nodes[0].address());
    let mut seen = BTreeSet::new();
    for (flags, to) in [
        (format!("--udp --count {flows}"), OUTSIDE),
        // The pod's own choice, as often as conntrack lets it make a new flow of it.
        (format!("--udp --count 1 --from 0.0.0.0:{TUNNEL}"), OUTSIDE),
        (format!("--udp --count 1 --from 0.0.0.0:{TUNNEL}"), BEHIND),
        (format!("--udp --count 1 --from 0.0.0.0:{TUNNEL}"), ground.nodes[1].address()),
    ] {
        let report = asked(pod, (to, MIRROR), &flags)?;
        let masqueraded = report.answers.iter().all(|answer| answer.seen.ip() == address);
        ensure!(masqueraded, "{flags}: not masqueraded");
        seen.extend(report.answers.iter().map(|answer| answer.seen.port()));
    }
    scenario.note(format!("{} source ports, {:?} to {:?}", seen.len(), seen.first(), seen.last()));
    ensure!(!seen.contains(&TUNNEL), "a pod's datagram left from port {TUNNEL}");
    Ok(())
}

/// Asks; every question must be answered.
pub(super) fn asked(
    place: &dyn Place,
    to: (impl Into<IpAddr>, u16),
    flags: &str,
) -> Result<SeenReport> {
    let report = ask(place, to, flags)?.finish()?;
    ensure!(
        report.failed == 0 && !report.answers.is_empty(),
        "{flags}: {:?}",
        report.first_failure
    );
    Ok(report)
}
