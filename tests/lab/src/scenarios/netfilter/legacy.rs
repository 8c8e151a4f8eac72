//! A kernel without nf_tables: the same outcome through xtables, looked after by looking.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;

use super::ground::{Ground, MIRROR, OUTSIDE, Start};
use super::masquerade::asked;
use crate::netfilter_rules::Rules;
use crate::node::Node;
use crate::process::{Place as _, checked, eventually};
use crate::scenario::Scenario;
use crate::wire::Wire;

/// Netlink sockets of netfilter are refused, as by a kernel that has none, and so is every child.
pub(super) const NO_NF_TABLES: [&str; 6] =
    ["/mnt/bin/tartan-lab", "tool", "confined", "--no-nf-tables", "--no-children", "--"];
/// The limit of the product's promise.
const LIMIT: Duration = Duration::from_secs(1);
const TRIES: usize = 3;

/// Each rule of ours and each jump, whole chains, whole tables: back within a second, others'
/// rules as they were; the clean-up leaves nothing.
pub(super) fn repair(scenario: &mut Scenario) -> Result<()> {
    let start = Start { launcher: &NO_NF_TABLES, ..Start::default() };
    let mut ground = Ground::tartan(scenario.lab(Wire::Offloaded)?, &start)?;
    let node = ground.nodes[0].clone();
    the_filter_bites(&node)?;
    ensure!(!node.succeeds("nft list table ip tartan")?, "the agent did use nf_tables");
    let masquerading = Rules::ours(&node)?;
    node.shell(
        "iptables-legacy -w -t nat -N KUBE-POSTROUTING
         iptables-legacy -w -t nat -I POSTROUTING -j KUBE-POSTROUTING
         iptables-legacy -w -A FORWARD -p tcp --dport 9 -j DROP
         iptables-legacy -w -t mangle -A PREROUTING -p tcp --dport 9 -j MARK --set-mark 0x2000",
    )?;
    let foreign = Rules::foreign(&node)?;
    masquerading.unchanged("others' rules", &Rules::ours(&node)?)?;
    for deletion in deletions(&node)? {
        back_within_the_limit(scenario, &node, &masquerading, &deletion)?;
    }
    works(&ground)?;
    foreign.unchanged("repairs", &Rules::foreign(&node)?)?;
    for all in ["-t nat -F", "-t mangle -F", "-t nat -F ; iptables-legacy -w -t nat -X"] {
        back_within_the_limit(scenario, &node, &masquerading, all)?;
    }
    works(&ground)?;
    ground.end_agent(Signal::SIGTERM)?;
    checked(node.product("tartanctl")?.arg("cleanup"))?;
    let left = Rules::ours(&node)?;
    ensure!(left.is_empty(), "left by the clean-up: {left:#?}");
    Ok(())
}

/// Under the filter nft has no nf_tables, and a shell no children.
fn the_filter_bites(node: &Node) -> Result<()> {
    let [program, words @ ..] = NO_NF_TABLES;
    let confined = |line: &[&str]| {
        let mut command = node.command(program);
        command.args(words).args(line);
        crate::process::captured(&mut command)
    };
    let nft = confined(&["nft", "list", "ruleset"])?;
    ensure!(!nft.status.success(), "nft works under the filter");
    ensure!(confined(&["true"])?.status.success(), "nothing works under the filter");
    let shell = confined(&["sh", "-c", "ls / | cat; echo alive"])?;
    let said = String::from_utf8_lossy(&shell.stdout);
    ensure!(!shell.status.success() && !said.contains("alive"), "a shell made children: {said}");
    Ok(())
}

/// What deletes each rule of our chains and each jump to them, and empties each chain: words after
/// `iptables-legacy -w`.
fn deletions(node: &Node) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for table in ["nat", "mangle"] {
        let rules = node.run(&format!("iptables-legacy -w -t {table} -S"))?;
        let ours = rules.lines().filter(|rule| rule.contains("TARTAN-"));
        for (chain, number) in numbered(&rules, ours) {
            all.push(format!("-t {table} -D {chain} {number}"));
            if chain.starts_with("TARTAN-") && number == 1 {
                all.push(format!("-t {table} -F {chain}"));
            }
        }
    }
    let guard = all.iter().any(|words| words.contains("TARTAN-FWD"));
    ensure!(guard && all.len() > 12, "only {all:?}");
    Ok(all)
}

/// Chain and number of each of `ours` among `all` rules, as `iptables -D` takes them.
fn numbered<'a>(all: &'a str, ours: impl Iterator<Item = &'a str>) -> Vec<(&'a str, usize)> {
    let chain = |rule: &'a str| rule.strip_prefix("-A ")?.split_whitespace().next();
    let number = |rule: &'a str| {
        let name = chain(rule)?;
        let mut same = all.lines().filter(|other| chain(other) == Some(name));
        Some((name, 1 + same.position(|other| other == rule)?))
    };
    ours.filter_map(number).collect()
}

fn back_within_the_limit(
    scenario: &Scenario,
    node: &Node,
    ours: &Rules,
    deletion: &str,
) -> Result<()> {
    let mut late = Vec::new();
    for _ in 0..TRIES {
        node.shell(&format!("iptables-legacy -w {deletion}"))?;
        let start = Instant::now();
        let mut now = ours.clone();
        eventually(deletion, LIMIT * 5, || {
            now = Rules::ours(node)?;
            Ok(now == *ours)
        })
        .with_context(|| ours.diff(&now).join("\n"))?;
        let taken = start.elapsed();
        scenario.note(format!("{deletion}: back after {} ms", taken.as_millis()));
        if taken < LIMIT {
            return Ok(());
        }
        late.push(taken);
    }
    anyhow::bail!("{deletion}: back only after {late:?}")
}

fn works(ground: &Ground) -> Result<()> {
    let report = asked(&ground.pods[0], (OUTSIDE, MIRROR), "--count 5")?;
    let address = ground.nodes[0].address();
    ensure!(report.answers.iter().all(|answer| answer.seen.ip() == address), "{report:?}");
    Ok(())
}
