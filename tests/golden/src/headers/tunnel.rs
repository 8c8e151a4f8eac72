//! Tunnel packets on the uplink.

use tartan_common::Mac;

use super::draft::TUNNEL;
use super::pods::{
    KINDS, cuts, destinations, flows, ip_byte, kinds, lifetimes, protocols, set_service, settings,
    sources,
};
use super::{
    Axis, Draft, Family, Flow, L4, Layer, Program, Setting, Sheet, Tunnel, Whose, axis, wrong_sums,
};
use crate::fixture::{PEER_VTEP, VTEP};
use crate::fixture6::VTEP6;

use Whose::{
    Any, FarPod, Gateway, LinkLocal, Neighbour, Node, Nowhere, Outside, Peer, Pod, Remote, Slow,
    Stranger,
};

pub(super) fn sheets() -> Vec<Sheet> {
    [ends(), outer(), vxlan(), inner(), lengths(), congestion()].into_iter().flatten().collect()
}

fn sheet(name: &'static str, mut axes: Vec<Axis>) -> Sheet {
    axes.insert(0, tunnels());
    Sheet::new(name, Program::UplinkIngress, Draft::new(Remote, Pod), axes)
}

/// A right tunnel in either family.
fn tunnels() -> Axis {
    axis(Family::BOTH, |draft, family| {
        draft.family = family;
        let station = if family == Family::V4 { VTEP } else { VTEP6 };
        draft.tunnel = Some(Tunnel {
            family,
            sender: Peer,
            receiver: Node,
            port: TUNNEL,
            options: 0,
            station,
        });
    })
}

/// One part of the tunnel.
fn part<T: Copy + 'static>(
    values: impl IntoIterator<Item = T>,
    set: impl Fn(&mut Tunnel, T) + 'static,
) -> Axis {
    axis(values, move |draft, value| {
        if let Some(tunnel) = &mut draft.tunnel {
            set(tunnel, value);
        }
    })
}

fn gso() -> Axis {
    axis([0, 1300], |draft, size| draft.gso_size = size)
}

fn ends() -> Vec<Sheet> {
    vec![
        sheet(
            "outer ends",
            vec![
                part([Peer, Stranger, Node, Remote, Any], |it, whose| it.sender = whose),
                part([Node, Peer, Stranger, Any], |it, whose| it.receiver = whose),
                part([TUNNEL, TUNNEL + 1, 4789], |it, port| it.port = port),
                kinds(KINDS),
                flows(Flow::TWO),
            ],
        ),
        sheet(
            "who is behind the tunnel",
            vec![
                settings([Setting::On, Setting::AnySource]),
                part([Peer, Stranger], |it, whose| it.sender = whose),
                sources([Remote, Peer, Nowhere, Neighbour, Outside, LinkLocal, Any, FarPod]),
                destinations([Pod, Slow, Gateway, Remote, Outside, Node]),
                kinds([L4::Tcp(2), L4::Tcp(0x10), L4::Udp(53)]),
                flows(Flow::TWO),
                gso(),
            ],
        ),
        sheet(
            "every gate behind the tunnel",
            vec![
                settings(Setting::GATES),
                destinations([Pod, Slow]),
                kinds(KINDS),
                flows(Flow::ALL),
                gso(),
                lifetimes([1, 64]),
            ],
        ),
        sheet(
            "every configuration behind the tunnel",
            vec![
                settings(Setting::ALL),
                axis([false, true], |draft, is| draft.in_vlan = is),
                kinds(KINDS),
                flows(Flow::TWO),
            ],
        ),
    ]
}

/// The outer IP header.
fn outer() -> Vec<Sheet> {
    let outer_byte = |at| axis(0..=u8::MAX, move |draft, it| draft.byte(Layer::OuterIp, at, it));
    let fragments = [0, 0x4000, 0x8000, 0x2000, 1, 0x2001, 0x1fff, 0x3fff];
    let inside = || sources([Remote, Nowhere]);
    let of_ipv4 = |name, axes| {
        let mut sheet = sheet(name, axes);
        sheet.only(Family::V4);
        sheet
    };
    vec![
        sheet("outer version and header length", vec![outer_byte(0), flows(Flow::TWO)]),
        sheet(
            "outer protocol",
            vec![
                axis(0..=u8::MAX, |draft, value| match draft.family {
                    Family::V4 => draft.byte(Layer::OuterIp, 9, value),
                    Family::V6 => draft.byte(Layer::OuterIp, 6, value),
                }),
                part([TUNNEL, TUNNEL + 1], |it, port| it.port = port),
            ],
        ),
        sheet(
            "outer options",
            vec![
                part(0..=10, |it, words| it.options = words),
                part([TUNNEL, TUNNEL + 1], |it, port| it.port = port),
                cuts(60),
            ],
        ),
        of_ipv4(
            "outer fragments",
            vec![
                axis(fragments, |draft, value| draft.word(Layer::OuterIp, 6, value)),
                cuts(90),
                part([Peer, Stranger], |it, whose| it.sender = whose),
                inside(),
            ],
        ),
        sheet(
            "outer next headers in fragments",
            vec![
                axis(0..=u8::MAX, |draft, value| {
                    draft.byte(Layer::OuterIp, 6, 44);
                    draft.byte(Layer::OuterUdp, 0, value);
                }),
                inside(),
            ],
        ),
        of_ipv4("outer header checksum", vec![wrong_sums(Layer::OuterIp), inside(), kinds(KINDS)]),
        sheet(
            "checksum of the pods' header",
            vec![wrong_sums(Layer::Ip), inside(), kinds(KINDS), flows(Flow::TWO), gso()],
        ),
        sheet(
            "outer checksum",
            vec![
                axis([0, 1, 0xff00, 0xffff], |draft, sum| draft.word(Layer::OuterUdp, 6, sum)),
                inside(),
                kinds(KINDS),
            ],
        ),
    ]
}

/// The VXLAN header and the inner Ethernet header.
fn vxlan() -> Vec<Sheet> {
    let byte = |layer, at| axis(0..=u8::MAX, move |draft, it| draft.byte(layer, at, it));
    let at = |layer, places: std::ops::Range<usize>| {
        axis(places, move |draft, at| draft.byte(layer, at, 0))
    };
    // The byte that the axis before this one chose.
    let values = || {
        axis(0..=u8::MAX, |draft, value| {
            if let Some((_, _, bytes, _)) = draft.edits.last_mut() {
                bytes[0] = value;
            }
        })
    };
    let stations = [VTEP, VTEP6, PEER_VTEP, Mac([0xff; 6]), Mac([1, 0, 0x5e, 0, 0, 1])];
    vec![
        sheet("every byte of the VXLAN header", vec![at(Layer::Vxlan, 0..8), values()]),
        sheet(
            "every byte of the inner Ethernet header",
            vec![at(Layer::InnerEth, 0..14), values()],
        ),
        sheet("VXLAN flags and network", vec![byte(Layer::Vxlan, 0), byte_pair()]),
        sheet(
            "other stations",
            vec![
                part(stations, |it, station| it.station = station),
                settings(Setting::ALL),
                kinds(KINDS),
            ],
        ),
        sheet(
            "the other family inside",
            vec![
                axis([false, true], |draft, other| {
                    if other && let Some(tunnel) = draft.tunnel {
                        draft.family = match tunnel.family {
                            Family::V4 => Family::V6,
                            Family::V6 => Family::V4,
                        };
                    }
                }),
                part(stations, |it, station| it.station = station),
                kinds(KINDS),
                cuts(110),
            ],
        ),
    ]
}

/// Bytes of the network identifier and of what is reserved behind it.
fn byte_pair() -> Axis {
    let words = [0x0000, 0x0001, 0x0100, 0x0101, 0x0200, 0xff00, 0x8100];
    axis(words, |draft, word| draft.word(Layer::Vxlan, 6, word))
}

/// The inner IP header and what it carries.
fn inner() -> Vec<Sheet> {
    vec![
        sheet("inner version and header length", vec![ip_byte(0), flows(Flow::TWO), gso()]),
        sheet("inner protocol", vec![protocols(), flows(Flow::TWO), gso()]),
        sheet("inner lifetime", vec![lifetimes(0..=255), flows(Flow::TWO)]),
        sheet(
            "inner flags of TCP",
            vec![
                settings([Setting::On, Setting::AfterAccept]),
                axis(0..=u8::MAX, |draft, flags| draft.l4 = L4::Tcp(flags)),
                flows([Flow::Unknown, Flow::Seen(3), Flow::Seen(11)]),
            ],
        ),
        sheet(
            "inner types of ICMP",
            vec![
                axis(0..=u8::MAX, |draft, kind| draft.l4 = L4::Icmp(kind)),
                flows(Flow::TWO),
                gso(),
            ],
        ),
        sheet(
            "inner fragments",
            vec![
                axis([0, 0x4000, 0x2000, 1, 0x2001], |draft, value| match draft.family {
                    Family::V4 => draft.word(Layer::Ip, 6, value),
                    Family::V6 => draft.extension = Some((44, value)),
                }),
                kinds(KINDS),
                flows(Flow::TWO),
                gso(),
            ],
        ),
    ]
}

/// Lengths that contradict each other, and frames that end anywhere.
fn lengths() -> Vec<Sheet> {
    const OFF: [i16; 7] = [-21, -8, -1, 0, 1, 8, 100];
    let changed =
        |length: usize, by: i16| u16::try_from(length).unwrap_or(u16::MAX).wrapping_add_signed(by);
    let ip = move |draft: &mut Draft, layer, at: [usize; 2], length: usize, by| match draft.family {
        Family::V4 => draft.word(layer, at[0], changed(length + 20, by)),
        Family::V6 => draft.word(layer, at[1], changed(length, by)),
    };
    // Of a TCP segment: 20 and 8 bytes; in front of it in the tunnel: UDP, VXLAN, Ethernet, IP.
    let carried = |draft: &Draft| match draft.family {
        Family::V4 => 8 + 8 + 14 + 20 + 28,
        Family::V6 => 8 + 8 + 14 + 40 + 28,
    };
    let outer = move |draft: &mut Draft, by| {
        let length = carried(draft);
        ip(draft, Layer::OuterIp, [2, 4], length, by);
    };
    let udp = move |draft: &mut Draft, by| {
        let length = carried(draft);
        draft.word(Layer::OuterUdp, 4, changed(length, by));
    };
    let inner = move |draft: &mut Draft, by| ip(draft, Layer::Ip, [2, 4], 28, by);
    vec![
        sheet(
            "lengths that contradict each other",
            vec![
                axis(OFF, outer),
                axis(OFF, udp),
                axis(OFF, inner),
                axis([0, 1, 8], |draft, bytes| draft.trailer = bytes),
                gso(),
            ],
        ),
        sheet("cut off in the tunnel", vec![cuts(140), kinds(KINDS), flows(Flow::TWO)]),
        sheet(
            "cut off in the tunnel, as the outer headers say",
            vec![
                axis(0..=120_u16, |draft, payload| {
                    draft.cut = Some(usize::from(payload));
                    draft.word(Layer::OuterUdp, 4, payload);
                    match draft.family {
                        Family::V4 => draft.word(Layer::OuterIp, 2, payload + 20),
                        Family::V6 => draft.word(Layer::OuterIp, 4, payload),
                    }
                }),
                kinds(KINDS),
            ],
        ),
    ]
}

/// Every inner type of service with each outer ECN (RFC 6040 figure 4).
fn congestion() -> Vec<Sheet> {
    let outer = |draft: &mut Draft, value| {
        set_service(draft, Layer::OuterIp, draft.family, value);
    };
    let inner = |draft: &mut Draft, value| set_service(draft, Layer::Ip, draft.family, value);
    let sheet_of = |name, target| {
        let axes = vec![
            axis([0, 1, 2, 3, 0xb8, 0xb9, 0xba, 0xbb, 0xff], outer),
            axis(0..=u8::MAX, inner),
            destinations([target]),
        ];
        sheet(name, axes)
    };
    vec![
        sheet_of("congestion told to a pod", Pod),
        sheet_of("congestion told through the stack", Slow),
    ]
}
