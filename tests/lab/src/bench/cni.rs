//! How long a pod waits for its network: CNI ADD by flannel's chain and by Tartan's plugin, in
//! turn, on nodes of the same run.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

use super::contender::{Contender, Name};
use super::stats::Spread;
use crate::flannel::{chain, chain_add};
use crate::go_tools;
use crate::node::Node;
use crate::pod::Pod;
use crate::process::{Place as _, captured};

/// Pods of each kind.
const PODS: usize = 15;

/// Milliseconds of each ADD, in the order of measuring.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct CniAdd {
    /// cnitool by itself, asked for a network that is not there.
    pub(super) tool: Vec<f64>,
    /// flannel, bridge, host-local and portmap, through cnitool.
    pub(super) flannel: Vec<f64>,
    /// Tartan's plugin, through cnitool.
    pub(super) tartan: Vec<f64>,
    /// Tartan's plugin as a container runtime starts it.
    pub(super) plugin: Vec<f64>,
}

/// Measures where both are. The pods go when all are measured: the kernel takes its locks for the
/// end of one, and the next would wait for them.
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
    let (mut all, mut pods) = (CniAdd::default(), Vec::new());
    for number in 0..PODS {
        let pod = |node: &Node, kind: &str| node.pod(&format!("{kind}{number}"));
        let made = [pod(theirs, "chain")?, pod(ours, "tool")?, pod(ours, "plugin")?];
        all.tool.push(of_the_tool(ours)?);
        all.flannel.push(timed(&made[0], |pod| chain_add(pod).map(drop))?);
        all.tartan.push(timed(&made[1], |pod| chain_add(pod).map(drop))?);
        all.plugin.push(timed(&made[2], |pod| pod.cni_add().map(drop))?);
        pods.extend(made);
    }
    for pod in pods {
        chain(&pod, "del")?;
        pod.remove()?;
    }
    Ok(Some(all))
}

/// Milliseconds from the call to its answer.
fn timed(pod: &Pod, connect: impl Fn(&Pod) -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    connect(pod).with_context(|| format!("ADD of {}", pod.label()))?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

/// A container runtime needs no such program, and has its own start behind it.
fn of_the_tool(node: &Node) -> Result<f64> {
    let mut command = node.command(&go_tools::path("cnitool")?.to_string_lossy());
    command.args(["add", "no-such-network", "/run/netns/none"]).env("CNI_PATH", "/opt/cni/bin");
    let start = Instant::now();
    let output = captured(&mut command)?;
    ensure!(!output.status.success(), "cnitool found a network that is not there");
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

impl CniAdd {
    /// How much longer flannel's chain takes, pod by pod, without what cnitool itself takes.
    pub(super) fn times_faster(&self) -> Option<Spread> {
        let less = |times: &[f64]| -> Vec<f64> {
            times.iter().zip(&self.tool).map(|(time, tool)| time - tool).collect()
        };
        Spread::of_ratios(&less(&self.flannel), &less(&self.tartan))
    }

    /// Milliseconds by name.
    pub(super) fn rows(&self) -> [(&'static str, Option<Spread>); 4] {
        let spread = |times: &Vec<f64>| Spread::of(times.iter().copied());
        [
            ("cnitool alone", spread(&self.tool)),
            ("flannel", spread(&self.flannel)),
            ("Tartan", spread(&self.tartan)),
            ("Tartan, direct", spread(&self.plugin)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_tool_takes_is_in_neither_side_of_the_ratio() {
        let add = CniAdd {
            tool: vec![10.0, 12.0],
            flannel: vec![40.0, 42.0],
            tartan: vec![15.0, 17.0],
            plugin: vec![6.0, 6.0],
        };
        assert!((add.times_faster().unwrap().median - 6.0).abs() < 1e-9);
    }
}
