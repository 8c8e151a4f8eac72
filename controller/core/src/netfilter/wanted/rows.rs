//! The rules themselves, in the order in which they are asked.
//!
//! The conditions of a rule always stand in the order source, destination, protocol, port, mark,
//! conntrack: the order in which both engines give them back.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{Action, Family, Masquerade, Match, NODES, Rule};

/// kube-proxy's and the kubelet's "masquerade this" (`--iptables-masquerade-bit` 14).
const KUBE_MARK: u32 = 0x4000;
/// The number of TCP (IANA).
const TCP: u8 = 6;
/// TCP's flags (RFC 9293, section 3.1).
const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
/// The number of UDP (IANA).
const UDP: u8 = 17;
/// Ports below are for the host's own services.
const FIRST_PORT: u16 = 1024;

/// All that is asked after routing.
pub(super) fn postrouting(wanted: &Masquerade) -> Vec<Rule> {
    let (network, subnet) = (wanted.network, wanted.subnet);
    let mark = Match::Mark { value: KUBE_MARK, mask: KUBE_MARK, negated: false };
    let mut rules = vec![
        keep(vec![mark], "marked, kube-proxy does it"),
        keep(vec![source(subnet, false), destination(network, false)], "own pods to pods"),
        keep(vec![source(network, false), destination(subnet, false)], "pods to own pods"),
        keep(vec![source(network, true), destination(subnet, false)], "clients to own pods"),
    ];
    rules.extend(wanted.settings.exempt.iter().map(|net| exempt(network, *net)));
    let outside = [source(network, false), destination(multicast(wanted), true)];
    rules.extend(masquerade(wanted, &outside, "pods to the world"));
    let remote = [source(network, true), destination(network, false)];
    rules.extend(masquerade(wanted, &remote, "the world to other nodes' pods"));
    rules
}

/// What refuses pods that would speak the tunnel, where there is one.
pub(super) fn guard(wanted: &Masquerade) -> Option<Rule> {
    match wanted.family() {
        Family::Ip => no_pod_to_a_node(wanted),
        Family::Ip6
        | Family::Inet
        | Family::Arp
        | Family::Bridge
        | Family::Netdev
        | Family::Other(_) => no_translated_pod(wanted),
    }
}

/// A pod's packet that became one to a node's tunnel port on its way.
fn no_pod_to_a_node(wanted: &Masquerade) -> Option<Rule> {
    let [protocol, port] = tunnel(wanted)?;
    let node = Match::DestinationIn(NODES.to_owned());
    let matches = vec![source(wanted.network, false), node, protocol, port];
    Some(Rule::new(matches, Action::Drop, "tartan guard: no pod speaks the tunnel"))
}

/// The same where there is no set: translated, and not to a pod.
pub(super) fn no_translated_pod(wanted: &Masquerade) -> Option<Rule> {
    let [protocol, port] = tunnel(wanted)?;
    let ends = [source(wanted.network, false), destination(wanted.network, true)];
    let matches = ends.into_iter().chain([protocol, port, Match::DestinationTranslated]);
    let why = "tartan guard: no pod speaks the tunnel";
    Some(Rule::new(matches.collect(), Action::Drop, why))
}

/// What ends or answers a connection that conntrack does not know.
pub(super) fn end_of_an_unseen_flow(wanted: &Masquerade) -> Rule {
    let matches = vec![
        source(wanted.network, false),
        destination(wanted.network, false),
        Match::Protocol(TCP),
        Match::TcpFlagsAny(FIN | SYN | RST),
        Match::ConntrackInvalid,
    ];
    Rule::new(matches, Action::NoTrack, "tartan: the end of a flow that conntrack did not see")
}

pub(super) fn source(net: IpNet, negated: bool) -> Match {
    Match::Source { net, negated }
}

pub(super) fn destination(net: IpNet, negated: bool) -> Match {
    Match::Destination { net, negated }
}

fn tunnel(wanted: &Masquerade) -> Option<[Match; 2]> {
    let port = wanted.settings.tunnel_port?;
    Some([Match::Protocol(UDP), Match::DestinationPort(port)])
}

fn keep(matches: Vec<Match>, why: &str) -> Rule {
    Rule::new(matches, Action::Return, format!("tartan masq: {why}"))
}

/// "Everywhere" is no condition: no engine would give it back.
fn exempt(network: IpNet, net: IpNet) -> Rule {
    let mut matches = vec![source(network, false), destination(net, false)];
    matches.truncate(if net.prefix_len() == 0 { 1 } else { 2 });
    keep(matches, "NonMasqueradeCIDRs")
}

/// UDP first, because its ports are chosen where there is a tunnel; then everything else.
fn masquerade(wanted: &Masquerade, ends: &[Match; 2], what: &str) -> Vec<Rule> {
    let random_fully = wanted.settings.random_fully;
    let udp = wanted.settings.tunnel_port.map(|port| {
        let action = Action::Masquerade { random_fully, ports: Some(ports(port)) };
        let matches = ends.iter().cloned().chain([Match::Protocol(UDP)]).collect();
        Rule::new(matches, action, format!("tartan masq: {what}, not from the tunnel's port"))
    });
    let action = Action::Masquerade { random_fully, ports: None };
    let all = Rule::new(ends.to_vec(), action, format!("tartan masq: {what}"));
    udp.into_iter().chain([all]).collect()
}

/// The most ports that are one range without the tunnel's.
fn ports(tunnel: u16) -> (u16, u16) {
    if tunnel < FIRST_PORT {
        return (FIRST_PORT, u16::MAX);
    }
    if tunnel - FIRST_PORT > u16::MAX - tunnel {
        (FIRST_PORT, tunnel - 1)
    } else {
        (tunnel + 1, u16::MAX)
    }
}

fn multicast(wanted: &Masquerade) -> IpNet {
    if wanted.family() == Family::Ip {
        IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 4))
    } else {
        IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8))
    }
}
