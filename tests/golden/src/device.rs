//! What the uplink's hook leaves to the kernel's device: the bytes stay as they
//! are, and the tag says whether the packet was judged.

use tartan_common::gate;
use tartan_common::hook::UNJUDGED;
use tartan_common::wire::INNER_AT;

use crate::apply::Verdict::ToDevice;
use crate::cases::{arrived, arrived_from, case, direct, edited};
use crate::fixture::{NOWHERE, PEER, POD, REMOTE};
use crate::packets::{ACK, SYN_ACK, tcp_packet, udp_packet};
use crate::prepare::tuple;
use crate::{Case, Hook};

/// Flags and offset of an IPv4 header: more fragments follow the first one.
const FIRST: [u8; 2] = [0x20, 0];
/// A later fragment.
const LATER: [u8; 2] = [0, 0x10];
const FRAGMENT_AT: usize = 20;
const SEGMENT: u32 = 1398;

pub(crate) fn cases() -> Vec<Case> {
    let ends = (REMOTE, POD);
    let answer = tcp_packet(ends, (80, 40_000), SYN_ACK);
    vec![
        merged("segments that GRO merged carry the tag of their flow", &answer),
        merged("so do merged datagrams", &udp_packet(ends, (53, 5000))),
        direct(merged("datagrams in one packet never go fast", &udp_packet(ends, (53, 5000)))),
        merged("and what the sending node itself says", &tcp_packet((PEER, POD), (80, 4000), ACK)),
        fragment("a good first fragment is tagged as accepted", FIRST, &answer, gate::ACCEPTED),
        fragment("later fragments show nothing", LATER, &answer, UNJUDGED),
        fragment(
            "a first fragment with a foreign source inside is not accepted",
            FIRST,
            &tcp_packet((NOWHERE, POD), (80, 4000), ACK),
            UNJUDGED,
        ),
        case(
            "a first fragment for another VTEP is not accepted",
            Hook::UplinkIngress,
            edited(edited(arrived(&answer), INNER_AT, &[9]), FRAGMENT_AT, &FIRST),
            ToDevice(UNJUDGED),
        ),
        cut_off(&answer),
    ]
}

fn merged(name: &'static str, inner: &[u8]) -> Case {
    let frame = arrived(inner);
    let tag = tuple(&tartan_common::wire::Inner::new(&frame[..], INNER_AT));
    let tag = tag.map_or(gate::ACCEPTED, |tuple| gate::tag(&tuple));
    Case { gso_size: SEGMENT, ..case(name, Hook::UplinkIngress, frame, ToDevice(tag)) }
}

fn fragment(name: &'static str, field: [u8; 2], inner: &[u8], tag: u16) -> Case {
    let frame = edited(arrived_from(PEER, inner), FRAGMENT_AT, &field);
    case(name, Hook::UplinkIngress, frame, ToDevice(tag))
}

/// Eighty bytes end within the inner IP header.
fn cut_off(inner: &[u8]) -> Case {
    let whole = edited(arrived(inner), FRAGMENT_AT, &FIRST);
    let frame = whole.get(..80).unwrap_or_default().to_vec();
    case(
        "a first fragment that hides the inner header is not accepted",
        Hook::UplinkIngress,
        frame,
        ToDevice(UNJUDGED),
    )
}
