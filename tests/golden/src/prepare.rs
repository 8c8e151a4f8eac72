//! The state that a case starts from.

use tartan_common::NetAddr6;
use tartan_common::abi::NodeConfig;
use tartan_common::flow::{Kind, Tuple, classify};
use tartan_common::hook::ether_type;
use tartan_common::wire::ethernet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6};
use tartan_common::wire::ipv4::Ipv4Header;
use tartan_common::wire::ipv6::Ipv6Header;
use tartan_common::wire::{Frame, Header, INNER_AT, INNER_AT6, IP_AT, Inner};

use crate::fixture::{Memory, NODE};
use crate::{Case, Hook, fixture6};

impl Case {
    /// Makes the frame's flow direct under `config` where the case says so.
    pub fn prepare(&self, config: &NodeConfig, maps: &Memory) {
        if let Some(tuple) = self.direct_flow() {
            maps.make_direct(config, &tuple);
        }
        if let Some(tuple) = self.direct_flow6() {
            maps.make_direct6(config, &tuple);
        }
    }

    /// The flow that is direct when the frame comes.
    #[must_use]
    pub fn direct_flow(&self) -> Option<Tuple> {
        if !self.direct || ether_type(&self.frame[..]) != ETHERTYPE_IPV4 {
            return None;
        }
        match self.hook {
            Hook::UplinkIngress if self.is_tunnelled() => {
                tuple(&Inner::new(&self.frame[..], INNER_AT))
            }
            Hook::UplinkIngress
            | Hook::PodEgress
            | Hook::PodIngress
            | Hook::OverlayEgress
            | Hook::UplinkEgress => tuple(&self.frame[..]),
        }
    }

    /// The same of an IPv6 frame.
    #[must_use]
    pub fn direct_flow6(&self) -> Option<Tuple<NetAddr6>> {
        if !self.direct || ether_type(&self.frame[..]) != ETHERTYPE_IPV6 {
            return None;
        }
        match self.hook {
            Hook::UplinkIngress if self.is_tunnelled6() => {
                tuple_of::<_, Ipv6Header>(&Inner::new(&self.frame[..], INNER_AT6))
            }
            Hook::UplinkIngress
            | Hook::PodEgress
            | Hook::PodIngress
            | Hook::OverlayEgress
            | Hook::UplinkEgress => tuple_of::<_, Ipv6Header>(&self.frame[..]),
        }
    }
}

impl Case {
    /// Whether the frame is for this node itself: nothing but the tunnel's packets is.
    fn is_tunnelled(&self) -> bool {
        let head = Ipv4Header::read(&self.frame[..], IP_AT);
        head.is_some_and(|ip| ip.destination == NODE)
    }

    fn is_tunnelled6(&self) -> bool {
        let head = Ipv6Header::read(&self.frame[..], IP_AT);
        head.is_some_and(|ip| ip.destination == fixture6::NODE)
    }
}

pub(crate) fn tuple<F: Frame + ?Sized>(frame: &F) -> Option<Tuple> {
    tuple_of::<F, Ipv4Header>(frame)
}

pub(crate) fn tuple_of<F: Frame + ?Sized, H: Header>(frame: &F) -> Option<Tuple<H::Addr>> {
    let segment = classify(frame, &H::read(frame, IP_AT)?);
    (segment.kind != Kind::Opaque).then_some(segment.tuple)
}
