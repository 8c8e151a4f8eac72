//! The cases.
// long: one table

use tartan_common::NetAddr;
use tartan_common::reason::Reason;

use crate::apply::Verdict::{self, Drop, Next, ToPod, ToStack, ToWire};
use crate::fixture::{
    HOST_MAC, NEIGHBOUR, NODE, NOWHERE, OUTSIDE, PEER, PEER_VTEP, POD, POD_MAC, PORT, REMOTE,
    STRANGER, VNI, VTEP,
};
use crate::packets::{
    ACK, FIN_ACK, SYN, SYN_ACK, fix_checksum, frame, large_packet, ping, tcp_packet, tunnel,
    udp_packet, unreachable,
};
use crate::{Case, Hook, cases6, crossed, damaged, device, link, link6};

pub(crate) const WEB: (u16, u16) = (40_000, 80);
pub(crate) const ANSWER: (u16, u16) = (80, 40_000);

/// The whole table.
#[must_use]
pub fn cases() -> Vec<Case> {
    [
        pod_sends(),
        refused_from_pods(),
        host_sends(),
        arrivals(),
        damaged::cases(),
        device::cases(),
        link::cases(),
        link6::cases(),
        refused_arrivals(),
        mutations(),
        cases6::cases(),
        crossed::cases(),
    ]
    .concat()
}

pub(crate) fn case(name: &'static str, hook: Hook, frame: Vec<u8>, expected: Verdict) -> Case {
    Case { name, hook, frame, gso_size: 0, direct: false, expected }
}

pub(crate) fn direct(case: Case) -> Case {
    Case { direct: true, ..case }
}

/// As a pod sends it.
pub(crate) fn sent(packet: &[u8]) -> Vec<u8> {
    frame(POD_MAC, HOST_MAC, packet)
}

/// As it arrives from the peer.
pub(crate) fn arrived(inner: &[u8]) -> Vec<u8> {
    arrived_from(PEER, inner)
}

pub(crate) fn arrived_from(sender: NetAddr, inner: &[u8]) -> Vec<u8> {
    let inner = frame(PEER_VTEP, VTEP, inner);
    frame(POD_MAC, HOST_MAC, &tunnel((sender, NODE), PORT, VNI, &inner))
}

pub(crate) fn edited(mut frame: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    if (14..34).contains(&at) && frame.len() >= 34 {
        fix_checksum(&mut frame[14..]);
    }
    frame
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn pod_sends() -> Vec<Case> {
    let hook = Hook::PodEgress;
    let remote = (POD, REMOTE);
    let local = (POD, NEIGHBOUR);
    vec![
        case(
            "a SYN to a remote pod goes fast at once",
            hook,
            sent(&tcp_packet(remote, WEB, SYN)),
            ToWire,
        ),
        case(
            "a SYN to a local pod goes fast at once",
            hook,
            sent(&tcp_packet(local, WEB, SYN)),
            ToPod,
        ),
        case(
            "a SYN-ACK without entry may answer a translated flow",
            hook,
            sent(&tcp_packet(remote, ANSWER, SYN_ACK)),
            Next,
        ),
        direct(case(
            "a segment of a direct flow goes fast",
            hook,
            sent(&tcp_packet(remote, WEB, ACK)),
            ToWire,
        )),
        direct(case("so does its end", hook, sent(&tcp_packet(remote, WEB, FIN_ACK)), ToWire)),
        case(
            "a segment of an unknown flow goes to the stack",
            hook,
            sent(&tcp_packet(remote, WEB, ACK)),
            Next,
        ),
        case(
            "a first datagram goes to the stack",
            hook,
            sent(&udp_packet(remote, (5000, 53))),
            Next,
        ),
        direct(case(
            "a datagram of a direct flow goes fast",
            hook,
            sent(&udp_packet(remote, (5000, 53))),
            ToWire,
        )),
        direct(case(
            "so does one to a local pod",
            hook,
            sent(&udp_packet(local, (5000, 53))),
            ToPod,
        )),
        direct(case(
            "an echo request of a direct flow goes fast",
            hook,
            sent(&ping(remote, 7)),
            ToWire,
        )),
        case(
            "an error about an unknown flow goes to the stack",
            hook,
            sent(&unreachable(remote, &udp_packet((REMOTE, POD), (53, 5000)))),
            Next,
        ),
        direct(case(
            "an error about a direct flow goes fast",
            hook,
            sent(&unreachable(remote, &udp_packet((REMOTE, POD), (53, 5000)))),
            ToWire,
        )),
        case(
            "the world outside is the stack's",
            hook,
            sent(&tcp_packet((POD, OUTSIDE), WEB, SYN)),
            Next,
        ),
        case(
            "a subnet that nobody leases is the stack's",
            hook,
            sent(&tcp_packet((POD, NOWHERE), WEB, SYN)),
            Next,
        ),
        direct(case(
            "an expiring packet is the stack's to answer",
            hook,
            edited(sent(&tcp_packet(remote, WEB, ACK)), 22, &[1]),
            Next,
        )),
        direct(case(
            "a fragment has no ports and goes to the stack",
            hook,
            edited(sent(&udp_packet(remote, (5000, 53))), 20, &[0x20, 0]),
            Next,
        )),
        case(
            "ECN is copied outside",
            hook,
            edited(sent(&tcp_packet(remote, WEB, SYN)), 15, &[0x02]),
            ToWire,
        ),
        case(
            "experienced congestion starts anew outside",
            hook,
            edited(sent(&tcp_packet(remote, WEB, SYN)), 15, &[0xbb]),
            ToWire,
        ),
        direct(case(
            "a packet that is too big goes to the stack",
            hook,
            sent(&large_packet(remote, (5000, 53))),
            Next,
        )),
        case(
            "ARP is the stack's",
            hook,
            edited(sent(&tcp_packet(remote, WEB, SYN)), 12, &[0x08, 0x06]),
            Next,
        ),
    ]
}

fn refused_from_pods() -> Vec<Case> {
    let hook = Hook::PodEgress;
    let tunnel_port = (5000, PORT);
    let vtep = NetAddr::from_octets([10, 244, 2, 0]);
    let speaks = Drop(Reason::PodSpeaksTunnel);
    vec![
        case(
            "another pod's address is refused",
            hook,
            sent(&tcp_packet((REMOTE, POD), WEB, SYN)),
            Drop(Reason::SpoofedSource),
        ),
        case(
            "the node's address is refused",
            hook,
            sent(&tcp_packet((NODE, REMOTE), WEB, SYN)),
            Drop(Reason::SpoofedSource),
        ),
        case(
            "the tunnel's port on the own node is refused",
            hook,
            sent(&udp_packet((POD, NODE), tunnel_port)),
            speaks,
        ),
        case(
            "the tunnel's port on a peer is refused",
            hook,
            sent(&udp_packet((POD, PEER), tunnel_port)),
            speaks,
        ),
        case(
            "the tunnel's port on a VTEP is refused",
            hook,
            sent(&udp_packet((POD, vtep), tunnel_port)),
            speaks,
        ),
        case(
            "that port on a pod is just a port",
            hook,
            sent(&udp_packet((POD, REMOTE), tunnel_port)),
            Next,
        ),
        case(
            "that port outside is just a port",
            hook,
            sent(&udp_packet((POD, OUTSIDE), tunnel_port)),
            Next,
        ),
        case(
            "another port of the node is its own affair",
            hook,
            sent(&udp_packet((POD, NODE), (5000, 53))),
            Next,
        ),
        case(
            "a tag inside a tag hides nothing",
            hook,
            edited(sent(&tcp_packet((REMOTE, POD), WEB, SYN)), 12, &[0x81, 0]),
            Drop(Reason::StackedTags),
        ),
        case(
            "IP options hide no port",
            hook,
            with_options(&udp_packet((POD, PEER), tunnel_port)),
            speaks,
        ),
    ]
}

/// The same packet with four bytes of IP options (no-operation).
fn with_options(packet: &[u8]) -> Vec<u8> {
    let mut longer = [&packet[..20], &[1, 1, 1, 1], &packet[20..]].concat();
    longer[0] = 0x46;
    let total = u16::try_from(longer.len()).unwrap_or(u16::MAX);
    longer[2..4].copy_from_slice(&total.to_be_bytes());
    fix_checksum(&mut longer);
    sent(&longer)
}

fn host_sends() -> Vec<Case> {
    let hook = Hook::OverlayEgress;
    let routed = |packet: &[u8]| frame(VTEP, VTEP, packet);
    vec![
        case(
            "what the stack routed is encapsulated",
            hook,
            routed(&tcp_packet((POD, REMOTE), WEB, ACK)),
            ToWire,
        ),
        case(
            "fragments too",
            hook,
            edited(routed(&udp_packet((POD, REMOTE), (5000, 53))), 20, &[0x20, 0]),
            ToWire,
        ),
        case(
            "other protocols too",
            hook,
            edited(routed(&udp_packet((POD, REMOTE), (5000, 53))), 23, &[132]),
            ToWire,
        ),
        case(
            "nobody's subnet has no way",
            hook,
            routed(&tcp_packet((POD, NOWHERE), WEB, SYN)),
            Drop(Reason::NoPeer),
        ),
        direct(case(
            "a direct tuple that comes translated is encapsulated and revoked",
            hook,
            routed(&tcp_packet((POD, REMOTE), WEB, ACK)),
            ToWire,
        )),
        direct(case(
            "a direct tuple that reaches a pod translated is revoked",
            Hook::PodIngress,
            frame(HOST_MAC, POD_MAC, &tcp_packet((REMOTE, POD), ANSWER, ACK)),
            Next,
        )),
    ]
}

fn arrivals() -> Vec<Case> {
    let hook = Hook::UplinkIngress;
    let vtep = NetAddr::from_octets([10, 244, 1, 0]);
    let ends = (REMOTE, POD);
    vec![
        case(
            "a SYN for a pod goes fast at once",
            hook,
            arrived(&tcp_packet(ends, WEB, SYN)),
            ToPod,
        ),
        case(
            "a SYN-ACK without entry goes to the stack",
            hook,
            arrived(&tcp_packet(ends, ANSWER, SYN_ACK)),
            ToStack,
        ),
        direct(case(
            "a segment of a direct flow goes fast",
            hook,
            arrived(&tcp_packet(ends, ANSWER, ACK)),
            ToPod,
        )),
        case(
            "a first datagram goes to the stack",
            hook,
            arrived(&udp_packet(ends, (53, 5000))),
            ToStack,
        ),
        direct(case(
            "a datagram of a direct flow goes fast",
            hook,
            arrived(&udp_packet(ends, (53, 5000))),
            ToPod,
        )),
        direct(case(
            "an error about a direct flow goes fast",
            hook,
            arrived(&unreachable(ends, &udp_packet((POD, REMOTE), (5000, 53)))),
            ToPod,
        )),
        case(
            "the sender's own address goes to the stack",
            hook,
            arrived(&tcp_packet((PEER, POD), WEB, SYN)),
            ToStack,
        ),
        case("this node's VTEP is the stack's", hook, arrived(&ping((REMOTE, vtep), 9)), ToStack),
        direct(case("an expiring packet is the stack's to answer", hook, expiring(ends), ToStack)),
        case(
            "congestion outside is told inside",
            hook,
            edited(arrived(&with_tos(&tcp_packet(ends, WEB, SYN), 2)), 15, &[3]),
            ToPod,
        ),
        case(
            "inner fragments go to the stack",
            hook,
            arrived(&fragment(&udp_packet(ends, (53, 5000)))),
            ToStack,
        ),
        case(
            "other ports are none of our business",
            hook,
            edited(arrived(&tcp_packet(ends, WEB, SYN)), 36, &[0x12, 0xb5]),
            Next,
        ),
        case(
            "other hosts are none of our business",
            hook,
            edited(arrived(&tcp_packet(ends, WEB, SYN)), 30, &[172, 30, 0, 77]),
            Next,
        ),
        case(
            "TCP to the node is none of our business",
            hook,
            frame(POD_MAC, HOST_MAC, &tcp_packet((PEER, NODE), (5000, PORT), SYN)),
            Next,
        ),
    ]
}

fn expiring(ends: (NetAddr, NetAddr)) -> Vec<u8> {
    let mut packet = tcp_packet(ends, ANSWER, ACK);
    packet[8] = 1;
    fix_checksum(&mut packet);
    arrived(&packet)
}

fn with_tos(packet: &[u8], tos: u8) -> Vec<u8> {
    let mut packet = packet.to_vec();
    packet[1] = tos;
    fix_checksum(&mut packet);
    packet
}

fn fragment(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    packet[6..8].copy_from_slice(&[0x20, 0]);
    fix_checksum(&mut packet);
    packet
}

fn refused_arrivals() -> Vec<Case> {
    let hook = Hook::UplinkIngress;
    let syn = tcp_packet((REMOTE, POD), WEB, SYN);
    let good = || arrived(&syn);
    let refused = |name, frame, reason| case(name, hook, frame, Drop(reason));
    vec![
        refused("a stranger is refused", arrived_from(STRANGER, &syn), Reason::UnknownSender),
        refused(
            "a source outside the sender's lease is refused",
            arrived(&tcp_packet((NOWHERE, POD), WEB, SYN)),
            Reason::ForeignSource,
        ),
        refused(
            "a source of ours is refused",
            arrived(&tcp_packet((NEIGHBOUR, POD), WEB, SYN)),
            Reason::ForeignSource,
        ),
        refused(
            "another identifier is refused",
            edited(good(), 46, &[0, 0, 2, 0]),
            Reason::WrongVni,
        ),
        refused("a missing I flag is refused", edited(good(), 42, &[0]), Reason::WrongVxlanFlags),
        refused("group policy is refused", edited(good(), 42, &[0x88]), Reason::WrongVxlanFlags),
        refused("reserved bits are refused", edited(good(), 49, &[1]), Reason::WrongVxlanFlags),
        refused(
            "another VTEP's frame is refused",
            edited(good(), 50, &[2, 0, 0, 0, 9, 9]),
            Reason::WrongVtepMac,
        ),
        refused("inner IPv6 is refused", edited(good(), 62, &[0x86, 0xdd]), Reason::InnerProtocol),
        refused("inner ARP is refused", edited(good(), 62, &[0x08, 0x06]), Reason::InnerProtocol),
        refused("inner version 6 is refused", edited(good(), 64, &[0x65]), Reason::InnerMalformed),
        refused(
            "an inner header of four words is refused",
            edited(good(), 64, &[0x44]),
            Reason::InnerMalformed,
        ),
        refused(
            "an inner length below its header is refused",
            edited(good(), 66, &[0, 19]),
            Reason::InnerMalformed,
        ),
        refused(
            "an inner length beyond the frame is refused",
            edited(good(), 66, &[2, 0]),
            Reason::BadLength,
        ),
        refused(
            "an outer length beyond the frame is refused",
            edited(good(), 16, &[2, 0]),
            Reason::Truncated,
        ),
        refused(
            "a UDP length that disagrees is refused",
            edited(good(), 38, &[0, 60]),
            Reason::BadLength,
        ),
        refused("IP options are refused", outer_options(&good()), Reason::OuterOptions),
        refused(
            "the node itself is no inner destination",
            arrived(&tcp_packet((REMOTE, NODE), WEB, SYN)),
            Reason::InnerDestination,
        ),
        refused(
            "its loopback is not",
            arrived(&tcp_packet((REMOTE, NetAddr::from_octets([127, 0, 0, 1])), WEB, SYN)),
            Reason::InnerDestination,
        ),
        refused(
            "another node's pod is not",
            arrived(&tcp_packet((REMOTE, NOWHERE), WEB, SYN)),
            Reason::InnerDestination,
        ),
        refused(
            "congestion that nobody can hear is refused",
            edited(good(), 15, &[3]),
            Reason::EcnCorrupted,
        ),
        refused(
            "a first fragment of garbage is refused",
            edited(edited(good(), 42, &[0x77]), 20, &[0x20, 0]),
            Reason::OuterFragment,
        ),
        refused(
            "a stranger's first fragment is refused",
            edited(arrived_from(STRANGER, &syn), 20, &[0x20, 0]),
            Reason::OuterFragment,
        ),
    ]
}

fn outer_options(frame: &[u8]) -> Vec<u8> {
    let mut longer = [&frame[..34], &[1, 1, 1, 1], &frame[34..]].concat();
    longer[14] = 0x46;
    let total = u16::try_from(longer.len() - 14).unwrap_or(u16::MAX);
    longer[16..18].copy_from_slice(&total.to_be_bytes());
    fix_checksum(&mut longer[14..]);
    longer
}

/// Cut off at every length between the outer IP header and the inner one.
fn mutations() -> Vec<Case> {
    let whole = arrived(&tcp_packet((REMOTE, POD), WEB, SYN));
    (34..84)
        .map(|len| {
            let frame = whole[..len].to_vec();
            case(
                "a tunnel packet cut off is refused",
                Hook::UplinkIngress,
                frame,
                Drop(Reason::Truncated),
            )
        })
        .collect()
}
