//! What a host on the wire can forge.

use std::net::Ipv4Addr;

use super::ground::{Case, From, Ground, MARK, PORT};
use crate::forge::{OUTER_LENGTH, TunnelFrame, UDP_AT};
use crate::frames::Ipv4;
use crate::wire::GATEWAY;

/// Shortest frame with all headers: outer ones and an inner IPv4 header.
const HEADERS: usize = OUTER_LENGTH + 20;
const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// Documentation address (RFC 5737): nobody's.
const NOBODY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// Every kind of forgery from the wire.
pub(in crate::scenarios) fn cases(ground: &Ground) -> Vec<Case> {
    let sender = |name, reason, frames| Case { name, reason, from: From::Sender, frames };
    vec![
        Case {
            name: "a tunnel packet from somebody who is no node",
            reason: "unknown-sender",
            from: From::Stranger,
            frames: from_strangers(ground),
        },
        foreign_source(ground),
        sender("another VNI", "wrong-vni", wrong_vni(ground)),
        sender("other VXLAN flags", "wrong-vxlan-flags", wrong_flags(ground)),
        sender("cut at each length", "truncated", truncated(ground)),
        sender("lengths that contradict each other", "bad-length", bad_length(ground)),
        sender("IP options", "outer-options", options(ground)),
        sender("first fragments of garbage", "outer-fragment", first_fragments(ground)),
        sender("another VTEP's MAC", "wrong-vtep-mac", wrong_vtep(ground)),
        sender("for somebody else", "inner-destination", inner_destination(ground)),
        sender("something else than IPv4 inside", "inner-protocol", inner_protocol(ground)),
        sender("a malformed header inside", "inner-malformed", inner_malformed(ground)),
        sender("congestion for the deaf", "ecn-corrupted", ecn(ground)),
    ]
}

/// From a known node, on behalf of somebody else.
pub(in crate::scenarios) fn foreign_source(ground: &Ground) -> Case {
    let [target, _, third] = &ground.marks;
    let sources = [
        third.pod,
        third.address,
        third.vtep_address,
        target.pod,
        target.address,
        target.vtep_address,
        LOOPBACK,
        NOBODY,
        GATEWAY,
        Ipv4Addr::UNSPECIFIED,
        Ipv4Addr::BROADCAST,
    ];
    let frames = sources.map(|source| ground.frame(&Ipv4 { source, ..ground.inner() }).build());
    Case {
        name: "an inner source outside the sender's lease",
        reason: "foreign-source",
        from: From::Sender,
        frames: frames.into(),
    }
}

/// The frame that is right in every field.
pub(in crate::scenarios) fn good(ground: &Ground) -> TunnelFrame {
    ground.frame(&ground.inner())
}

fn with<T: Copy>(
    ground: &Ground,
    values: &[T],
    change: impl Fn(&mut TunnelFrame, T),
) -> Vec<Vec<u8>> {
    let changed = values.iter().map(|value| {
        let mut frame = good(ground);
        change(&mut frame, *value);
        frame.build()
    });
    changed.collect()
}

fn from_strangers(ground: &Ground) -> Vec<Vec<u8>> {
    let [target, known, _] = &ground.marks;
    let sources = [
        ground.stranger.address(),
        GATEWAY,
        NOBODY,
        LOOPBACK,
        Ipv4Addr::UNSPECIFIED,
        known.pod,
        known.vtep_address,
        target.address,
        target.pod,
    ];
    with(ground, &sources, |frame, source| frame.outer.source = source)
}

fn wrong_vni(ground: &Ground) -> Vec<Vec<u8>> {
    with(ground, &[0, 2, 256, 0x80_0001, 0xff_ffff], |frame, vni: u32| frame.vni = vni << 8)
}

/// Each bit of the two words that must be as it is, one at a time, and then all of them.
fn wrong_flags(ground: &Ground) -> Vec<Vec<u8>> {
    let bits: Vec<u32> = (0..32).map(|bit| 1 << bit).chain([u32::MAX]).collect();
    let mut frames = with(ground, &bits, |frame, bit| frame.flags ^= bit);
    frames.extend(with(ground, &bits[..8], |frame, bit| frame.vni ^= bit));
    frames
}

/// Each length from an outer IP header alone to the whole frame less a byte. Up to the last header
/// the outer lengths may tell the truth about what is left: it is not enough anyway. Behind it
/// only an outer length that lies makes a truncated packet.
///
/// A frame of less than 34 bytes has no whole outer IP header: it names neither a protocol nor a
/// port, so it is no tunnel packet, and the kernel's IP input drops it (`InHdrErrors`). The
/// scenario of the kernel's device sends those as well.
fn truncated(ground: &Ground) -> Vec<Vec<u8>> {
    let good = good(ground);
    let lying = (UDP_AT..good.build().len()).map(|length| good.cut(length));
    let honest = (UDP_AT..HEADERS).map(|length| good.cut_consistently(length));
    lying.chain(honest).collect()
}

fn bad_length(ground: &Ground) -> Vec<Vec<u8>> {
    let good = good(ground);
    let whole = good.build().len();
    let mut frames: Vec<_> = (HEADERS..whole).map(|length| good.cut_consistently(length)).collect();
    let udp = u16::try_from(whole - UDP_AT).unwrap_or(u16::MAX);
    let lies = [0, 7, 8, 16, udp - 1, udp + 1, u16::MAX];
    frames.extend(with(ground, &lies, |frame, length| frame.udp_length = Some(length)));
    let ip = udp + 20;
    frames.extend(with(ground, &[20, 28, ip - 8, ip - 1], |frame, length| {
        frame.outer.total_length = Some(length);
    }));
    frames
}

fn options(ground: &Ground) -> Vec<Vec<u8>> {
    let no_operation = vec![1; 4];
    let record_route = vec![7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let [a, b, c, d] = ground.marks[0].address.octets();
    let source_route = vec![131, 7, 4, a, b, c, d, 0];
    let lists = [no_operation, record_route, source_route, vec![1; 40]];
    let frames = lists.into_iter().map(|options| {
        let mut frame = good(ground);
        frame.outer.options = options;
        frame.build()
    });
    frames.collect()
}

/// A first fragment shows nothing but its own bytes; what it shows must be in order.
fn first_fragments(ground: &Ground) -> Vec<Vec<u8>> {
    let mut good = good(ground);
    good.outer.fragment = 0x2000;
    let first = |change: &dyn Fn(&mut TunnelFrame)| {
        let mut frame = good.clone();
        change(&mut frame);
        frame.build()
    };
    vec![
        first(&|frame| frame.outer.source = ground.stranger.address()),
        first(&|frame| frame.vni = 0x200),
        first(&|frame| frame.flags = 0x0800_0001),
        first(&|frame| (frame.flags, frame.vni) = (0xdead_beef, 0x600d_cafe)),
        // The UDP header alone, and half a VXLAN header.
        good.cut_consistently(UDP_AT + 8),
        good.cut_consistently(UDP_AT + 12),
    ]
}

fn wrong_vtep(ground: &Ground) -> Vec<Vec<u8>> {
    let [target, known, third] = &ground.marks;
    let multicast = [0x01, 0, 0x5e, 0, 0, 1];
    let mut near = target.vtep;
    near[5] ^= 1;
    let macs = [[0xff; 6], [0; 6], multicast, known.vtep, third.vtep, target.mac, near];
    with(ground, &macs, |frame, vtep| frame.vtep = vtep)
}

fn inner_destination(ground: &Ground) -> Vec<Vec<u8>> {
    let [target, known, third] = &ground.marks;
    let destinations = [
        target.address,
        LOOPBACK,
        Ipv4Addr::new(127, 255, 255, 254),
        third.pod,
        third.vtep_address,
        third.address,
        known.pod,
        known.address,
        GATEWAY,
        NOBODY,
        Ipv4Addr::new(224, 0, 0, 1),
        Ipv4Addr::BROADCAST,
        Ipv4Addr::UNSPECIFIED,
    ];
    let frames = destinations
        .map(|destination| ground.frame(&Ipv4 { destination, ..ground.inner() }).build());
    frames.into()
}

fn inner_protocol(ground: &Ground) -> Vec<Vec<u8>> {
    // IPv6, ARP, a VLAN tag, LLDP, a length instead of a type, nothing.
    let types = [0x86dd, 0x0806, 0x8100, 0x88cc, 0x0040, 0];
    let mut frames = with(ground, &types, |frame, kind| frame.inner_type = kind);
    let mut ipv6 = good(ground);
    ipv6.inner_type = 0x86dd;
    let payload = u16::try_from(MARK.len()).unwrap_or(0).to_be_bytes();
    ipv6.inner = [&[0x60, 0, 0, 0], &payload[..], &[17, 64], &[0xfd; 32], MARK].concat();
    frames.push(ipv6.build());
    frames
}

fn inner_malformed(ground: &Ground) -> Vec<Vec<u8>> {
    // Version 6, version 0, headers of 0 and 16 bytes, one longer than its packet.
    let firsts: [u8; 5] = [0x65, 0x05, 0x40, 0x44, 0x4f];
    let mut frames = with(ground, &firsts, |frame, first| {
        frame.inner[0] = first;
        frame.inner[2..4].copy_from_slice(&if first == 0x4f { [0, 59] } else { [0, 60] });
    });
    frames.extend(with(ground, &[0_u16, 1, 19], |frame, length| {
        frame.inner[2..4].copy_from_slice(&length.to_be_bytes());
    }));
    frames
}

/// The outer header says that congestion was met, and the inner one that nobody listens (RFC 6040
/// figure 4).
fn ecn(ground: &Ground) -> Vec<Vec<u8>> {
    let frames = [0, 0xb8].map(|tos| {
        let inner = Ipv4 { tos, ..ground.inner() };
        let mut frame = ground.frame(&inner);
        frame.inner = inner.udp(PORT, PORT, MARK);
        frame.outer.tos = tos | 3;
        frame.build()
    });
    frames.into()
}
