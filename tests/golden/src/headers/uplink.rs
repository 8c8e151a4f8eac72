//! Whatever else arrives on the uplink: packets between pods without a tunnel, and all the rest.

use tartan_common::Mac;

use super::pods::{
    KINDS, cuts, destinations, ethertypes, families, flows, ip_byte, kinds, lifetimes, protocols,
    settings, sources,
};
use super::{Axis, Draft, Flow, L4, Program, Setting, Sheet, Whose, axis};
use crate::fixture::HOST_MAC;

use Whose::{FarPod, Gateway, LinkPod, Neighbour, Node, Nowhere, Outside, Peer, Pod, Remote, Slow};

/// As it arrives: the test run's device has the address zero.
fn sheet(name: &'static str, axes: Vec<Axis>) -> Sheet {
    let mut start = Draft::new(LinkPod, Pod);
    start.station = Mac::default();
    Sheet::new(name, Program::UplinkIngress, start, axes)
}

pub(super) fn sheets() -> Vec<Sheet> {
    vec![
        sheet(
            "who comes without a tunnel",
            vec![
                settings([Setting::On, Setting::AnySource, Setting::NoTunnel]),
                families(),
                axis([Mac::default(), HOST_MAC], |draft, station| draft.station = station),
                sources([LinkPod, Remote, FarPod, Nowhere, Neighbour, Outside, Peer]),
                destinations([Pod, Slow, Gateway, Node, Outside]),
                kinds(KINDS),
                flows(Flow::TWO),
            ],
        ),
        sheet(
            "every gate without a tunnel",
            vec![
                settings(Setting::GATES),
                destinations([Pod, Slow]),
                kinds(KINDS),
                flows(Flow::ALL),
                lifetimes([0, 1, 2, 64]),
                axis([0, 1300], |draft, size| draft.gso_size = size),
            ],
        ),
        sheet("version without a tunnel", vec![families(), ip_byte(0), flows(Flow::TWO)]),
        sheet("protocol without a tunnel", vec![families(), protocols(), flows(Flow::TWO)]),
        sheet("cut off without a tunnel", vec![families(), cuts(60), kinds(KINDS)]),
        sheet(
            "EtherTypes arrive",
            vec![
                families(),
                ethertypes(),
                axis([false, true], |draft, is| draft.in_vlan = is),
                destinations([Pod, Node]),
            ],
        ),
        sheet(
            "other flags of TCP without a tunnel",
            vec![
                axis(0..=u8::MAX, |draft, flags| draft.l4 = L4::Tcp(flags)),
                flows([Flow::Unknown, Flow::Seen(3), Flow::Seen(11)]),
            ],
        ),
    ]
}
