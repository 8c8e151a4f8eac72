//! The real flannel: its agent on a real API server, its CNI chain (flannel, bridge, host-local,
//! portmap), its iptables rules.

use std::time::Duration;

use anyhow::Result;

use super::Pair;
use crate::api::NodeSpec;
use crate::bench::ground::Ground;
use crate::control_plane::User;
use crate::flannel::FlannelNode;
use crate::node::Node;
use crate::process::{Place as _, eventually};

const SUBNETS: [&str; 2] = ["10.244.201.0/24", "10.244.202.0/24"];
/// How long it may take until an agent has written all its rules and knows its peer.
const SETTLED: Duration = Duration::from_secs(20);
/// The chains that it fills; its rules come some time after subnet.env.
const RULES: [&str; 4] = [
    "-A FORWARD -m comment --comment \"flanneld forward\" -j FLANNEL-FWD",
    "-A POSTROUTING -m comment --comment \"flanneld masq\" -j FLANNEL-POSTRTG",
    "-A FLANNEL-FWD -d 10.244.0.0/16",
    "-A FLANNEL-POSTRTG ! -s 10.244.0.0/16 -d 10.244.0.0/16",
];

/// The agents end once their nodes are set up: the kernel forwards by what they left there, and
/// their work (a look at every rule, every few seconds) is in nobody's figures.
pub(super) fn pair(ground: &Ground) -> Result<Pair> {
    let plane = ground.plane()?;
    let nodes: [Node; 2] = ground.lab.nodes()?;
    let mut agents = Vec::new();
    for (node, subnet) in nodes.iter().zip(SUBNETS) {
        let spec = NodeSpec { pod_cidrs: vec![subnet.parse()?], ..NodeSpec::default() };
        plane.admin().create_node(node.name(), &spec)?;
        plane.admin().set_node_addresses(node.name(), &[node.address().into()])?;
        agents.push(FlannelNode::start(node, &plane.kubeconfig(&User::agent(node.name()))?)?);
    }
    let pods = agents.iter().map(|agent| agent.add_pod("a")).collect::<Result<Vec<_>>>()?;
    let [from, to] = &pods[..] else { anyhow::bail!("flannel's nodes have no two pods") };
    let address = to.address()?.into();
    eventually("flannel knows its peers", SETTLED, || {
        from.succeeds(&format!("ping -n -c 1 -W 1 {address}"))
    })?;
    for node in &nodes {
        wait_for_rules(node)?;
    }
    let (from, to) = (Box::new(from.clone()), Box::new(to.clone()));
    Ok(Pair { from, to, address, nodes, held: Vec::new() })
}

fn wait_for_rules(node: &Node) -> Result<()> {
    eventually(&format!("flannel's rules are on {}", node.name()), SETTLED, || {
        let rules = node.run("iptables-save")?;
        Ok(RULES.iter().all(|rule| rules.contains(rule)))
    })
}
