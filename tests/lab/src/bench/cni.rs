//! How long a pod waits for its network: CNI ADD by flannel's chain and by Tartan's plugin, in
//! turn, on nodes of the same run.

use std::time::Instant;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::contender::{Contender, Name};
use super::stats::Spread;
use crate::flannel::{chain, chain_add};
use crate::node::Node;
use crate::pod::Pod;

/// Pods of each kind.
const PODS: usize = 15;

/// Milliseconds of each ADD, in the order of measuring.
#[derive(Debug, Clone, Serialize)]
pub(super) struct CniAdd {
    /// flannel, bridge, host-local and portmap, through cnitool.
    pub(super) flannel: Vec<f64>,
    /// Tartan's plugin, through cnitool.
    pub(super) tartan: Vec<f64>,
    /// Tartan's plugin as a container runtime starts it.
    pub(super) plugin: Vec<f64>,
}

/// Measures where both are. Every pod is removed again.
///
/// # Errors
/// When a plugin fails.
pub(super) fn measure(contenders: &[Contender]) -> Result<Option<CniAdd>> {
    let node = |name| {
        let contender = contenders.iter().find(|contender| contender.name == name);
        contender.map(|Contender { nodes: [node, _], .. }| node)
    };
    let Some((theirs, ours)) = node(Name::Flannel).zip(node(Name::TartanFast)) else {
        return Ok(None);
    };
    let mut all = CniAdd { flannel: Vec::new(), tartan: Vec::new(), plugin: Vec::new() };
    for number in 0..PODS {
        all.flannel.push(add(theirs, number, |pod| chain_add(pod).map(drop))?);
        all.tartan.push(add(ours, number, |pod| chain_add(pod).map(drop))?);
        all.plugin.push(add(ours, number, |pod| pod.cni_add().map(drop))?);
    }
    Ok(Some(all))
}

/// One pod, from the call to its answer.
fn add(node: &Node, number: usize, connect: impl Fn(&Pod) -> Result<()>) -> Result<f64> {
    let pod = node.pod(&format!("cni{number}"))?;
    let start = Instant::now();
    connect(&pod).with_context(|| format!("ADD on {}", node.name()))?;
    let took = start.elapsed().as_secs_f64() * 1e3;
    chain(&pod, "del")?;
    pod.remove()?;
    Ok(took)
}

impl CniAdd {
    /// How much longer flannel's takes, pod by pod, both through cnitool.
    pub(super) fn times_faster(&self) -> Option<Spread> {
        Spread::of_ratios(&self.flannel, &self.tartan)
    }

    /// Milliseconds by name.
    pub(super) fn rows(&self) -> [(&'static str, Option<Spread>); 3] {
        let spread = |times: &Vec<f64>| Spread::of(times.iter().copied());
        [
            ("flannel", spread(&self.flannel)),
            ("Tartan", spread(&self.tartan)),
            ("Tartan, direct", spread(&self.plugin)),
        ]
    }
}
