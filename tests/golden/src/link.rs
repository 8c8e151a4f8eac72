//! Packets that travel without a tunnel, between nodes on one link.

use tartan_common::reason::Reason::OffLinkSource;
use tartan_common::{Mac, NetAddr};

use crate::apply::Verdict::{Drop, Next, ToLink, ToPod};
use crate::cases::{ANSWER, WEB, case, direct, edited, sent};
use crate::fixture::{
    FAR_POD, HOST_MAC, LINK_POD, NEIGHBOUR, NODE, NOWHERE, OUTSIDE, POD, POD_MAC, REMOTE,
};
use crate::packets::{ACK, SYN, SYN_ACK, frame, large_packet, tcp_packet, udp_packet};
use crate::{Case, Hook};

pub(crate) fn cases() -> Vec<Case> {
    [pod_sends(), arrivals(), strangers(), departures()].concat()
}

/// As it arrives: the test run's device has the address zero.
fn arrived(packet: &[u8]) -> Vec<u8> {
    frame(HOST_MAC, Mac::default(), packet)
}

fn pod_sends() -> Vec<Case> {
    let hook = Hook::PodEgress;
    let ends = (POD, LINK_POD);
    vec![
        case(
            "a SYN to a pod on the link goes there as it is",
            hook,
            sent(&tcp_packet(ends, WEB, SYN)),
            ToLink,
        ),
        direct(case(
            "so does a datagram of a direct flow",
            hook,
            sent(&udp_packet(ends, (5000, 53))),
            ToLink,
        )),
        case(
            "a SYN-ACK to a pod on the link without entry is the stack's",
            hook,
            sent(&tcp_packet(ends, ANSWER, SYN_ACK)),
            Next,
        ),
        direct(case(
            "a packet that is too big for the link is the stack's",
            hook,
            sent(&large_packet(ends, (5000, 53))),
            Next,
        )),
    ]
}

fn arrivals() -> Vec<Case> {
    let hook = Hook::UplinkIngress;
    let ends = (LINK_POD, POD);
    vec![
        case(
            "a SYN from a pod on the link goes into its pod",
            hook,
            arrived(&tcp_packet(ends, WEB, SYN)),
            ToPod,
        ),
        direct(case(
            "so does a segment of a direct flow from the link",
            hook,
            arrived(&tcp_packet(ends, WEB, ACK)),
            ToPod,
        )),
        case(
            "a datagram from a pod on the link is the stack's first",
            hook,
            arrived(&udp_packet(ends, (5000, 53))),
            Next,
        ),
        direct(case(
            "a fragment from the link is the stack's",
            hook,
            edited(arrived(&udp_packet(ends, (5000, 53))), 20, &[0x20, 0]),
            Next,
        )),
        direct(case(
            "an expiring packet from the link is the stack's",
            hook,
            edited(arrived(&tcp_packet(ends, WEB, ACK)), 22, &[1]),
            Next,
        )),
        case(
            "a node that we tunnel to may send without one if it is on the link",
            hook,
            arrived(&tcp_packet((REMOTE, POD), WEB, SYN)),
            ToPod,
        ),
    ]
}

fn strangers() -> Vec<Case> {
    let hook = Hook::UplinkIngress;
    let from = |source: NetAddr| arrived(&tcp_packet((source, POD), WEB, SYN));
    vec![
        case(
            "a pod of a node behind a router cannot come without a tunnel",
            hook,
            from(FAR_POD),
            Drop(OffLinkSource),
        ),
        case("nor can a pod of nobody", hook, from(NOWHERE), Drop(OffLinkSource)),
        case("nor can a pod of this node", hook, from(NEIGHBOUR), Drop(OffLinkSource)),
        case(
            "what comes from outside of the pod network is the stack's",
            hook,
            from(OUTSIDE),
            Next,
        ),
        case(
            "what is for this node itself is the stack's",
            hook,
            arrived(&tcp_packet((LINK_POD, NODE), WEB, SYN)),
            Next,
        ),
        case(
            "a frame for another station is none of ours",
            hook,
            frame(HOST_MAC, POD_MAC, &tcp_packet((NOWHERE, POD), WEB, SYN)),
            Next,
        ),
    ]
}

fn departures() -> Vec<Case> {
    let hook = Hook::UplinkEgress;
    vec![
        case(
            "what the stack sends onto the link goes on",
            hook,
            sent(&tcp_packet((POD, LINK_POD), WEB, SYN)),
            Next,
        ),
        case(
            "so does everything else that leaves",
            hook,
            sent(&tcp_packet((NODE, OUTSIDE), WEB, SYN)),
            Next,
        ),
    ]
}
