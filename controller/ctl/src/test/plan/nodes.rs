//! Between pods and nodes.

use super::{Check, Protocol, between, by, direct};
use crate::test::ground::{Ground, Probe};

const TIMES: u32 = 5;

pub(crate) fn pod_to_node(ground: &Ground) -> Vec<Check> {
    let pairs = ground.firsts().flat_map(|from| ground.hosts().map(move |to| (from, to)));
    both_protocols(pairs)
}

pub(crate) fn node_to_pod(ground: &Ground) -> Vec<Check> {
    let pairs = ground.hosts().flat_map(|from| ground.firsts().map(move |to| (from, to)));
    both_protocols(pairs)
}

fn both_protocols<'a>(pairs: impl Iterator<Item = (&'a Probe, &'a Probe)>) -> Vec<Check> {
    let mut checks = Vec::new();
    for (from, to) in pairs {
        for protocol in Protocol::ALL {
            checks.push(between(from, to, direct(protocol, to, TIMES), by(to)));
        }
    }
    checks
}
