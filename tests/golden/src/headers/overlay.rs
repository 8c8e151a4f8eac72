//! What the stack routes to peers, through the overlay device or onto the link, and what the
//! kernel decapsulated.

use tartan_common::Mac;

use super::pods::{
    KINDS, cuts, destinations, ethertypes, families, flows, ip_byte, kinds, services, settings,
    sources, tags,
};
use super::{Axis, Draft, Family, Flow, L4, Layer, Program, Setting, Sheet, Tag, Whose, axis};
use crate::fixture::{PEER_VTEP, VTEP};
use crate::fixture6::VTEP6;

pub(super) fn sheets() -> Vec<Sheet> {
    [routed(), onto_links(), guarded()].into_iter().flatten().collect()
}

fn routed() -> Vec<Sheet> {
    use Whose::{FarPod, Group, LinkPod, Node, Nowhere, Outside, Pod, Remote};
    let start = || Draft::new(Pod, Remote);
    let sheet = |name, axes: Vec<Axis>| Sheet::new(name, Program::OverlayEgress, start(), axes);
    let to = || destinations([Remote, FarPod, LinkPod, Nowhere, Outside, Group]);
    vec![
        sheet(
            "the stack routes to peers",
            vec![
                settings([Setting::On, Setting::AfterAccept, Setting::RunOut]),
                families(),
                sources([Pod, Node]),
                destinations([Remote, FarPod, Nowhere]),
                kinds(KINDS),
                flows(Flow::ALL),
                tags(),
            ],
        ),
        sheet(
            "every configuration routes",
            vec![settings(Setting::ALL), families(), to(), kinds(KINDS), tags()],
        ),
        sheet("routed type of service", vec![families(), services(Layer::Ip), to()]),
        sheet("routed version and header length", vec![families(), ip_byte(0), to(), tags()]),
        sheet("routed and cut off", vec![families(), cuts(40), kinds(KINDS), flows(Flow::TWO)]),
        sheet("routed EtherTypes", vec![families(), ethertypes(), to()]),
        sheet(
            "routed sizes",
            vec![
                families(),
                axis((1380..=1500).chain([2000, 3000]), |draft, bytes| draft.payload = bytes),
                axis([0, 1300, 1500], |draft, size| draft.gso_size = size),
                to(),
            ],
        ),
    ]
}

fn onto_links() -> Vec<Sheet> {
    use Whose::{FarPod, LinkPod, Neighbour, Node, Outside, Peer, Pod, Remote};
    let start = || Draft::new(Pod, LinkPod);
    let sheet = |name, axes: Vec<Axis>| Sheet::new(name, Program::UplinkEgress, start(), axes);
    vec![
        sheet(
            "the stack sends onto the link",
            vec![
                settings([Setting::On, Setting::AfterAccept, Setting::NoTunnel]),
                destinations([LinkPod, FarPod, Remote, Neighbour, Outside, Peer]),
                kinds(KINDS),
                flows(Flow::ALL),
                tags(),
            ],
        ),
        sheet(
            "anything leaves by the uplink",
            vec![families(), ip_byte(0), sources([Pod, Node]), destinations([LinkPod, Outside])],
        ),
        sheet("EtherTypes leave", vec![families(), ethertypes(), flows(Flow::TWO)]),
    ]
}

/// The guard: each part of a tunnel key and of the inner headers, right and wrong.
fn guarded() -> Vec<Sheet> {
    use Whose::{
        Any, Gateway, LinkLocal, Neighbour, Node, Nowhere, Outside, Peer, Pod, Remote, Stranger,
    };
    let start = || {
        let mut draft = Draft::new(Remote, Pod);
        draft.station = VTEP;
        draft.key = Some((Family::V4, Peer, Node, 1));
        draft
    };
    let sheet = |name, axes: Vec<Axis>| Sheet::new(name, Program::OverlayIngress, start(), axes);
    let right = || {
        axis(Family::BOTH, |draft, family| {
            draft.family = family;
            draft.key = Some((family, Peer, Node, 1));
            draft.station = if family == Family::V4 { VTEP } else { VTEP6 };
        })
    };
    let keys = [None, Some(Family::V4), Some(Family::V6)];
    let stations = [VTEP, VTEP6, PEER_VTEP, Mac([0xff; 6]), Mac([1, 0, 0x5e, 0, 0, 1])];
    vec![
        sheet(
            "every part of a tunnel key",
            vec![
                families(),
                axis(keys, |draft, family| draft.key = family.map(|it| (it, Peer, Node, 1))),
                axis([Peer, Stranger, Node], |draft, sender| {
                    draft.key = draft.key.map(|(family, _, to, vni)| (family, sender, to, vni));
                }),
                axis([Node, Peer, Outside], |draft, receiver| {
                    draft.key =
                        draft.key.map(|(family, from, _, vni)| (family, from, receiver, vni));
                }),
                axis([1, 2, 0, 0x00ff_ffff], |draft, vni| {
                    draft.key = draft.key.map(|(family, from, to, _)| (family, from, to, vni));
                }),
                axis(stations, |draft, station| draft.station = station),
                axis([Tag::Absent, Tag::Own, Tag::Accepted], |draft, tag| draft.tag = tag),
            ],
        ),
        sheet(
            "every inner end behind the device",
            vec![
                settings([Setting::On, Setting::AnySource, Setting::NoIpv6]),
                right(),
                sources([Remote, Peer, Nowhere, Neighbour, Outside, LinkLocal, Any]),
                destinations([Pod, Gateway, Remote, Outside, Node]),
                kinds(KINDS),
            ],
        ),
        sheet(
            "every gate behind the device",
            vec![settings(Setting::GATES), right(), kinds(KINDS), flows(Flow::ALL), tags()],
        ),
        sheet("version behind the device", vec![right(), ip_byte(0), flows(Flow::TWO)]),
        sheet(
            "cut off behind the device",
            vec![right(), cuts(30), kinds([L4::Tcp(2), L4::Udp(9)])],
        ),
        sheet("EtherTypes behind the device", vec![right(), ethertypes(), tags()]),
        sheet("type of service behind the device", vec![right(), services(Layer::Ip)]),
    ]
}
