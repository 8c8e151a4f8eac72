//! One packet of each kind, on a node with two pods and one peer.

use std::collections::BTreeMap;
use std::time::Duration;

use tartan_common::abi::{Abi as _, NodeEntry, PeerMode, PeerSpec};
use tartan_common::{Mac, Vni};

use super::super::question::Protocol;
use super::*;

fn net(text: &str) -> NetAddr {
    text.parse::<Ipv4Addr>().unwrap().into()
}

fn config(fast_path: FastPath) -> NodeConfig {
    NodeConfig {
        node: net("172.30.0.11"),
        network: net("10.244.0.0"),
        network_mask: NetAddr::mask(16),
        subnet: net("10.244.1.0"),
        subnet_mask: NetAddr::mask(24),
        overlay_ifindex: 7,
        vni: 1,
        fast_path: fast_path as u32,
        port_low: 32768,
        port_span: 1000,
        port: 8472,
        vtep_mac: Mac([2, 0, 0, 0, 0, 1]),
        ..NodeConfig::from_bytes(&[0; size_of::<NodeConfig>()])
    }
}

fn peer() -> Peer {
    Peer::new(&PeerSpec {
        local: net("172.30.0.11"),
        remote: net("172.30.0.12"),
        local_mac: Mac([2, 0, 0, 0, 0, 1]),
        remote_mac: Mac([2, 0, 0, 0, 0, 2]),
        vni: Vni::new(1).unwrap(),
        port: 8472,
        ttl: 64,
        next_hop: net("172.30.0.12"),
        uplink_ifindex: 2,
        mtu: 1450,
        mode: PeerMode::Tunnel,
    })
}

fn pod(ifindex: u32) -> PodEntry {
    PodEntry { ifindex, flags: 0, pod_mac: Mac::default(), host_mac: Mac::default() }
}

fn scene(fast_path: FastPath) -> Scene {
    let lease = NodeEntry { subnet: net("10.244.2.0"), mask: NetAddr::mask(24) };
    Scene {
        config: config(fast_path),
        pods: BTreeMap::from([(net("10.244.1.2"), pod(12)), (net("10.244.1.3"), pod(13))]),
        peers: BTreeMap::from([(net("10.244.2.0"), peer())]),
        nodes: BTreeMap::from([(net("172.30.0.12"), lease)]),
        pods6: BTreeMap::new(),
        peers6: BTreeMap::new(),
        nodes6: BTreeMap::new(),
        names: BTreeMap::from([(Ipv4Addr::new(172, 30, 0, 12).into(), "node2".to_owned())]),
        slow: BTreeMap::new(),
        now: Duration::from_secs(100),
        interface: |index| Some(format!("if{index}")),
    }
}

fn question(protocol: Protocol, source: &str, destination: &str) -> Question {
    let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
    Question { source, destination, protocol, port: 80 }
}

fn ask(fast_path: FastPath, protocol: Protocol, source: &str, destination: &str) -> Answer {
    answer(&question(protocol, source, destination), &scene(fast_path)).unwrap()
}

/// Verdict, counter and a word of the last step.
fn check(answer: &Answer, verdict: Verdict, counter: &str, word: &str) {
    assert_eq!((answer.verdict, answer.counter), (verdict, counter), "{answer:?}");
    assert!(answer.steps.iter().any(|step| step.contains(word)), "{word}: {answer:?}");
    assert_eq!(answer.remedy.is_some(), verdict == Verdict::Dropped);
}

#[test]
fn a_connection_between_pods_is_fast() {
    let tcp = |from, to| ask(FastPath::On, Protocol::Tcp, from, to);
    check(&tcp("10.244.1.2", "10.244.1.3"), Verdict::Fast, "pod-local-fast", "if13");
    let remote = tcp("10.244.1.2", "10.244.2.9");
    check(&remote, Verdict::Fast, "pod-remote-fast", "node2 (172.30.0.12): VNI 1, UDP port 8472");
    check(&remote, Verdict::Fast, "pod-remote-fast", "if2 to the next hop 172.30.0.12");
    check(&tcp("10.244.2.9", "10.244.1.2"), Verdict::Fast, "uplink-pod-fast", "if12");
}

#[test]
fn what_the_stack_forwards_says_why() {
    let stack = |mode, protocol, to, word| {
        check(&ask(mode, protocol, "10.244.1.2", to), Verdict::Stack, "pod-to-stack", word);
    };
    stack(FastPath::On, Protocol::Udp, "10.244.2.9", "FastPath is on, the next packets");
    stack(FastPath::On, Protocol::Icmp, "10.244.1.3", "FastPath is on, the next packets");
    stack(FastPath::AfterAccept, Protocol::Tcp, "10.244.2.9", "after-accept");
    stack(FastPath::Off, Protocol::Tcp, "10.244.1.3", "FastPath is off");
    stack(FastPath::On, Protocol::Tcp, "10.244.1.77", "no pod of this node");
    let elsewhere = ask(FastPath::On, Protocol::Tcp, "10.244.1.2", "10.96.0.1");
    check(&elsewhere, Verdict::Stack, "pod-elsewhere", "outside the pod network");
}

#[test]
fn a_right_that_ran_out_is_named() {
    let mut scene = scene(FastPath::On);
    scene.config.on_until = 99;
    let answer = answer(&question(Protocol::Tcp, "10.244.1.2", "10.244.1.3"), &scene).unwrap();
    check(&answer, Verdict::Stack, "pod-to-stack", "has run out");
}

#[test]
fn what_is_dropped_says_what_to_do() {
    let udp = |from, to| ask(FastPath::On, Protocol::Udp, from, to);
    let lost = udp("10.244.1.2", "10.244.9.9");
    check(&lost, Verdict::Dropped, "no-peer", "no node leases the subnet of 10.244.9.9");
    check(&udp("10.244.1.9", "10.244.1.2"), Verdict::Dropped, "spoofed-source", "10.244.1.9");
    let strayed = udp("10.244.2.9", "10.244.3.1");
    check(&strayed, Verdict::Dropped, "inner-destination", "node2");
}

#[test]
fn a_pod_that_speaks_the_tunnel_is_refused() {
    let question = Question { port: 8472, ..question(Protocol::Udp, "10.244.1.2", "172.30.0.12") };
    let answer = answer(&question, &scene(FastPath::On)).unwrap();
    check(&answer, Verdict::Dropped, "pod-speaks-tunnel", "this pod's");
}

#[test]
fn nodes_take_the_stack() {
    let tcp = |from, to| ask(FastPath::On, Protocol::Tcp, from, to);
    check(&tcp("172.30.0.11", "10.244.2.9"), Verdict::Stack, "overlay-encap", "node2");
    check(&tcp("10.244.1.0", "10.244.1.2"), Verdict::Stack, "pod-delivered", "if12");
    let node = tcp("172.30.0.12", "10.244.1.2");
    check(&node, Verdict::Stack, "uplink-to-stack", "may be masqueraded");
}

#[test]
fn a_stranger_is_asked_about_elsewhere() {
    let question = question(Protocol::Tcp, "10.244.9.1", "10.244.1.2");
    let error = answer(&question, &scene(FastPath::On)).unwrap_err().to_string();
    assert!(error.contains("run this on the node that sends the packet"), "{error}");
}

/// The same node, its peer on the link and reached without a tunnel.
fn ask_on_link(fast_path: FastPath, protocol: Protocol, source: &str, destination: &str) -> Answer {
    let mut scene = scene(fast_path);
    let entry = Peer::without_tunnel(net("172.30.0.12"), 2, 1500);
    scene.peers = BTreeMap::from([(net("10.244.2.0"), entry)]);
    answer(&question(protocol, source, destination), &scene).unwrap()
}

#[test]
fn a_peer_on_the_link_is_reached_without_the_tunnel() {
    let ask = ask_on_link;
    let there = ask(FastPath::On, Protocol::Tcp, "10.244.1.2", "10.244.2.9");
    check(&there, Verdict::Fast, "pod-direct-fast", "as it is by if2");
    let there = ask(FastPath::Off, Protocol::Udp, "10.244.1.2", "10.244.2.9");
    check(&there, Verdict::Stack, "pod-to-stack", "as it is by if2");
    let back = ask(FastPath::On, Protocol::Tcp, "10.244.2.9", "10.244.1.2");
    check(&back, Verdict::Fast, "link-pod-fast", "if12");
    let back = ask(FastPath::Off, Protocol::Tcp, "10.244.2.9", "10.244.1.2");
    check(&back, Verdict::Stack, "link-to-stack", "FastPath is off");
    let host = ask(FastPath::On, Protocol::Tcp, "172.30.0.11", "10.244.2.9");
    check(&host, Verdict::Stack, "stack-to-link", "as it is by if2");
}

#[test]
fn a_pod_that_is_off_the_fast_path_says_why() {
    let [source, destination] = ["10.244.1.2", "10.244.1.3"];
    let mut scene = scene(FastPath::On);
    let shaped = pod(13).with_stranger(true);
    scene.pods.insert(net(destination), shaped);
    let ask = |scene: &Scene, from: &str, to: &str| {
        answer(&question(Protocol::Tcp, from, to), scene).unwrap()
    };
    for (from, to) in [(source, destination), (destination, source)] {
        let told = ask(&scene, from, to);
        check(&told, Verdict::Stack, "pod-to-stack", "");
        assert!(told.steps.concat().contains("others put a limit"), "{:?}", told.steps);
    }
    let address: std::net::IpAddr = destination.parse().unwrap();
    scene.slow.insert(address, "the qdisc tbf is on it".to_owned());
    let told = ask(&scene, source, destination).steps.concat();
    assert!(told.contains("behind if13 never skip it: the qdisc tbf is on it"), "{told}");
}
