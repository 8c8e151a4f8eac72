//! Packets that are not as their IP header says: the host stack's, which drops, trims and counts
//! them.

use tartan_common::Mac;

use crate::apply::Verdict::{Next, ToStack};
use crate::cases::{ANSWER, WEB, arrived, case, direct, sent};
use crate::fixture::{HOST_MAC, LINK_POD, NEIGHBOUR, POD, REMOTE};
use crate::packets::{ACK, SYN, frame, tcp_packet, udp_packet};
use crate::{Case, Hook};

pub(crate) fn cases() -> Vec<Case> {
    [pod_sends(), arrivals()].concat()
}

/// The packet with one bit of its IP checksum the wrong way.
fn damaged(mut packet: Vec<u8>) -> Vec<u8> {
    packet[10] ^= 0x40;
    packet
}

fn pod_sends() -> Vec<Case> {
    let hook = Hook::PodEgress;
    let (remote, local) =
        (tcp_packet((POD, REMOTE), WEB, SYN), tcp_packet((POD, NEIGHBOUR), WEB, SYN));
    let datagram = udp_packet((POD, REMOTE), (5000, 53));
    vec![
        case("a wrong IP checksum is the stack's", hook, sent(&damaged(remote.clone())), Next),
        case("so it is towards a local pod", hook, sent(&damaged(local)), Next),
        case(
            "so it is towards the link",
            hook,
            sent(&damaged(tcp_packet((POD, LINK_POD), WEB, SYN))),
            Next,
        ),
        direct(case(
            "bytes that the IP header does not know are the stack's",
            hook,
            sent(&[&datagram[..], &[0; 4]].concat()),
            Next,
        )),
        direct(case(
            "a packet shorter than its IP header says is the stack's",
            hook,
            sent(&datagram[..datagram.len() - 1]),
            Next,
        )),
    ]
}

fn arrivals() -> Vec<Case> {
    let hook = Hook::UplinkIngress;
    let inner = tcp_packet((REMOTE, POD), ANSWER, ACK);
    let mut outer = arrived(&inner);
    outer[24] ^= 0x40;
    vec![
        direct(case(
            "a wrong IP checksum out of the tunnel is the stack's",
            hook,
            arrived(&damaged(inner)),
            ToStack,
        )),
        direct(case("a wrong outer IP checksum is the host's to drop", hook, outer, Next)),
        case(
            "a wrong IP checksum from the link is the stack's",
            hook,
            frame(HOST_MAC, Mac::default(), &damaged(tcp_packet((LINK_POD, POD), WEB, SYN))),
            Next,
        ),
    ]
}
