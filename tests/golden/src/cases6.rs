//! The cases of IPv6.
// long: one table

use tartan_common::NetAddr6;
use tartan_common::reason::Reason;

use crate::apply::Verdict::{Drop, Next, ToDevice, ToPod, ToStack, ToTunnel};
use crate::cases::{case, direct};
use crate::fixture::{HOST_MAC, POD_MAC, PORT, VNI};
use crate::fixture6::{
    ALL_NODES, GATEWAY, LINK_LOCAL, NEIGHBOUR, NODE, NOWHERE, OUTSIDE, PEER, PEER_VTEP6, POD,
    REMOTE, REMOTE_VTEP, STRANGER, VTEP6,
};
use crate::packets::{ACK, SYN, SYN_ACK, udp};
use crate::packets6::{alerted, frame, icmp6, ipv6, tcp_packet, tunnel, udp_packet};
use crate::{Case, Hook};

const WEB: (u16, u16) = (40_000, 80);
const DNS: (u16, u16) = (5000, 53);
const TUNNEL: (u16, u16) = (5000, PORT);
const ANY: NetAddr6 = NetAddr6::UNSPECIFIED;

pub(crate) fn cases() -> Vec<Case> {
    [
        pod_sends(),
        links(),
        refused_from_pods(),
        tunnels_from_pods(),
        host_sends(),
        arrivals(),
        refused_arrivals(),
    ]
    .concat()
}

fn sent(packet: &[u8]) -> Vec<u8> {
    frame(POD_MAC, HOST_MAC, packet)
}

fn arrived(inner: &[u8]) -> Vec<u8> {
    arrived_from(PEER, inner)
}

fn arrived_from(sender: NetAddr6, inner: &[u8]) -> Vec<u8> {
    let inner = frame(PEER_VTEP6, VTEP6, inner);
    frame(POD_MAC, HOST_MAC, &tunnel((sender, NODE), PORT, VNI, &inner))
}

fn edited(mut frame: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    frame
}

/// A packet behind a fragment header that says where in the whole it lies.
fn fragment(ends: (NetAddr6, NetAddr6), next: u8, offset: u16, payload: &[u8]) -> Vec<u8> {
    let [high, low] = offset.to_be_bytes();
    ipv6(ends, 44, &[&[next, 0, high, low, 0, 0, 0, 7][..], payload].concat())
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn pod_sends() -> Vec<Case> {
    let hook = Hook::PodEgress;
    let (remote, local) = ((POD, REMOTE), (POD, NEIGHBOUR));
    let too_big = icmp6(remote, 2, [0, 0, 5, 0], &udp_packet((REMOTE, POD), (53, 5000)));
    vec![
        case(
            "IPv6: a SYN to a remote pod goes fast at once",
            hook,
            sent(&tcp_packet(remote, WEB, SYN)),
            ToTunnel,
        ),
        case(
            "IPv6: a SYN to a local pod goes fast at once",
            hook,
            sent(&tcp_packet(local, WEB, SYN)),
            ToPod,
        ),
        case(
            "IPv6: a SYN-ACK without entry may answer a translated flow",
            hook,
            sent(&tcp_packet(remote, (80, 40_000), SYN_ACK)),
            Next,
        ),
        direct(case(
            "IPv6: a segment of a direct flow goes fast",
            hook,
            sent(&tcp_packet(remote, WEB, ACK)),
            ToTunnel,
        )),
        case(
            "IPv6: a segment of an unknown flow goes to the stack",
            hook,
            sent(&tcp_packet(remote, WEB, ACK)),
            Next,
        ),
        case(
            "IPv6: a first datagram goes to the stack",
            hook,
            sent(&udp_packet(remote, DNS)),
            Next,
        ),
        direct(case(
            "IPv6: a datagram of a direct flow goes fast",
            hook,
            sent(&udp_packet(remote, DNS)),
            ToTunnel,
        )),
        direct(case(
            "IPv6: one that is longer than its header says goes to the stack",
            hook,
            [sent(&udp_packet(remote, DNS)), vec![0]].concat(),
            Next,
        )),
        direct(case(
            "IPv6: a datagram of a direct flow to a local pod goes fast",
            hook,
            sent(&udp_packet(local, DNS)),
            ToPod,
        )),
        direct(case(
            "IPv6: an echo request of a direct flow goes fast",
            hook,
            sent(&icmp6(remote, 128, [0, 7, 0, 1], b"ping")),
            ToTunnel,
        )),
        case("IPv6: an error about an unknown flow goes to the stack", hook, sent(&too_big), Next),
        direct(case(
            "IPv6: an error about a direct flow goes fast",
            hook,
            sent(&too_big),
            ToTunnel,
        )),
        case(
            "IPv6: the world outside is the stack's",
            hook,
            sent(&tcp_packet((POD, OUTSIDE), WEB, SYN)),
            Next,
        ),
        case(
            "IPv6: a subnet that nobody leases is the stack's",
            hook,
            sent(&tcp_packet((POD, NOWHERE), WEB, SYN)),
            Next,
        ),
        direct(case(
            "IPv6: an expiring packet is the stack's to answer",
            hook,
            edited(sent(&tcp_packet(remote, WEB, ACK)), 21, &[1]),
            Next,
        )),
        direct(case(
            "IPv6: a fragment goes to the stack",
            hook,
            sent(&fragment(remote, 17, 1, &udp(DNS, b"payload!"))),
            Next,
        )),
        direct(case(
            "IPv6: so does what stands behind options",
            hook,
            sent(&ipv6(
                remote,
                60,
                &[&[17, 0, 1, 4, 0, 0, 0, 0][..], &udp(DNS, b"payload!")].concat(),
            )),
            Next,
        )),
        direct(case(
            "IPv6: a packet that is too big goes to the stack",
            hook,
            sent(&[&udp_packet(remote, DNS)[..], &[0; 1400]].concat()),
            Next,
        )),
    ]
}

/// What a pod says to its link.
fn links() -> Vec<Case> {
    let hook = Hook::PodEgress;
    let ask = [&GATEWAY.octets()[..], &[1, 1, 2, 0, 0, 1, 0, 2]].concat();
    let rogue = Drop(Reason::RogueRouter);
    vec![
        case(
            "IPv6: a pod asks its gateway's neighbour address",
            hook,
            sent(&icmp6((POD, GATEWAY), 135, [0; 4], &ask)),
            Next,
        ),
        case(
            "IPv6: and answers from its link-local address",
            hook,
            sent(&icmp6((LINK_LOCAL, GATEWAY), 136, [0x60, 0, 0, 0], &ask)),
            Next,
        ),
        case(
            "IPv6: duplicate address detection has no source",
            hook,
            sent(&icmp6((ANY, ALL_NODES), 135, [0; 4], &ask)),
            Next,
        ),
        case(
            "IPv6: a router may be asked for",
            hook,
            sent(&icmp6((LINK_LOCAL, ALL_NODES), 133, [0; 4], &[])),
            Next,
        ),
        case(
            "IPv6: a pod says which groups it listens to",
            hook,
            sent(&alerted((LINK_LOCAL, ALL_NODES), 143)),
            Next,
        ),
        case(
            "IPv6: neighbour discovery between pods never goes fast",
            hook,
            sent(&icmp6((POD, NEIGHBOUR), 135, [0; 4], &ask)),
            Next,
        ),
        case(
            "IPv6: a pod is no router",
            hook,
            sent(&icmp6((LINK_LOCAL, ALL_NODES), 134, [64, 0, 7, 8], &[0; 8])),
            rogue,
        ),
        case(
            "IPv6: not from its own address, either",
            hook,
            sent(&icmp6((POD, ALL_NODES), 134, [64, 0, 7, 8], &[0; 8])),
            rogue,
        ),
        case(
            "IPv6: nor does it redirect",
            hook,
            sent(&icmp6((LINK_LOCAL, GATEWAY), 137, [0; 4], &[0; 32])),
            rogue,
        ),
    ]
}

fn refused_from_pods() -> Vec<Case> {
    let hook = Hook::PodEgress;
    let spoofed = Drop(Reason::SpoofedSource);
    let advertisement = [64, 0, 7, 8, 0, 0, 0, 0];
    let hidden = [&[58, 0, 1, 4, 0, 0, 0, 0, 134, 0, 0, 0][..], &advertisement].concat();
    vec![
        case(
            "IPv6: another pod's address is refused",
            hook,
            sent(&tcp_packet((REMOTE, POD), WEB, SYN)),
            spoofed,
        ),
        case(
            "IPv6: so is one of nobody's",
            hook,
            sent(&tcp_packet((NOWHERE, POD), WEB, SYN)),
            spoofed,
        ),
        case(
            "IPv6: a link-local source talks to nobody but the link",
            hook,
            sent(&tcp_packet((LINK_LOCAL, REMOTE), WEB, SYN)),
            spoofed,
        ),
        case(
            "IPv6: and sends no echo requests",
            hook,
            sent(&icmp6((LINK_LOCAL, ALL_NODES), 128, [0; 4], &[])),
            spoofed,
        ),
        case(
            "IPv6: no source is no source for data",
            hook,
            sent(&udp_packet((ANY, REMOTE), DNS)),
            spoofed,
        ),
        case(
            "IPv6: an advertisement does not hide behind options",
            hook,
            sent(&ipv6((LINK_LOCAL, ALL_NODES), 60, &hidden)),
            spoofed,
        ),
        case(
            "IPv6: nor behind a router alert",
            hook,
            sent(&alerted((LINK_LOCAL, ALL_NODES), 134)),
            spoofed,
        ),
        case(
            "IPv6: nor in fragments",
            hook,
            sent(&fragment((LINK_LOCAL, ALL_NODES), 58, 0, &hidden)),
            spoofed,
        ),
        case(
            "IPv6: groups are not listened to behind more than a router alert",
            hook,
            edited(sent(&alerted((LINK_LOCAL, ALL_NODES), 143)), 55, &[1]),
            spoofed,
        ),
    ]
}

fn tunnels_from_pods() -> Vec<Case> {
    let hook = Hook::PodEgress;
    let speaks = Drop(Reason::PodSpeaksTunnel);
    let datagram = udp(TUNNEL, b"payload!");
    let options = [&[17, 0, 1, 4, 0, 0, 0, 0][..], &datagram].concat();
    vec![
        case(
            "IPv6: a pod does not speak to this node's tunnel",
            hook,
            sent(&udp_packet((POD, NODE), TUNNEL)),
            speaks,
        ),
        case("IPv6: nor to another node's", hook, sent(&udp_packet((POD, PEER), TUNNEL)), speaks),
        case("IPv6: nor to its VTEP", hook, sent(&udp_packet((POD, REMOTE_VTEP), TUNNEL)), speaks),
        case(
            "IPv6: nor in fragments",
            hook,
            sent(&fragment((POD, PEER), 17, 1, &datagram)),
            speaks,
        ),
        case("IPv6: nor behind options", hook, sent(&ipv6((POD, PEER), 60, &options)), speaks),
        case(
            "IPv6: nor behind options in fragments",
            hook,
            sent(&fragment((POD, PEER), 60, 1, &options)),
            speaks,
        ),
        case(
            "IPv6: a later fragment alone is harmless",
            hook,
            sent(&fragment((POD, PEER), 17, 0x51, &datagram)),
            Next,
        ),
        case(
            "IPv6: other ports of a node are the stack's",
            hook,
            sent(&udp_packet((POD, PEER), DNS)),
            Next,
        ),
        case(
            "IPv6: a pod may use the port among pods",
            hook,
            sent(&udp_packet((POD, REMOTE), TUNNEL)),
            Next,
        ),
        case(
            "IPv6: options to another pod are the stack's",
            hook,
            sent(&ipv6((POD, REMOTE), 60, &options)),
            Next,
        ),
    ]
}

fn host_sends() -> Vec<Case> {
    let hook = Hook::OverlayEgress;
    let host = |packet: &[u8]| frame(VTEP6, VTEP6, packet);
    vec![
        case(
            "IPv6: what the host routes to a peer is the device's",
            hook,
            host(&tcp_packet((NODE, REMOTE), WEB, SYN)),
            Next,
        ),
        case(
            "IPv6: fragments as well",
            hook,
            host(&fragment((NODE, REMOTE), 17, 1, &udp(DNS, b"payload!"))),
            Next,
        ),
        case(
            "IPv6: nobody's subnet has no peer",
            hook,
            host(&tcp_packet((NODE, NOWHERE), WEB, SYN)),
            Drop(Reason::NoPeer),
        ),
        case(
            "IPv6: the device's own discovery leads nowhere",
            hook,
            host(&alerted((LINK_LOCAL, ALL_NODES), 143)),
            Next,
        ),
        direct(case(
            "IPv6: a translated packet takes a direct flow's entry away",
            hook,
            host(&tcp_packet((POD, REMOTE), WEB, ACK)),
            Next,
        )),
        direct(case(
            "IPv6: also where the stack delivers it to a pod",
            Hook::PodIngress,
            host(&tcp_packet((REMOTE, POD), WEB, ACK)),
            Next,
        )),
    ]
}

fn arrivals() -> Vec<Case> {
    let hook = Hook::UplinkIngress;
    let inward = (REMOTE, POD);
    vec![
        case(
            "IPv6: a SYN through the tunnel goes into its pod",
            hook,
            arrived(&tcp_packet(inward, WEB, SYN)),
            ToPod,
        ),
        case(
            "IPv6: a segment of an unknown flow goes to the stack",
            hook,
            arrived(&tcp_packet(inward, WEB, ACK)),
            ToStack,
        ),
        direct(case(
            "IPv6: a segment of a direct flow goes into its pod",
            hook,
            arrived(&tcp_packet(inward, WEB, ACK)),
            ToPod,
        )),
        direct(case(
            "IPv6: congestion outside is told inside",
            hook,
            edited(
                edited(arrived(&tcp_packet(inward, WEB, ACK)), 84, &[0x60, 0x21]),
                14,
                &[0x60, 0x31],
            ),
            ToPod,
        )),
        case(
            "IPv6: the node itself reaches a pod through the stack",
            hook,
            arrived(&tcp_packet((PEER, POD), WEB, SYN)),
            ToStack,
        ),
        case(
            "IPv6: an address without a pod is the stack's",
            hook,
            arrived(&tcp_packet((REMOTE, GATEWAY), WEB, SYN)),
            ToStack,
        ),
        direct(case(
            "IPv6: an expiring packet is the stack's",
            hook,
            edited(arrived(&tcp_packet(inward, WEB, ACK)), 91, &[1]),
            ToStack,
        )),
        case(
            "IPv6: other UDP to this node is not ours",
            hook,
            frame(POD_MAC, HOST_MAC, &udp_packet((PEER, NODE), DNS)),
            Next,
        ),
        case(
            "IPv6: nor is the tunnel of somebody else",
            hook,
            frame(POD_MAC, HOST_MAC, &udp_packet((PEER, STRANGER), TUNNEL)),
            Next,
        ),
        case(
            "IPv6: outer fragments are the kernel's to reassemble",
            hook,
            frame(POD_MAC, HOST_MAC, &fragment((PEER, NODE), 17, 1, &[0; 16])),
            ToDevice(0),
        ),
        case(
            "IPv6: neighbour discovery on the uplink is untouched",
            hook,
            frame(POD_MAC, HOST_MAC, &icmp6((PEER, NODE), 135, [0; 4], &[0; 24])),
            Next,
        ),
    ]
}

fn refused_arrivals() -> Vec<Case> {
    let hook = Hook::UplinkIngress;
    let good = || arrived(&tcp_packet((REMOTE, POD), WEB, SYN));
    vec![
        case(
            "IPv6: an unknown sender",
            hook,
            arrived_from(STRANGER, &tcp_packet((REMOTE, POD), WEB, SYN)),
            Drop(Reason::UnknownSender),
        ),
        case(
            "IPv6: a source outside the sender's lease",
            hook,
            arrived(&tcp_packet((NOWHERE, POD), WEB, SYN)),
            Drop(Reason::ForeignSource),
        ),
        case(
            "IPv6: our own pod's address from outside",
            hook,
            arrived(&tcp_packet((NEIGHBOUR, POD), WEB, SYN)),
            Drop(Reason::ForeignSource),
        ),
        case(
            "IPv6: a link-local source through the tunnel",
            hook,
            arrived(&icmp6((LINK_LOCAL, POD), 134, [64, 0, 7, 8], &[0; 8])),
            Drop(Reason::ForeignSource),
        ),
        case(
            "IPv6: a destination outside our subnet",
            hook,
            arrived(&tcp_packet((REMOTE, OUTSIDE), WEB, SYN)),
            Drop(Reason::InnerDestination),
        ),
        case(
            "IPv6: no outer checksum",
            hook,
            edited(good(), 60, &[0, 0]),
            Drop(Reason::NoOuterChecksum),
        ),
        case(
            "IPv6: another network identifier",
            hook,
            edited(good(), 66, &[0, 0, 2]),
            Drop(Reason::WrongVni),
        ),
        case(
            "IPv6: reserved VXLAN bits",
            hook,
            edited(good(), 62, &[0x88]),
            Drop(Reason::WrongVxlanFlags),
        ),
        case(
            "IPv6: another VTEP's address",
            hook,
            edited(good(), 70, &[2, 9, 9, 9, 9, 9]),
            Drop(Reason::WrongVtepMac),
        ),
        case(
            "IPv6: an inner frame of IPv4",
            hook,
            edited(good(), 82, &[8, 0]),
            Drop(Reason::InnerProtocol),
        ),
        case(
            "IPv6: an inner version that lies",
            hook,
            edited(good(), 84, &[0x40]),
            Drop(Reason::InnerMalformed),
        ),
        case(
            "IPv6: a UDP length that leaves room behind it",
            hook,
            edited(good(), 58, &[0, 40]),
            Drop(Reason::BadLength),
        ),
        case(
            "IPv6: an inner length beyond the frame",
            hook,
            edited(good(), 88, &[4, 0]),
            Drop(Reason::BadLength),
        ),
        case(
            "IPv6: a frame that ends early",
            hook,
            good()[..100].to_vec(),
            Drop(Reason::Truncated),
        ),
        case(
            "IPv6: congestion for a flow that cannot hear it",
            hook,
            edited(good(), 14, &[0x60, 0x31]),
            Drop(Reason::EcnCorrupted),
        ),
    ]
}
