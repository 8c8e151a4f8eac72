//! By name.

use std::net::IpAddr;

use super::{Check, Protocol, Question, Wish, attempts};
use crate::test::ground::{Ground, Probe, SERVICE_PORT};
use crate::test::objects::{ECHO, HEADLESS};

pub(crate) fn dns(ground: &Ground) -> Vec<Check> {
    let Some(address) = ground.services.get(ECHO).and_then(|service| service.address) else {
        return Vec::new();
    };
    let mut checks = Vec::new();
    for from in ground.firsts().chain(ground.hosts()) {
        for name in names(ECHO, &ground.namespace) {
            checks.push(leads(from, &name, [address]));
        }
        for protocol in Protocol::ALL {
            checks.push(by_name(from, protocol));
        }
    }
    checks
}

/// A Service's names; the short one for pods of its own namespace.
fn names(service: &str, namespace: &str) -> [String; 3] {
    [service.to_owned(), format!("{service}.{namespace}"), format!("{service}.{namespace}.svc")]
}

fn leads(from: &Probe, name: &str, to: impl IntoIterator<Item = IpAddr>) -> Check {
    Check {
        from: from.clone(),
        to: format!("name {name}"),
        to_node: None,
        question: Question::Resolve { name: name.to_owned() },
        wish: Wish::Leads(to.into_iter().collect()),
    }
}

fn by_name(from: &Probe, protocol: Protocol) -> Check {
    Check {
        from: from.clone(),
        to: format!("{} {ECHO}, port {SERVICE_PORT}, by name", protocol.name()),
        to_node: None,
        question: attempts(protocol, format!("{ECHO}:{SERVICE_PORT}"), 2),
        wish: Wish::Answered,
    }
}

pub(crate) fn headless(ground: &Ground) -> Vec<Check> {
    let endpoints = || ground.endpoints().map(|probe| probe.address);
    ground.firsts().map(|from| leads(from, HEADLESS, endpoints())).collect()
}
