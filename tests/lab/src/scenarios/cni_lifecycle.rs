//! A pod's network from ADD to DEL, as a container runtime asks for it.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;

use crate::cluster::Member;
use crate::node::Node;
use crate::process::Place as _;
use crate::scenario::{Entry, Scenario};
use crate::wire::Wire;

pub(super) static SCENARIOS: &[Entry] = &[
    Entry::new("cni_lifecycle::add_check_del", add_check_del).within(120),
    Entry::new("cni_lifecycle::del_of_what_is_gone_succeeds", del_again),
    Entry::new("cni_lifecycle::check_fails_when_the_route_is_gone", check_sees_damage),
    Entry::new("cni_lifecycle::add_works_while_the_agent_is_down", add_without_agent),
    Entry::new("cni_lifecycle::fifty_cycles_leave_nothing", fifty_cycles).within(120),
];

fn add_check_del(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let member = Member::new(lab.node()?, 0)?;
    let pod = member.node.pod("a")?;
    let added = pod.cni_add()?;
    scenario.note(&added.result);
    let address = pod.address()?;
    ensure!(member.subnet()?.contains(&address), "{address} is not in {}", member.subnet()?);
    pod.cni_check(&added)?;
    pod.run(&format!("ping -n -c 1 -W 1 {}", member.node.address()))?;
    member.node.run(&format!("ping -n -c 1 -W 1 {address}"))?;
    let link = added.host_link()?.to_owned();
    pod.cni_del()?;
    ensure!(!member.node.succeeds(&format!("ip link show dev {link}"))?, "{link} outlived DEL");
    let routes = member.node.run("ip route show table all")?;
    ensure!(!routes.contains(&address.to_string()), "a route to {address} outlived DEL");
    Ok(())
}

fn del_again(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let member = Member::new(lab.node()?, 1)?;
    let pod = &member.pods[0];
    pod.cni_del()?;
    pod.cni_del()?;
    let never = member.node.pod("never")?;
    never.cni_del()?;
    member.node.run("ip netns del never")?;
    never.cni_del()
}

fn check_sees_damage(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let member = Member::new(lab.node()?, 0)?;
    let pod = member.node.pod("a")?;
    let added = pod.cni_add()?;
    pod.cni_check(&added)?;
    member.node.run(&format!("ip route del {}/32", pod.address()?))?;
    ensure!(pod.cni_check(&added).is_err(), "CHECK passed without the node's route to the pod");
    Ok(())
}

fn add_without_agent(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let mut one = Member::new(lab.node()?, 0)?;
    let two = Member::new(lab.node()?, 1)?;
    // Let the first node learn of the second.
    crate::process::eventually(
        "node1 reaches node2's pod",
        std::time::Duration::from_secs(5),
        || one.node.succeeds(&format!("ping -n -c 1 -W 1 {}", two.pods[0].address()?)),
    )?;
    one.stop_agent(Signal::SIGKILL)?;
    let pod = one.add_pod("a")?;
    pod.run(&format!("ping -n -c 1 -W 2 {}", two.pods[0].address()?))?;
    pod.cni_del()
}

fn fifty_cycles(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let member = Member::new(lab.node()?, 1)?;
    // The first pod switches settings and makes directories that stay.
    let before = things(&member.node)?;
    for number in 0..50 {
        let pod = member.node.pod(&format!("cycle{number}"))?;
        let added = pod.cni_add()?;
        pod.cni_check(&added)?;
        pod.cni_del()?;
        pod.remove()?;
    }
    let after = things(&member.node)?;
    let left: Vec<_> = after.symmetric_difference(&before).collect();
    ensure!(left.is_empty(), "differences after 50 cycles: {left:#?}");
    Ok(())
}

/// What a pod adds to its node.
fn things(node: &Node) -> Result<BTreeSet<String>> {
    let script = "ip -o link show; ip route show table all; ip neigh show nud permanent; \
        find /sys/fs/bpf /run/netns /run/flannel /var/lib/cni; \
        bpftool map show -j | tr '{' '\\n' | grep -c id";
    let listed = node.shell(script)?;
    // The last address given out is remembered, and the kernel gives every link its IPv6
    // addresses some time later: no leftovers.
    let ours =
        |line: &&str| !["last_reserved", "fe80::", "ff00::"].iter().any(|s| line.contains(s));
    let lines = listed.lines().filter(ours);
    Ok(lines.map(str::to_owned).collect())
}
