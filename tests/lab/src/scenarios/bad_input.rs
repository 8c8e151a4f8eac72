//! Bad input gives one clear line and changes nothing.

mod agent;
mod cni;
mod net_conf;

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use crate::node::Node;
use crate::paths;
use crate::process::Place as _;
use crate::scenario::Entry;

pub(super) static SCENARIOS: &[Entry] = &[
    Entry::new("bad_input::each_key_of_net_conf", net_conf::each_key),
    Entry::new("bad_input::agent_overlapping_leases", agent::overlapping_leases),
    Entry::new("bad_input::agent_address_of_another_node", agent::address_of_another_node),
    Entry::new("bad_input::agent_full_pool", agent::full_pool),
    Entry::new("bad_input::agent_missing_interface", agent::missing_interface),
    Entry::new("bad_input::agent_bpffs_not_mounted", agent::bpffs_not_mounted),
    Entry::new("bad_input::agent_udp_port_taken", agent::port_taken),
    Entry::new("bad_input::agent_without_cap_bpf", agent::without_cap_bpf),
    Entry::new("bad_input::agent_without_cap_net_admin", agent::without_cap_net_admin),
    Entry::new("bad_input::agent_second_on_the_node", agent::second_agent),
    Entry::new("bad_input::agent_overlay_of_somebody_else", agent::foreign_overlay),
    Entry::new("bad_input::cni_requests", cni::requests),
    Entry::new("bad_input::cni_full_subnet", cni::full_subnet),
    Entry::new("bad_input::cni_before_the_agent_ever_ran", cni::before_the_agent),
];

/// Everything of a node that an agent or a plugin could change: links, addresses, routes, rules,
/// neighbours, settings, pins, files and leases with their contents.
fn things(node: &Node) -> Result<BTreeSet<String>> {
    // The lock file stays, for whoever removes it opens a race; it holds a process id that counts
    // only while it is locked.
    let script = format!(
        "ip -o link show; ip -4 -o address show; ip -4 route show table all; ip -4 rule show; \
         ip -4 neigh show nud permanent; sysctl net.ipv4.ip_forward; \
         for pod in $(ls /run/netns || true); do \
           nsenter --net=/run/netns/$pod ip -4 -o address show | sed \"s/^/$pod: /\"; \
           nsenter --net=/run/netns/$pod ip -4 route show | sed \"s/^/$pod: /\"; done; \
         find /sys/fs/bpf; dirs='/run/flannel /var/lib /etc/cni /etc/kube-flannel {}'; \
         find $dirs -type d; find $dirs -type f ! -name '*.lock' -exec sha256sum {{}} +",
        paths::LEASES
    );
    Ok(node.shell(&script)?.lines().map(str::to_owned).collect())
}

/// Proves that a node is as it was.
fn unchanged(node: &Node, before: &BTreeSet<String>, what: &str) -> Result<()> {
    let after = things(node)?;
    let changes: Vec<_> = after.symmetric_difference(before).collect();
    ensure!(changes.is_empty(), "{what} changed the node: {changes:#?}");
    Ok(())
}

/// Proves that a line tells these things.
fn tells(line: &str, words: &[&str], what: &str) -> Result<()> {
    for word in words {
        ensure!(line.contains(word), "{what}: {word:?} is not in {line:?}");
    }
    Ok(())
}
