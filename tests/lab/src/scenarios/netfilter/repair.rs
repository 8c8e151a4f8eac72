//! Whatever somebody deletes of our rules is back within a second, what is not ours stays as it
//! is, and no process is made for any of it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;

use super::ground::{Ground, MIRROR, OUTSIDE, Start};
use super::masquerade::asked;
use crate::netfilter_rules::{Rules, deletions, handles};
use crate::node::Node;
use crate::process::{Place as _, checked, eventually};
use crate::scenario::Scenario;
use crate::wire::Wire;

/// The limit of the product's promise.
const LIMIT: Duration = Duration::from_secs(1);
/// A machine of two processors that runs everything at once may be late; three times in a row it
/// is not.
const TRIES: usize = 3;
/// The filter of `tool confined` under which the attempt to make a process kills.
pub(super) const NO_CHILDREN: [&str; 5] =
    ["/mnt/bin/tartan-lab", "tool", "confined", "--no-children", "--"];

/// Each rule, chain, set element and table of ours, one after the other.
pub(super) fn of_anything(scenario: &mut Scenario) -> Result<()> {
    let start = Start { launcher: &NO_CHILDREN, ..Start::default() };
    let ground = Ground::tartan(scenario.lab(Wire::Offloaded)?, &start)?;
    let node = &ground.nodes[0];
    strangers(node)?;
    let (foreign, ours) = (Rules::foreign(node)?, Rules::ours(node)?);
    let number = deletions(node)?.len();
    ensure!(number > 8, "only {number} things to delete: {ours:#?}");
    for index in 0..number {
        // Handles are new after every repair.
        let name = deletions(node)?.swap_remove(index).name;
        back_within_the_limit(scenario, node, &ours, &name, || {
            let script = deletions(node)?.swap_remove(index).script;
            node.write("/run/deletion.nft", &script)?;
            node.run("nft -f /run/deletion.nft").map(drop)
        })?;
    }
    works(&ground)?;
    foreign.unchanged("repairs", &Rules::foreign(node)?)
}

/// Somebody empties everything, in nft's way and in that of iptables, on a node whose firewall
/// drops what is forwarded.
pub(super) fn of_everything(scenario: &mut Scenario) -> Result<()> {
    let start = Start { launcher: &NO_CHILDREN, ..Start::default() };
    let ground = Ground::tartan(scenario.lab(Wire::Offloaded)?, &start)?;
    let node = &ground.nodes[0];
    node.run("iptables -w -P FORWARD DROP")?;
    eventually("the accepting rules", LIMIT * 3, || {
        Ok(Rules::ours(node)?.with("FORWARD").len() == 2)
    })?;
    let ours = Rules::ours(node)?;
    for command in [
        "iptables -w -F",
        "iptables -w -F FORWARD",
        "iptables -w -D FORWARD 2",
        "iptables -w -D FORWARD 1",
        "iptables -w -t nat -F",
        // The policy is gone as well, and put back as firewalls do it.
        "nft flush ruleset ; iptables-nft -w -P FORWARD DROP",
    ] {
        let delete = || node.shell(command).map(drop);
        back_within_the_limit(scenario, node, &ours, command, delete)?;
    }
    works(&ground)
}

/// The time from the command's end until everything of ours is as it was.
fn back_within_the_limit(
    scenario: &Scenario,
    node: &Node,
    ours: &Rules,
    what: &str,
    delete: impl Fn() -> Result<()>,
) -> Result<()> {
    let mut late = Vec::new();
    for _ in 0..TRIES {
        delete().context(what.to_owned())?;
        let start = Instant::now();
        let mut now = ours.clone();
        let back = eventually(what, LIMIT * 5, || {
            now = Rules::ours(node)?;
            Ok(now.same_lines(ours))
        });
        back.with_context(|| ours.diff(&now).join("\n"))?;
        let taken = start.elapsed();
        scenario.note(format!("{what}: back after {} ms", taken.as_millis()));
        if taken < LIMIT {
            return Ok(());
        }
        late.push(taken);
    }
    anyhow::bail!("{what}: back only after {late:?}")
}

fn works(ground: &Ground) -> Result<()> {
    let address = ground.nodes[0].address();
    let report = asked(&ground.pods[0], (OUTSIDE, MIRROR), "--count 5")?;
    ensure!(report.answers.iter().all(|answer| answer.seen.ip() == address), "{report:?}");
    for flags in ["--count 5", "--count 5 --udp"] {
        let report = asked(&ground.pods[0], (ground.pods[2].address()?, MIRROR), flags)?;
        ensure!(report.answers.iter().all(|answer| answer.own == answer.seen), "{report:?}");
    }
    Ok(())
}

/// What others have in netfilter: kube-proxy-like chains and marks, a firewall's tables.
fn strangers(node: &Node) -> Result<()> {
    node.shell(
        "iptables -w -t nat -N KUBE-POSTROUTING
         iptables -w -t nat -A KUBE-POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE
         iptables -w -t nat -A POSTROUTING -j KUBE-POSTROUTING
         iptables -w -t mangle -A PREROUTING -p tcp --dport 9 -j MARK --set-xmark 0x2000/0x2000
         iptables -w -A FORWARD -p tcp --dport 9 -j DROP
         ip6tables -w -A FORWARD -p tcp --dport 9 -j DROP
         iptables-legacy -w -t mangle -A POSTROUTING -p tcp --dport 9 -j DROP",
    )?;
    node.write(
        "/run/strangers.nft",
        "table inet firewall {
           set neighbours {
             type ipv4_addr
             elements = { 192.0.2.1 }
           }
           chain forward {
             type filter hook forward priority filter + 10
             ip saddr @neighbours drop
           }
         }
         table ip nat2 {
           chain out {
             type nat hook postrouting priority srcnat - 5
             oif lo masquerade
           }
         }
         table ip6 other {
           chain c {
             tcp dport 9 drop
           }
         }
         ",
    )?;
    node.run("nft -f /run/strangers.nft").map(drop)
}

/// What others have is the same before the agent's first start, while it runs, after its end and
/// after the clean-up, which leaves nothing of ours.
pub(super) fn strangers_are_left_alone(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let node = lab.node()?;
    strangers(&node)?;
    node.run("iptables -w -P FORWARD DROP")?;
    let before = Rules::foreign(&node)?;
    let mut agent = node.start_agent_with(&["--ip-masq"])?;
    agent.wait_ready()?;
    before.unchanged("with the agent", &Rules::foreign(&node)?)?;
    let ours = Rules::ours(&node)?;
    ensure!(!ours.with("masquerade").is_empty() && ours.with("FORWARD").len() == 2, "{ours:#?}");
    node.run("nft delete table ip tartan")?;
    eventually("the repair", LIMIT * 3, || Ok(Rules::ours(&node)? == ours))?;
    before.unchanged("after a repair", &Rules::foreign(&node)?)?;
    agent.stop(Signal::SIGTERM)?;
    ours.unchanged("a stopped agent", &Rules::ours(&node)?)?;
    checked(node.product("tartanctl")?.arg("cleanup"))?;
    let left = Rules::ours(&node)?;
    ensure!(left.is_empty(), "left by the clean-up: {left:#?}");
    before.unchanged("after the clean-up", &Rules::foreign(&node)?)
}

/// A restart finds its table right and does not write it again.
pub(super) fn a_right_table_is_left(scenario: &mut Scenario) -> Result<()> {
    let mut ground = Ground::tartan(scenario.lab(Wire::Offloaded)?, &Start::default())?;
    let node = ground.nodes[0].clone();
    let before = (handles(&node)?, Rules::ours(&node)?);
    ensure!(!before.0.is_empty(), "no rules of ours");
    ground.restart(&Start::default())?;
    let after = (handles(&node)?, Rules::ours(&node)?);
    before.1.unchanged("a restart", &after.1)?;
    ensure!(before.0 == after.0, "rules were written again: {:?}, then {:?}", before.0, after.0);
    ground.restart(&Start { flags: &[], ..Start::default() })?;
    let without = Rules::ours(&node)?;
    ensure!(without.with("masquerade").is_empty(), "without the flag: {without:#?}");
    Ok(())
}

/// `--ip-blackhole-route` keeps what is for no pod of the node's subnet from wandering.
pub(super) fn blackhole(scenario: &mut Scenario) -> Result<()> {
    let start = Start { flags: &["--ip-masq", "--ip-blackhole-route"], ..Start::default() };
    let mut ground = Ground::tartan(scenario.lab(Wire::Offloaded)?, &start)?;
    let node = ground.nodes[0].clone();
    let route = format!("blackhole {}", super::ground::subnet(&node)?);
    let there = || Ok(node.run("ip route show type blackhole")?.contains(&route));
    ensure!(there()?, "no {route}");
    works(&ground)?;
    node.run(&format!("ip route del {route}"))?;
    eventually("the route is back", LIMIT * 10, there)?;
    works(&ground)?;
    ground.end_agent(Signal::SIGTERM)?;
    ensure!(there()?, "a stopped agent took {route} along");
    for pod in &ground.pods[..2] {
        pod.cni_del()?;
    }
    checked(node.product("tartanctl")?.arg("cleanup"))?;
    ensure!(!there()?, "left by the clean-up: {route}");
    Ok(())
}
