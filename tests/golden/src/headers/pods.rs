//! What pods send, and what the stack delivers to them.

use super::draft::TUNNEL;
use super::{
    Axis, Draft, Family, Flow, L4, Layer, Program, Setting, Sheet, Tag, Whose, axis, wrong_sums,
};

/// One of each kind that the decisions tell apart, in the family of the draft.
pub(super) const KINDS: [L4; 9] = [
    L4::Tcp(0x02),
    L4::Tcp(0x12),
    L4::Tcp(0x10),
    L4::Tcp(0x11),
    L4::Tcp(0x04),
    L4::Udp(53),
    L4::Udp(TUNNEL),
    L4::Icmp(8),
    L4::Other(132),
];

pub(super) fn families() -> Axis {
    axis(Family::BOTH, |draft, family| draft.family = family)
}

pub(super) fn sources(values: impl IntoIterator<Item = Whose>) -> Axis {
    axis(values, |draft, whose| draft.source = whose)
}

pub(super) fn destinations(values: impl IntoIterator<Item = Whose>) -> Axis {
    axis(values, |draft, whose| draft.destination = whose)
}

pub(super) fn kinds(values: impl IntoIterator<Item = L4>) -> Axis {
    axis(values, |draft, l4| {
        // Echo request, in either family.
        let is_echo = l4 == L4::Icmp(8) && draft.family == Family::V6;
        draft.l4 = if is_echo { L4::Icmp(128) } else { l4 };
    })
}

pub(super) fn flows(values: impl IntoIterator<Item = Flow>) -> Axis {
    axis(values, |draft, flow| draft.flow = flow)
}

pub(super) fn settings(values: impl IntoIterator<Item = Setting>) -> Axis {
    axis(values, |draft, setting| draft.setting = setting)
}

pub(super) fn tags() -> Axis {
    axis(Tag::ALL, |draft, tag| draft.tag = tag)
}

/// Every value of a byte of the packet's IP header.
pub(super) fn ip_byte(at: usize) -> Axis {
    axis(0..=u8::MAX, move |draft, value| draft.byte(Layer::Ip, at, value))
}

/// Every TTL and every hop limit.
pub(super) fn lifetimes(values: impl IntoIterator<Item = u8>) -> Axis {
    axis(values, |draft, value| match draft.family {
        Family::V4 => draft.byte(Layer::Ip, 8, value),
        Family::V6 => draft.byte(Layer::Ip, 7, value),
    })
}

/// Every TOS and every traffic class.
pub(super) fn services(layer: Layer) -> Axis {
    axis(0..=u8::MAX, move |draft, value| set_service(draft, layer, draft.family, value))
}

/// Writes the TOS or the traffic class of an IP header.
pub(super) fn set_service(draft: &mut Draft, layer: Layer, family: Family, value: u8) {
    match family {
        Family::V4 => draft.byte(layer, 1, value),
        Family::V6 => draft.word(layer, 0, 0x6000 | u16::from(value) << 4),
    }
}

/// Every protocol and every next header.
pub(super) fn protocols() -> Axis {
    axis(0..=u8::MAX, |draft, value| match draft.family {
        Family::V4 => draft.byte(Layer::Ip, 9, value),
        Family::V6 => draft.byte(Layer::Ip, 6, value),
    })
}

/// Frames that end after each byte behind the first IP header.
pub(super) fn cuts(bytes: usize) -> Axis {
    axis(0..=bytes, |draft, cut| draft.cut = Some(cut))
}

/// EtherTypes that the decisions or the kernel know, their neighbours, and every single-bit fault
/// of the right one.
pub(super) fn ethertypes() -> Axis {
    const KNOWN: [u16; 11] =
        [0x0800, 0x86dd, 0x0806, 0x8100, 0x88a8, 0x9100, 0x8847, 0x88cc, 0x0000, 0xffff, 0x0600];
    let faults = (0..16).flat_map(|bit| [0x0800 ^ 1 << bit, 0x86dd ^ 1 << bit]);
    axis(KNOWN.into_iter().chain(faults), |draft, value| draft.word(Layer::Frame, 12, value))
}

fn gso(values: impl IntoIterator<Item = u32>) -> Axis {
    axis(values, |draft, size| draft.gso_size = size)
}

/// Every extension header, whole, a first and a later fragment; options in IPv4.
fn extensions() -> Axis {
    const KINDS: [u8; 8] = [0, 43, 44, 51, 60, 135, 139, 253];
    const WORDS: [u16; 4] = [0x0104, 0x0001, 0x0050, 0x0051];
    let values = KINDS.into_iter().flat_map(|kind| WORDS.map(|word| (kind, word)));
    axis(values, |draft, (kind, word)| {
        draft.extension = Some((kind, word));
        draft.options = usize::from(kind % 11);
    })
}

const TARGETS: [Whose; 4] = [Whose::Neighbour, Whose::Remote, Whose::LinkPod, Whose::Slow];

pub(super) fn sheets() -> Vec<Sheet> {
    [sends(), faults(), sizes(), delivered()].into_iter().flatten().collect()
}

fn sheet(name: &'static str, axes: impl Into<Vec<Axis>>) -> Sheet {
    Sheet::new(name, Program::PodEgress, Draft::new(Whose::Pod, Whose::Remote), axes)
}

fn sends() -> Vec<Sheet> {
    use Whose::{
        Any, Elsewhere, FarPod, Gateway, Group, LinkLocal, LinkPod, Neighbour, Node, Nowhere,
        Outside, Peer, Pod, Remote, RemoteVtep, Slow, Stranger,
    };
    let from = [Pod, Neighbour, Slow, Elsewhere, Remote, Node, Outside, LinkLocal, Any];
    let to = [
        Neighbour, Slow, Gateway, Remote, LinkPod, FarPod, RemoteVtep, Node, Peer, Stranger,
        Nowhere, Outside, LinkLocal, Group,
    ];
    let discovery = [130, 133, 134, 135, 136, 137, 143].map(L4::Icmp);
    let kinds_and_discovery = || kinds(KINDS.into_iter().chain(discovery));
    vec![
        sheet(
            "who sends to whom",
            [families(), sources(from), destinations(to), kinds_and_discovery(), flows(Flow::TWO)],
        ),
        sheet(
            "every gate and every flow",
            [
                settings(Setting::GATES),
                families(),
                destinations(TARGETS),
                kinds(KINDS),
                flows(Flow::ALL),
                gso([0, 1300]),
            ],
        ),
        sheet(
            "every configuration",
            [
                settings(Setting::ALL),
                families(),
                sources([Pod, Node, LinkLocal]),
                destinations(to),
                kinds_and_discovery(),
            ],
        ),
        sheet(
            "beside a VLAN tag",
            [
                families(),
                axis([false, true], |draft, is| draft.in_vlan = is),
                destinations(to),
                kinds(KINDS),
                flows(Flow::ALL),
            ],
        ),
    ]
}

/// Every value of the fields that decide, one or two at a time.
fn faults() -> Vec<Sheet> {
    let to = || destinations([Whose::Neighbour, Whose::Remote, Whose::Peer]);
    let some = || kinds([L4::Tcp(0x02), L4::Udp(TUNNEL)]);
    let fragments = [0, 0x4000, 0x8000, 0x2000, 1, 0x2001, 0x1fff, 0x3fff];
    vec![
        sheet(
            "version and header length",
            [families(), ip_byte(0), to(), some(), flows(Flow::TWO)],
        ),
        sheet("header checksum", [wrong_sums(Layer::Ip), to(), kinds(KINDS), flows(Flow::TWO)]),
        sheet("protocol", [families(), protocols(), to(), flows(Flow::TWO)]),
        sheet("lifetime", [families(), lifetimes(0..=255), to(), flows(Flow::TWO)]),
        sheet("type of service", [families(), services(Layer::Ip), to()]),
        sheet(
            "fragments and options of IPv4",
            [
                axis(fragments, |draft, value| draft.word(Layer::Ip, 6, value)),
                axis(0..=10, |draft, words| draft.options = words),
                to(),
                kinds(KINDS),
                flows(Flow::TWO),
            ],
        ),
        sheet(
            "extension headers",
            [
                families(),
                extensions(),
                sources([Whose::Pod, Whose::LinkLocal]),
                destinations([Whose::Remote, Whose::Peer, Whose::Group]),
                kinds([L4::Tcp(2), L4::Udp(TUNNEL), L4::Icmp(143), L4::Icmp(134), L4::Other(60)]),
            ],
        ),
        sheet(
            "every flag of TCP",
            [
                settings([Setting::On, Setting::AfterAccept]),
                families(),
                axis(0..=u8::MAX, |draft, flags| draft.l4 = L4::Tcp(flags)),
                destinations([Whose::Neighbour, Whose::Remote]),
                flows([Flow::Unknown, Flow::Seen(3), Flow::Seen(11)]),
            ],
        ),
        sheet(
            "every type of ICMP",
            [
                families(),
                axis(0..=u8::MAX, |draft, kind| draft.l4 = L4::Icmp(kind)),
                to(),
                flows(Flow::TWO),
            ],
        ),
        sheet(
            "what an ICMP error quotes",
            [
                axis([Family::V4, Family::V6], |draft, family| {
                    (draft.family, draft.l4) = match family {
                        Family::V4 => (family, L4::Icmp(3)),
                        Family::V6 => (family, L4::Icmp(1)),
                    };
                }),
                axis([0, 1, 2, 3, 6, 7, 9, 20, 23], |draft, at| draft.byte(Layer::L4, 8 + at, 0)),
                axis(0..=u8::MAX, |draft, value| {
                    if let Some((_, _, bytes, _)) = draft.edits.last_mut() {
                        bytes[0] = value;
                    }
                }),
                flows(Flow::TWO),
            ],
        ),
        sheet("EtherTypes", [families(), ethertypes(), to(), flows(Flow::TWO)]),
    ]
}

/// Where packets end, and how large they may be.
fn sizes() -> Vec<Sheet> {
    // Just below and just above what fits, in either family and by either kind of packet.
    let payloads = (1390..=1432).chain([0, 1, 1480, 2000, 3000]);
    let pieces = [0, 1, 1369, 1370, 1371, 1389, 1390, 1391, 1409, 1410, 1411, 1421, 1422, 1423];
    vec![
        sheet(
            "cut off",
            [families(), cuts(60), destinations(TARGETS), kinds(KINDS), flows(Flow::TWO)],
        ),
        sheet(
            "too big or not",
            [
                families(),
                axis(payloads, |draft, bytes| draft.payload = bytes),
                gso(pieces),
                destinations([Whose::Neighbour, Whose::Remote, Whose::LinkPod]),
                kinds([L4::Tcp(0x02), L4::Udp(53)]),
                flows(Flow::TWO),
            ],
        ),
        sheet(
            "TCP headers of any length, in pieces",
            [
                families(),
                axis(0..16_u8, |draft, words| draft.byte(Layer::L4, 12, words << 4)),
                gso(pieces),
                destinations([Whose::Remote, Whose::LinkPod]),
            ],
        ),
    ]
}

fn delivered() -> Vec<Sheet> {
    use Whose::{Neighbour, Outside, Pod, Remote};
    let start = || Draft::new(Remote, Pod);
    let sheet = |name, axes: Vec<Axis>| Sheet::new(name, Program::PodIngress, start(), axes);
    vec![
        sheet(
            "the stack delivers to a pod",
            vec![
                settings(Setting::GATES),
                families(),
                sources([Remote, Neighbour, Outside]),
                kinds(KINDS),
                flows(Flow::ALL),
                tags(),
            ],
        ),
        sheet(
            "the stack delivers something odd",
            vec![families(), ip_byte(0), flows(Flow::TWO), tags()],
        ),
        sheet(
            "the stack delivers something short",
            vec![families(), cuts(30), kinds(KINDS), flows(Flow::TWO)],
        ),
    ]
}
