//! One packet of each kind, on a node of both families with two IPv6 pods and one peer.

use std::collections::BTreeMap;
use std::time::Duration;

use tartan_common::Mac;
use tartan_common::abi::{Abi as _, FastPath, NodeConfig, NodeEntry6, PeerMode};

use super::*;

fn address(text: &str) -> NetAddr6 {
    text.parse::<Ipv6Addr>().unwrap().into()
}

fn scene() -> Scene {
    let ipv6 = Ipv6Config {
        node: address("fd30::11"),
        network: address("fd00:10:244::"),
        network_mask: NetAddr6::mask(56),
        subnet: address("fd00:10:244:1::"),
        subnet_mask: NetAddr6::mask(64),
        vtep_mac: Mac([2, 0, 0, 0, 0, 1]),
        unused: [0; 2],
    };
    let pod = |ifindex| PodEntry { ifindex, flags: 0, pod_mac: Mac([2; 6]), host_mac: Mac([4; 6]) };
    let peer = Peer6 {
        node: address("fd30::12"),
        mtu: 1430,
        vtep_mac: Mac([2, 0, 0, 0, 0, 2]),
        hop_limit: 64,
        mode: PeerMode::Tunnel as u8,
        link_ifindex: 2,
    };
    let lease = NodeEntry6 { subnet: address("fd00:10:244:2::"), mask: NetAddr6::mask(64) };
    Scene {
        config: NodeConfig {
            overlay_ifindex: 7,
            vni: 1,
            fast_path: FastPath::On as u32,
            port: 8472,
            ipv6,
            ..NodeConfig::from_bytes(&[0; size_of::<NodeConfig>()])
        },
        pods: BTreeMap::new(),
        peers: BTreeMap::new(),
        nodes: BTreeMap::new(),
        pods6: BTreeMap::from([
            (address("fd00:10:244:1::2"), pod(12)),
            (address("fd00:10:244:1::3"), pod(13)),
        ]),
        peers6: BTreeMap::from([(lease.subnet, peer)]),
        nodes6: BTreeMap::from([(address("fd30::12"), lease)]),
        names: BTreeMap::from([("fd30::12".parse().unwrap(), "node2".to_owned())]),
        slow: BTreeMap::new(),
        now: Duration::from_secs(100),
        interface: |index| Some(format!("if{index}")),
    }
}

fn ask(protocol: Protocol, source: &str, destination: &str) -> Answer {
    let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
    answer6(&Question6 { source, destination, protocol, port: 80 }, &scene()).unwrap()
}

/// Verdict, counter and a word of some step.
fn check(answer: &Answer, verdict: Verdict, counter: &str, word: &str) {
    assert_eq!((answer.verdict, answer.counter), (verdict, counter), "{answer:?}");
    assert!(answer.steps.iter().any(|step| step.contains(word)), "{word}: {answer:?}");
}

#[test]
fn connections_between_pods_are_fast_here_and_across() {
    let here = ask(Protocol::Tcp, "fd00:10:244:1::2", "fd00:10:244:1::3");
    check(&here, Verdict::Fast, "pod-local-fast", "if13");
    let across = ask(Protocol::Tcp, "fd00:10:244:1::2", "fd00:10:244:2::9");
    check(&across, Verdict::Fast, "pod-remote-fast", "node2 (fd30::12)");
    let back = ask(Protocol::Tcp, "fd00:10:244:2::9", "fd00:10:244:1::2");
    check(&back, Verdict::Fast, "uplink-pod-fast", "if12");
}

#[test]
fn the_first_datagram_and_what_goes_elsewhere_take_the_stack() {
    let datagram = ask(Protocol::Udp, "fd00:10:244:1::2", "fd00:10:244:2::9");
    check(&datagram, Verdict::Stack, "pod-to-stack", "at most 1430 bytes");
    let echo = ask(Protocol::Icmp, "fd00:10:244:2::9", "fd00:10:244:1::2");
    check(&echo, Verdict::Stack, "uplink-to-stack", "host stack");
    let outside = ask(Protocol::Tcp, "fd00:10:244:1::2", "2001:db8::1");
    check(&outside, Verdict::Stack, "pod-elsewhere", "outside the pod network");
    let node = ask(Protocol::Tcp, "fd30::11", "fd00:10:244:2::9");
    check(&node, Verdict::Stack, "overlay-device", "overlay_egress");
}

#[test]
fn forged_sources_and_unleased_subnets_are_dropped() {
    let forged = ask(Protocol::Tcp, "fd00:10:244:1::99", "fd00:10:244:2::9");
    check(&forged, Verdict::Dropped, "spoofed-source", "no pod");
    let nowhere = ask(Protocol::Tcp, "fd00:10:244:1::2", "fd00:10:244:9::9");
    check(&nowhere, Verdict::Dropped, "no-peer", "no node leases");
    let stranger = ask(Protocol::Tcp, "fd00:10:244:2::9", "fd00:10:244:3::1");
    check(&stranger, Verdict::Dropped, "inner-destination", "node2");
}

#[test]
fn without_a_tunnel_the_link_is_named() {
    let mut scene = scene();
    for peer in scene.peers6.values_mut() {
        (peer.mode, peer.mtu) = (PeerMode::Direct as u8, 1500);
    }
    let ask = |protocol, source: &str, destination: &str| {
        let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
        answer6(&Question6 { source, destination, protocol, port: 80 }, &scene).unwrap()
    };
    let across = ask(Protocol::Tcp, "fd00:10:244:1::2", "fd00:10:244:2::9");
    check(&across, Verdict::Fast, "pod-direct-fast", "by if2 to node node2 (fd30::12)");
    let datagram = ask(Protocol::Udp, "fd00:10:244:1::2", "fd00:10:244:2::9");
    check(&datagram, Verdict::Stack, "pod-to-stack", "uplink_egress");
    let back = ask(Protocol::Tcp, "fd00:10:244:2::9", "fd00:10:244:1::2");
    check(&back, Verdict::Fast, "link-pod-fast", "if12");
    let echo = ask(Protocol::Icmp, "fd00:10:244:2::9", "fd00:10:244:1::2");
    check(&echo, Verdict::Stack, "link-to-stack", "host stack");
    let node = ask(Protocol::Tcp, "fd30::11", "fd00:10:244:2::9");
    check(&node, Verdict::Stack, "stack-to-link", "at most 1500 bytes");
}

#[test]
fn a_node_without_ipv6_says_so() {
    let mut scene = scene();
    scene.config.ipv6 = Ipv6Config::NONE;
    let ends = (Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
    let question =
        Question6 { source: ends.0, destination: ends.1, protocol: Protocol::Tcp, port: 80 };
    let error = answer6(&question, &scene).unwrap_err().to_string();
    assert!(error.contains("no IPv6 pods"), "{error}");
}
