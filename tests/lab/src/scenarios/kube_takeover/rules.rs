//! flannel's own netfilter rules, as text.

use anyhow::Result;

use crate::node::Node;
use crate::process::Place as _;

/// flannel's chains and the jumps to them, in their order; without counters.
pub(super) fn flannels_rules(node: &Node) -> Result<Vec<String>> {
    let saved = [node.run("iptables-save -t nat")?, node.run("iptables-save -t filter")?];
    let lines = saved.iter().flat_map(|text| text.lines());
    let ours = lines.filter(|line| line.starts_with("-A") && line.contains("FLANNEL-"));
    Ok(ours.map(str::to_owned).collect())
}
