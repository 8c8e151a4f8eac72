//! Everybody to one probe.

use super::{Check, Protocol, attempts, between, by};
use crate::test::ground::{Ground, Probe};

/// One attempt with each protocol from every node.
pub(crate) fn towards(ground: &Ground, to: &Probe) -> Vec<Check> {
    let mut checks = Vec::new();
    for from in ground.firsts() {
        for protocol in Protocol::ALL {
            checks.push(between(from, to, attempts(protocol, to.socket(), 1), by(to)));
        }
    }
    checks
}
