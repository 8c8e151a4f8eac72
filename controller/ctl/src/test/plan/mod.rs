//! What each scenario asks: pure functions of the ground.

mod names;
mod nodes;
mod pods;
mod policy;
mod services;

use super::check::{Check, Wish};
use super::ground::{Probe, Protocol};
use super::probe::wire::Question;

pub(crate) use self::names::{dns, headless};
pub(crate) use self::nodes::{node_to_pod, pod_to_node};
pub(crate) use self::pods::{
    large_udp, long_transfer, mtu, pod_to_pod_tcp, pod_to_pod_udp, short_connections,
    source_address,
};
pub(crate) use self::policy::towards;
pub(crate) use self::services::{
    cluster_ip, cluster_ip_from_node, hairpin, node_port, node_port_from_node, node_port_local,
};

/// So many attempts with a protocol, at whatever is behind an address.
fn attempts(protocol: Protocol, to: String, times: u32) -> Question {
    match protocol {
        Protocol::Tcp => Question::Tcp { to, times },
        Protocol::Udp => Question::Udp { to, times, direct: false },
    }
}

/// So many attempts with a protocol at a probe.
fn direct(protocol: Protocol, to: &Probe, times: u32) -> Question {
    match protocol {
        Protocol::Tcp => Question::Tcp { to: to.socket(), times },
        Protocol::Udp => Question::Udp { to: to.socket(), times, direct: true },
    }
}

/// A check from one probe to another.
fn between(from: &Probe, to: &Probe, question: Question, wish: Wish) -> Check {
    let what = match &question {
        Question::Tcp { .. } => "TCP ",
        Question::Udp { .. } => "UDP ",
        Question::Sizes { .. } | Question::Transfer { .. } | Question::Resolve { .. } => "",
    };
    Check {
        from: from.clone(),
        to: format!("{what}{} ({}) {}", to.name, to.node, to.socket()),
        to_node: Some(to.node.clone()),
        question,
        wish,
    }
}

/// Answered every time by this very probe.
fn by(probe: &Probe) -> Wish {
    Wish::By([probe.name.clone()].into())
}
