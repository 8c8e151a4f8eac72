//! Beside a host's firewall: what an operator has to allow, shown with and without it, and that
//! nothing of ours lets a packet through that somebody wants stopped (docs/FIREWALLS.md).

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::ground::{Ground, MIRROR, OUTSIDE, Start, TUNNEL, ask, mirror};
use crate::forge::TunnelFrame;
use crate::frames::{self, Ipv4, UDP};
use crate::lease::Lease;
use crate::netfilter_rules::Rules;
use crate::node::Node;
use crate::pod::link_mac;
use crate::process::{Place, checked, eventually};
use crate::scenario::Scenario;
use crate::traffic;
use crate::wire::Wire;

/// How long the agent may take to see a change and act.
const SOON: Duration = Duration::from_secs(3);
/// A second port in pods, which an operator's rule refuses.
const REFUSED: u16 = 7301;

/// Whether a question over each transport is answered; both or none.
fn talks(place: &dyn Place, to: (Ipv4Addr, u16)) -> Result<bool> {
    let over = |flags: &str| -> Result<bool> {
        let flags = format!("{flags} --count 2 --patience-ms 300");
        let report = ask(place, to, &flags)?.finish()?;
        ensure!(report.failed == 0 || report.answers.is_empty(), "now and then: {report:?}");
        Ok(report.failed == 0)
    };
    let (tcp, udp) = (over("")?, over("--udp")?);
    ensure!(tcp == udp, "{}: TCP {tcp}, UDP {udp}", place.label());
    Ok(tcp)
}

/// Where a pod of the first node goes by way of the forward chain, and how a pod of the second
/// one comes in.
fn forwarded(ground: &Ground) -> Result<[(&'static str, bool); 4]> {
    let [a, b, c] = &ground.pods;
    Ok([
        ("to a pod of the node", talks(a, (b.address()?, MIRROR))?),
        ("to a pod of another node", talks(a, (c.address()?, MIRROR))?),
        ("from a pod of another node", talks(c, (b.address()?, MIRROR))?),
        ("to an outside host", talks(a, (OUTSIDE, MIRROR))?),
    ])
}

fn all(what: &str, wanted: bool, seen: &[(&'static str, bool)]) -> Result<()> {
    let wrong: Vec<_> = seen.iter().filter(|(_, talks)| *talks != wanted).collect();
    ensure!(wrong.is_empty(), "{what}: should all be {wanted}: {wrong:?}");
    Ok(())
}

fn chain(node: &Node, iptables: &str, chain: &str) -> Result<Vec<String>> {
    let text = node.run(&format!("{iptables} -w -S {chain}"))?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn ours_in_forward(node: &Node, iptables: &str) -> Result<usize> {
    let rules = chain(node, iptables, "FORWARD")?;
    Ok(rules.iter().filter(|rule| rule.contains("tartan forward")).count())
}

/// A forward chain that drops by policy.
pub(super) fn forward_drop(
    scenario: &mut Scenario,
    iptables: &str,
    launcher: &[&str],
) -> Result<()> {
    let start = Start { launcher, ..Start::default() };
    let mut ground = Ground::tartan(scenario.lab(Wire::Offloaded)?, &start)?;
    let (node, refused) = (ground.nodes[0].clone(), ground.pods[2].address()?);
    let _mirror = mirror(&ground.pods[2], refused, REFUSED)?;
    for protocol in ["tcp", "udp"] {
        let rule = format!("-A FORWARD -p {protocol} --dport {REFUSED} -j REJECT");
        node.run(&format!("{iptables} -w {rule}"))?;
    }
    let before = chain(&node, iptables, "FORWARD")?;
    ensure!(ours_in_forward(&node, iptables)? == 0, "not asked for: {before:?}");
    node.run(&format!("{iptables} -w -P FORWARD DROP"))?;
    eventually("our two rules", SOON, || Ok(ours_in_forward(&node, iptables)? == 2))?;
    let rules = chain(&node, iptables, "FORWARD")?;
    scenario.note(format!("{rules:#?}"));
    let behind = rules.iter().rev().take(2).all(|rule| rule.contains("tartan forward"));
    ensure!(behind && rules[1..rules.len() - 2] == before[1..], "not at the end: {rules:#?}");
    all("with our rules", true, &forwarded(&ground)?)?;
    ensure!(!talks(&ground.pods[0], (refused, REFUSED))?, "an earlier rule was overruled");
    node.run(&format!("{iptables} -w -P FORWARD ACCEPT"))?;
    eventually("our rules go with the policy", SOON, || {
        Ok(chain(&node, iptables, "FORWARD")? == before)
    })?;
    all("after the policy's end", true, &forwarded(&ground)?)?;
    let flags = ["--ip-masq", "--iptables-forward-rules=false"];
    ground.restart(&Start { flags: &flags, launcher, ..Start::default() })?;
    node.run(&format!("{iptables} -w -P FORWARD DROP"))?;
    tells_of_an_obstacle(scenario, &node, "FORWARD")?;
    ensure!(ours_in_forward(&node, iptables)? == 0, "rules in spite of the flag");
    all("without our rules", false, &forwarded(&ground)?)
}

/// `tartanctl status` names the chain in which pods' packets end.
fn tells_of_an_obstacle(scenario: &Scenario, node: &Node, chain: &str) -> Result<()> {
    let mut said = String::new();
    eventually("the status tells of an obstacle", SOON, || {
        // It may end with an error because it has something to tell.
        let mut command = node.product("tartanctl")?;
        let output = crate::process::captured(command.args(["status", "-o", "json"]))?;
        let status: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        said = status["problems"].to_string();
        Ok(said.contains(chain))
    })
    .with_context(|| format!("{chain} is not in {said}"))?;
    scenario.note(said);
    Ok(())
}

/// Nothing is said when nothing is in the way.
fn tells_of_none(node: &Node, chain: &str) -> Result<()> {
    eventually("the status tells of no obstacle", SOON, || {
        let status = checked(node.product("tartanctl")?.args(["status", "-o", "json"]))?;
        let status: serde_json::Value = serde_json::from_str(&status)?;
        Ok(!status["problems"].to_string().contains(chain))
    })
}

/// Rules in ufw's manner: both policies drop, chains before and after, ssh allowed.
fn ufw(node: &Node) -> Result<()> {
    node.shell(
        "for c in input forward output; do
           for w in before user after; do iptables -w -N ufw-$w-$c; done
         done
         for c in input forward output; do
           C=$(echo $c | tr a-z A-Z)
           for w in before after; do iptables -w -A $C -j ufw-$w-$c; done
         done
         iptables -w -A ufw-before-input -i lo -j ACCEPT
         iptables -w -A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
         iptables -w -A ufw-before-input -m conntrack --ctstate INVALID -j DROP
         iptables -w -A ufw-before-input -p icmp -j ACCEPT
         iptables -w -A ufw-before-input -j ufw-user-input
         iptables -w -A ufw-user-input -p tcp --dport 22 -j ACCEPT
         iptables -w -A ufw-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
         iptables -w -A ufw-before-forward -p icmp -j ACCEPT
         iptables -w -A ufw-before-forward -j ufw-user-forward
         iptables -w -P INPUT DROP
         iptables -w -P FORWARD DROP",
    )
    .map(drop)
}

/// With ufw's defaults: forwarding works by the two rules at the end; what the node itself serves
/// to pods has to be allowed.
pub(super) fn beside_ufw(scenario: &mut Scenario) -> Result<()> {
    let ground = Ground::tartan(scenario.lab(Wire::Offloaded)?, &Start::default())?;
    let node = &ground.nodes[0];
    ufw(node)?;
    eventually("our two rules", SOON, || Ok(ours_in_forward(node, "iptables")? == 2))?;
    all("forwarding beside ufw", true, &forwarded(&ground)?)?;
    let own = (node.address(), MIRROR);
    ensure!(!talks(&ground.pods[0], own)?, "ufw's INPUT did not stop a pod");
    // ufw allow from 10.244.0.0/16
    node.run("iptables -w -A ufw-user-input -s 10.244.0.0/16 -j ACCEPT")?;
    ensure!(talks(&ground.pods[0], own)?, "allowed, and stopped all the same");
    // A refusal of the operator's stands before ours.
    node.run("iptables -w -A ufw-user-forward -s 10.244.0.0/16 -d 172.30.0.1 -j REJECT")?;
    ensure!(!talks(&ground.pods[0], (OUTSIDE, MIRROR))?, "a rule of the operator's was overruled");
    nothing_accepts_elsewhere(node)
}

/// Our own table accepts nothing by itself.
fn nothing_accepts_elsewhere(node: &Node) -> Result<()> {
    let table = node.run("nft -n list table ip tartan")?;
    let verdicts = table.lines().filter(|line| !line.contains("policy accept"));
    let accepting: Vec<_> = verdicts.filter(|line| line.contains("accept")).collect();
    ensure!(accepting.is_empty(), "{accepting:?}");
    Ok(())
}

/// A table in firewalld's manner: the uplink in a zone that serves ssh, everything else rejected;
/// `trusted` are rules for what is in the trusted zone. Loading it again is a reload.
fn firewalld(node: &Node, trusted: [&str; 3]) -> Result<()> {
    let [input, source, destination] = trusted;
    let head = |hook: &str| {
        format!(
            "type filter hook {hook} priority filter + 10
             ct state established,related accept
             ct status dnat accept
             iifname lo accept"
        )
    };
    let table = format!(
        "table inet firewalld
         delete table inet firewalld
         table inet firewalld {{
           chain filter_IN_public {{
             tcp dport 22 accept
             meta l4proto {{ icmp, ipv6-icmp }} accept
           }}
           chain filter_FWDI_public {{
             meta l4proto {{ icmp, ipv6-icmp }} accept
           }}
           chain filter_FWD_trusted {{
             accept
           }}
           chain filter_INPUT_ZONES {{
             {input}
             goto filter_IN_public
           }}
           chain filter_FORWARD_IN_ZONES {{
             {source}
             iifname eth0 goto filter_FWDI_public
             goto filter_FWDI_public
           }}
           chain filter_FORWARD_OUT_ZONES {{
             {destination}
             return
           }}
           chain filter_INPUT {{
             {}
             jump filter_INPUT_ZONES
             ct state invalid drop
             reject with icmpx type admin-prohibited
           }}
           chain filter_FORWARD {{
             {}
             jump filter_FORWARD_IN_ZONES
             jump filter_FORWARD_OUT_ZONES
             ct state invalid drop
             reject with icmpx type admin-prohibited
           }}
         }}
         ",
        head("input"),
        head("forward")
    );
    node.write("/run/firewalld.nft", &table)?;
    node.run("nft -f /run/firewalld.nft").map(drop)
}

/// What `firewall-cmd --zone=trusted --add-source=10.244.0.0/16` adds.
const TRUSTED: [&str; 3] = [
    "ip saddr 10.244.0.0/16 accept",
    "ip saddr 10.244.0.0/16 goto filter_FWD_trusted",
    "ip daddr 10.244.0.0/16 goto filter_FWD_trusted",
];

/// firewalld rejects pods' packets until the pod network is in its trusted zone; an acceptance of
/// ours would not help and is not tried.
pub(super) fn beside_firewalld(scenario: &mut Scenario) -> Result<()> {
    let ground = Ground::tartan(scenario.lab(Wire::Offloaded)?, &Start::default())?;
    let node = &ground.nodes[0];
    firewalld(node, [""; 3])?;
    tells_of_an_obstacle(scenario, node, "filter_FORWARD")?;
    all("beside firewalld", false, &forwarded(&ground)?)?;
    let own = (node.address(), MIRROR);
    ensure!(!talks(&ground.pods[0], own)?, "firewalld's INPUT did not stop a pod");
    let ours = Rules::ours(node)?;
    firewalld(node, TRUSTED)?;
    all("in the trusted zone", true, &forwarded(&ground)?)?;
    ensure!(talks(&ground.pods[0], own)?, "allowed, and stopped all the same");
    tells_of_none(node, "filter_FORWARD")?;
    let foreign = Rules::foreign(node)?;
    firewalld(node, TRUSTED)?;
    all("after a reload", true, &forwarded(&ground)?)?;
    foreign.unchanged("a reload", &Rules::foreign(node)?)?;
    ours.unchanged("reloads", &Rules::ours(node)?)?;
    nothing_accepts_elsewhere(node)
}

/// The programs take tunnel packets before netfilter sees them: rules for UDP 8472 at INPUT meet
/// none of them, drop or accept. What judges senders is the rule of acceptance.
pub(super) fn input_sees_no_tunnel(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let stranger = lab.outsider("stranger")?;
    let ground = Ground::tartan(lab, &Start::default())?;
    let (node, pod) = (&ground.nodes[0], &ground.pods[0]);
    node.run(&format!("iptables -w -A INPUT -p udp --dport {TUNNEL} -j DROP"))?;
    node.run("iptables -w -P INPUT DROP")?;
    let from = &ground.pods[2];
    for _ in 0..20 {
        ensure!(talks(from, (pod.address()?, MIRROR))?, "a rule at INPUT stopped pods");
    }
    let shown = node.run("iptables -w -nvxL INPUT")?;
    let rule = shown.lines().find(|line| line.contains("8472")).context("no rule")?;
    ensure!(rule.split_whitespace().next() == Some("0"), "it met packets: {rule}");
    scenario.note(rule);
    let leases = Lease::all()?;
    let lease = leases.iter().find(|lease| lease.name == node.name()).context("no lease")?;
    let inner = Ipv4::new(from.address()?, pod.address()?, UDP).udp(7200, 7200, b"forged");
    let frame = TunnelFrame::new(
        (stranger.address(), link_mac(&stranger, "eth0")?),
        (node.address(), link_mac(node, "eth0")?),
        frames::mac(&lease.vtep)?,
        inner,
    );
    let (sink, before) = (traffic::udp_sink(pod, None)?, node.drops()?);
    traffic::raw_send(&stranger, "eth0", &[frame.build()], 50)?;
    eventually(
        "the refusals are counted",
        SOON,
        || Ok(node.drops()?.since(&before).total() == 50),
    )?;
    scenario.note(format!("{:?}", node.drops()?.since(&before)));
    ensure!(sink.stop()?.received == 0, "a stranger's packet was delivered");
    Ok(())
}

/// Tunnel packets in fragments are put together by the kernel, which shows them to INPUT: there an
/// operator has to let them through.
pub(super) fn input_sees_fragments(scenario: &mut Scenario) -> Result<()> {
    let start = Start { flags: &[], ..Start::default() };
    let ground = Ground::tartan(scenario.lab(Wire::Routed { path_mtu: 1400 })?, &start)?;
    let [pod, _, far] = &ground.pods;
    let ping = |size: u16| -> Result<bool> {
        pod.succeeds(&format!("ping -n -c 3 -i 0.1 -W 1 -M do -s {size} {}", far.address()?))
    };
    ensure!(ping(1400)? && ping(64)?, "pods do not reach each other");
    for node in &ground.nodes {
        node.run(&format!("iptables -w -A INPUT -p udp --dport {TUNNEL} -j DROP"))?;
    }
    ensure!(ping(64)?, "whole packets were stopped at INPUT");
    ensure!(!ping(1400)?, "fragments were not stopped at INPUT");
    for (node, other) in [(0, 1), (1, 0)] {
        let nodes = format!("-s {}", ground.nodes[other].address());
        let allow = format!("iptables -w -I INPUT {nodes} -p udp --dport {TUNNEL} -j ACCEPT");
        ground.nodes[node].run(&allow)?;
    }
    ensure!(ping(1400)?, "allowed, and stopped all the same");
    Ok(())
}
