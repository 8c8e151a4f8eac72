//! Through Services.

use std::net::SocketAddr;

use super::{Check, Protocol, Wish, attempts};
use crate::test::ground::{Ground, Member, Probe, SERVICE_PORT, Service};
use crate::test::objects::{ECHO, NODE_PORT, NODE_PORT_LOCAL, own};

/// Attempts at a NodePort of one node.
const TIMES: u32 = 5;

pub(crate) fn cluster_ip(ground: &Ground) -> Vec<Check> {
    every_endpoint(ground, ground.firsts())
}

pub(crate) fn cluster_ip_from_node(ground: &Ground) -> Vec<Check> {
    every_endpoint(ground, ground.hosts())
}

fn every_endpoint<'a>(ground: &Ground, clients: impl Iterator<Item = &'a Probe>) -> Vec<Check> {
    let Some(service) = ground.services.get(ECHO) else { return Vec::new() };
    let endpoints = ground.endpoint_names();
    let times = enough_for(endpoints.len());
    let mut checks = Vec::new();
    for from in clients {
        for protocol in Protocol::ALL {
            let wish = Wish::By(endpoints.clone());
            checks.extend(through(from, service, protocol, times, wish));
        }
    }
    checks
}

/// How many random choices among so many reach each of them but for one run in a million:
/// n (ln n + 14), with ln n no more than the number of binary digits.
fn enough_for(endpoints: usize) -> u32 {
    let endpoints = u32::try_from(endpoints).unwrap_or(u32::MAX).max(1);
    endpoints.saturating_mul(15 + endpoints.ilog2())
}

pub(crate) fn hairpin(ground: &Ground) -> Vec<Check> {
    let mut checks = Vec::new();
    for probe in ground.firsts() {
        let Some(service) = ground.services.get(&own(&probe.name)) else { continue };
        for protocol in Protocol::ALL {
            checks.extend(through(probe, service, protocol, TIMES, super::by(probe)));
        }
    }
    checks
}

fn through(
    from: &Probe,
    service: &Service,
    protocol: Protocol,
    times: u32,
    wish: Wish,
) -> Option<Check> {
    let to = SocketAddr::new(service.address?, SERVICE_PORT).to_string();
    Some(Check {
        from: from.clone(),
        to: format!("{} Service {} {to}", protocol.name(), service.name),
        to_node: None,
        question: attempts(protocol, to, times),
        wish,
    })
}

pub(crate) fn node_port(ground: &Ground) -> Vec<Check> {
    node_ports(ground, ground.firsts())
}

pub(crate) fn node_port_from_node(ground: &Ground) -> Vec<Check> {
    node_ports(ground, ground.hosts())
}

fn node_ports<'a>(ground: &Ground, clients: impl Iterator<Item = &'a Probe>) -> Vec<Check> {
    let Some(service) = ground.services.get(NODE_PORT) else { return Vec::new() };
    let mut checks = Vec::new();
    for from in clients {
        for member in &ground.members {
            for protocol in Protocol::ALL {
                checks.extend(at_node(from, service, member, protocol, Wish::Answered));
            }
        }
    }
    checks
}

/// From another node's own network: a pod's request, or the node's own, may be answered by any
/// endpoint, as it does not come from outside.
pub(crate) fn node_port_local(ground: &Ground) -> Vec<Check> {
    let Some(service) = ground.services.get(NODE_PORT_LOCAL) else { return Vec::new() };
    let mut checks = Vec::new();
    for (from, to) in ground.node_pairs() {
        let Some(client) = &from.host else { continue };
        let wish = Wish::ByAndFrom(to.pair[0].name.clone(), client.address);
        for protocol in Protocol::ALL {
            checks.extend(at_node(client, service, to, protocol, wish.clone()));
        }
    }
    checks
}

fn at_node(
    from: &Probe,
    service: &Service,
    member: &Member,
    protocol: Protocol,
    wish: Wish,
) -> Option<Check> {
    let port = *service.node_ports.get(&protocol)?;
    let to = SocketAddr::new(member.address, port).to_string();
    Some(Check {
        from: from.clone(),
        to: format!("{} NodePort of {} at {to} ({})", protocol.name(), service.name, member.node),
        to_node: Some(member.node.clone()),
        question: attempts(protocol, to, TIMES),
        wish,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_one_endpoint_by_chance_is_less_likely_than_one_in_a_million() {
        for endpoints in [2, 6, 8_u32] {
            let times = i32::try_from(enough_for(endpoints as usize)).unwrap();
            let n = f64::from(endpoints);
            let missed = n * (1.0 - 1.0 / n).powi(times);
            assert!(missed < 1e-6, "{endpoints} endpoints, {times} attempts: {missed}");
        }
        assert_eq!(enough_for(1), 15);
    }
}
