//! The product as an operator runs it: its agent with flannel's `--ip-masq`, its CNI plugin.

use anyhow::Result;
use serde_json::{Value, json};

use super::Pair;
use crate::bench::ground::Ground;
use crate::node::{NET_CONF, Node};

const NETWORK: &str = "10.244.0.0/16";

/// flannel's default backend.
pub(super) fn vxlan() -> Value {
    json!({ "Type": "vxlan", "VNI": 1, "Port": 8472 })
}

/// No tunnel: the nodes are on one link.
pub(super) fn host_gw() -> Value {
    json!({ "Type": "host-gw" })
}

/// Two nodes with this fast path and backend.
pub(super) fn pair(ground: &Ground, fast_path: &str, backend: &Value) -> Result<Pair> {
    let conf = json!({ "Network": NETWORK, "FastPath": fast_path, "Backend": backend });
    let nodes: [Node; 2] = ground.lab.nodes()?;
    let mut agents = Vec::new();
    for node in &nodes {
        node.write(NET_CONF, &conf.to_string())?;
        let mut agent = node.start_agent_with(&["--ip-masq"])?;
        agent.wait_ready()?;
        agents.push(agent);
    }
    let pods = nodes.each_ref().map(|node| node.pod("a"));
    let [from, to] = pods;
    let (from, to) = (from?, to?);
    from.cni_add()?;
    to.cni_add()?;
    let address = to.address()?.into();
    let held = vec![Box::new(agents) as _];
    Ok(Pair { from: Box::new(from), to: Box::new(to), address, nodes, held })
}
