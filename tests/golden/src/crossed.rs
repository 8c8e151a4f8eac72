//! The cases of IPv6 in the tunnel over IPv4: from and to a node without an IPv6 address.

use tartan_common::NetAddr;
use tartan_common::NetAddr6;
use tartan_common::reason::Reason;
use tartan_common::wire::{INNER_AT, OUTER_LEN};

use crate::apply::Verdict::{Drop, Next, ToPod, ToStack, ToTunnel};
use crate::cases::{case, edited};
use crate::fixture::{HOST_MAC, NODE, PEER, PEER_VTEP, POD_MAC, PORT, STRANGER, VNI, VTEP};
use crate::fixture6::{self, CROSSED_NODE, CROSSED_POD, POD, REMOTE, VTEP6};
use crate::packets::{ACK, SYN, tunnel};
use crate::packets6::{frame, tcp_packet, tunnel as tunnel6};
use crate::{Case, Hook};

const WEB: (u16, u16) = (40_000, 80);
const ANY: NetAddr6 = NetAddr6::UNSPECIFIED;

pub(crate) fn cases() -> Vec<Case> {
    [sent(), arrivals(), refused()].concat()
}

fn arrived(inner: &[u8]) -> Vec<u8> {
    arrived_from(CROSSED_NODE, inner)
}

fn arrived_from(sender: NetAddr, inner: &[u8]) -> Vec<u8> {
    let inner = frame(PEER_VTEP, VTEP, inner);
    crate::packets::frame(POD_MAC, HOST_MAC, &tunnel((sender, NODE), PORT, VNI, &inner))
}

fn sent() -> Vec<Case> {
    let to = |hook, verdict| {
        let packet = frame(POD_MAC, HOST_MAC, &tcp_packet((POD, CROSSED_POD), WEB, SYN));
        case("IPv6 over IPv4: a SYN goes into the tunnel", hook, packet, verdict)
    };
    vec![to(Hook::PodEgress, ToTunnel), to(Hook::OverlayEgress, Next)]
}

fn arrivals() -> Vec<Case> {
    let hook = Hook::UplinkIngress;
    let inward = (CROSSED_POD, POD);
    let syn = || arrived(&tcp_packet(inward, WEB, SYN));
    vec![
        case("IPv6 over IPv4: a SYN goes into its pod", hook, syn(), ToPod),
        case(
            "IPv6 over IPv4: a segment of an unknown flow goes to the stack",
            hook,
            arrived(&tcp_packet(inward, WEB, ACK)),
            ToStack,
        ),
        case(
            "IPv6 over IPv4: congestion outside is told inside",
            hook,
            edited(edited(syn(), OUTER_LEN, &[0x60, 0x21]), 15, &[3]),
            ToPod,
        ),
        case(
            "IPv6 over IPv4: an expiring packet is the stack's",
            hook,
            edited(syn(), OUTER_LEN + 7, &[1]),
            ToStack,
        ),
    ]
}

fn refused() -> Vec<Case> {
    let case = |name, frame, reason| case(name, Hook::UplinkIngress, frame, Drop(reason));
    let from = |source| arrived(&tcp_packet((source, POD), WEB, SYN));
    let good = || from(CROSSED_POD);
    let mapped = NetAddr6::mapped(CROSSED_NODE);
    let inner6 = frame(PEER_VTEP, VTEP6, &tcp_packet((CROSSED_POD, POD), WEB, SYN));
    let pretended = tunnel6((mapped, fixture6::NODE), PORT, VNI, &inner6);
    let syn = tcp_packet((CROSSED_POD, POD), WEB, SYN);
    let foreign = Reason::ForeignSource;
    vec![
        case("IPv6 over IPv4: another node's pod", from(REMOTE), foreign),
        case("IPv6 over IPv4: a pod of ours", from(POD), foreign),
        case("IPv6 over IPv4: the node's mapped address", from(mapped), foreign),
        case("IPv6 over IPv4: a source that says nothing", from(ANY), foreign),
        case(
            "IPv6 over IPv4: a destination elsewhere",
            arrived(&tcp_packet((CROSSED_POD, REMOTE), WEB, SYN)),
            Reason::InnerDestination,
        ),
        case("IPv6 over IPv4: a stranger", arrived_from(STRANGER, &syn), Reason::UnknownSender),
        case(
            "IPv6 over IPv4: a peer that has an IPv6 address",
            arrived_from(PEER, &tcp_packet((REMOTE, POD), WEB, SYN)),
            Reason::InnerProtocol,
        ),
        case(
            "IPv6 over IPv4: the VTEP of IPv6",
            edited(good(), INNER_AT, &VTEP6.0),
            Reason::WrongVtepMac,
        ),
        case(
            "IPv6 over IPv4: an inner version that lies",
            edited(good(), OUTER_LEN, &[0x40]),
            Reason::InnerMalformed,
        ),
        case(
            "IPv6 over IPv4: an inner length beyond the frame",
            edited(good(), OUTER_LEN + 4, &[4, 0]),
            Reason::BadLength,
        ),
        case(
            "IPv6 over IPv4: congestion for a flow that cannot hear it",
            edited(good(), 15, &[3]),
            Reason::EcnCorrupted,
        ),
        case("IPv6 over IPv4: a frame that ends early", early(good()), Reason::Truncated),
        case(
            "IPv6 over IPv6: from the address that stands for an IPv4 one",
            frame(POD_MAC, HOST_MAC, &pretended),
            Reason::UnknownSender,
        ),
    ]
}

/// Within the inner header, with lengths that agree.
fn early(mut frame: Vec<u8>) -> Vec<u8> {
    frame.truncate(OUTER_LEN + 30);
    let udp = u16::try_from(frame.len() - 34).unwrap_or_default();
    let frame = edited(frame, 38, &udp.to_be_bytes());
    edited(frame, 16, &(udp + 20).to_be_bytes())
}
