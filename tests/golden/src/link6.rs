//! IPv6 packets that travel without a tunnel, between nodes on one link.

use tartan_common::reason::Reason::OffLinkSource;
use tartan_common::{Mac, NetAddr6};

use crate::apply::Verdict::{Drop, Next, ToLink, ToPod};
use crate::cases::{ANSWER, WEB, case, direct};
use crate::fixture::{HOST_MAC, POD_MAC};
use crate::fixture6::{
    ALL_NODES, FAR_POD, LINK_POD, LINKED, NEIGHBOUR, NODE, NOWHERE, OUTSIDE, POD, REMOTE,
};
use crate::packets::{ACK, SYN, SYN_ACK};
use crate::packets6::{frame, icmp6, tcp_packet, udp_packet};
use crate::{Case, Hook};

/// A question for a neighbour's address (RFC 4861 section 4.3).
const SOLICITATION: u8 = 135;

pub(crate) fn cases() -> Vec<Case> {
    [pod_sends(), arrivals(), strangers(), departures()].concat()
}

fn sent(packet: &[u8]) -> Vec<u8> {
    frame(POD_MAC, HOST_MAC, packet)
}

/// As it arrives: the test run's device has the address zero.
fn arrived(packet: &[u8]) -> Vec<u8> {
    frame(HOST_MAC, Mac::default(), packet)
}

fn pod_sends() -> Vec<Case> {
    let hook = Hook::PodEgress;
    let ends = (POD, LINK_POD);
    let mut large = sent(&udp_packet(ends, (5000, 53)));
    large.extend([0; 1430]);
    vec![
        case(
            "IPv6: a SYN to a pod on the link goes there as it is",
            hook,
            sent(&tcp_packet(ends, WEB, SYN)),
            ToLink,
        ),
        direct(case(
            "IPv6: so does a datagram of a direct flow",
            hook,
            sent(&udp_packet(ends, (5000, 53))),
            ToLink,
        )),
        case(
            "IPv6: a SYN-ACK to a pod on the link without entry is the stack's",
            hook,
            sent(&tcp_packet(ends, ANSWER, SYN_ACK)),
            Next,
        ),
        direct(case(
            "IPv6: a packet that is too big for the link is the stack's",
            hook,
            large,
            Next,
        )),
    ]
}

fn arrivals() -> Vec<Case> {
    let hook = Hook::UplinkIngress;
    let ends = (LINK_POD, POD);
    let mut expiring = arrived(&tcp_packet(ends, WEB, ACK));
    expiring[21] = 1;
    vec![
        case(
            "IPv6: a SYN from a pod on the link goes into its pod",
            hook,
            arrived(&tcp_packet(ends, WEB, SYN)),
            ToPod,
        ),
        direct(case(
            "IPv6: so does a segment of a direct flow from the link",
            hook,
            arrived(&tcp_packet(ends, WEB, ACK)),
            ToPod,
        )),
        case(
            "IPv6: a datagram from a pod on the link is the stack's first",
            hook,
            arrived(&udp_packet(ends, (5000, 53))),
            Next,
        ),
        direct(case("IPv6: an expiring packet from the link is the stack's", hook, expiring, Next)),
        case(
            "IPv6: a node that we tunnel to may send without one if it is on the link",
            hook,
            arrived(&tcp_packet((REMOTE, POD), WEB, SYN)),
            ToPod,
        ),
    ]
}

fn strangers() -> Vec<Case> {
    let hook = Hook::UplinkIngress;
    let from = |source: NetAddr6| arrived(&tcp_packet((source, POD), WEB, SYN));
    vec![
        case(
            "IPv6: a pod of a node behind a router cannot come without a tunnel",
            hook,
            from(FAR_POD),
            Drop(OffLinkSource),
        ),
        case("IPv6: nor can a pod of nobody", hook, from(NOWHERE), Drop(OffLinkSource)),
        case("IPv6: nor can a pod of this node", hook, from(NEIGHBOUR), Drop(OffLinkSource)),
        case(
            "IPv6: what comes from outside of the pod network is the stack's",
            hook,
            from(OUTSIDE),
            Next,
        ),
        case(
            "IPv6: what is for this node itself is the stack's",
            hook,
            arrived(&tcp_packet((LINK_POD, NODE), WEB, SYN)),
            Next,
        ),
        case(
            "IPv6: a frame for another station is none of ours",
            hook,
            frame(HOST_MAC, POD_MAC, &tcp_packet((NOWHERE, POD), WEB, SYN)),
            Next,
        ),
        case(
            "IPv6: neighbours find each other",
            hook,
            arrived(&icmp6((LINKED, ALL_NODES), SOLICITATION, [0; 4], &NODE.octets())),
            Next,
        ),
    ]
}

fn departures() -> Vec<Case> {
    let hook = Hook::UplinkEgress;
    vec![
        case(
            "IPv6: what the stack sends onto the link goes on",
            hook,
            sent(&tcp_packet((POD, LINK_POD), WEB, SYN)),
            Next,
        ),
        case(
            "IPv6: so does everything else that leaves",
            hook,
            sent(&tcp_packet((NODE, OUTSIDE), WEB, SYN)),
            Next,
        ),
    ]
}
