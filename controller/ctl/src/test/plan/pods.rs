//! Between pods.

use super::{Check, Protocol, Question, Wish, between, by, direct};
use crate::test::ground::Ground;
use crate::test::probe::wire::Range;

/// Attempts per pair.
const TIMES: u32 = 10;
const SHORT_CONNECTIONS: u32 = 500;
const LONG_TRANSFER: u64 = 8 << 20;

pub(crate) fn pod_to_pod_tcp(ground: &Ground) -> Vec<Check> {
    pod_to_pod(ground, Protocol::Tcp)
}

pub(crate) fn pod_to_pod_udp(ground: &Ground) -> Vec<Check> {
    pod_to_pod(ground, Protocol::Udp)
}

fn pod_to_pod(ground: &Ground, protocol: Protocol) -> Vec<Check> {
    let check = |(from, to)| between(from, to, direct(protocol, to, TIMES), by(to));
    ground.pod_pairs().map(check).collect()
}

pub(crate) fn source_address(ground: &Ground) -> Vec<Check> {
    let mut checks = Vec::new();
    for (from, to) in ground.pod_pairs() {
        for protocol in Protocol::ALL {
            let question = direct(protocol, to, 2);
            checks.push(between(from, to, question, Wish::From(from.address)));
        }
    }
    checks
}

pub(crate) fn mtu(ground: &Ground) -> Vec<Check> {
    sizes(ground, Range::WithinMtu)
}

pub(crate) fn large_udp(ground: &Ground) -> Vec<Check> {
    sizes(ground, Range::Fragmented)
}

fn sizes(ground: &Ground, range: Range) -> Vec<Check> {
    let question = |to| Question::Sizes { to, range };
    let pairs = ground.pod_pairs();
    pairs.map(|(from, to)| between(from, to, question(to.socket()), Wish::Whole)).collect()
}

pub(crate) fn long_transfer(ground: &Ground) -> Vec<Check> {
    let question = |to| Question::Transfer { to, bytes: LONG_TRANSFER };
    let pairs = ground.ring().into_iter();
    pairs.map(|(from, to)| between(from, to, question(to.socket()), Wish::Whole)).collect()
}

pub(crate) fn short_connections(ground: &Ground) -> Vec<Check> {
    let question = |to| Question::Tcp { to, times: SHORT_CONNECTIONS };
    let pairs = ground.ring().into_iter();
    pairs.map(|(from, to)| between(from, to, question(to.socket()), by(to))).collect()
}
