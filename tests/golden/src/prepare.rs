//! The state that a case starts from.

use tartan_common::abi::NodeConfig;
use tartan_common::flow::{Kind, Tuple, classify};
use tartan_common::wire::ipv4::Ipv4Header;
use tartan_common::wire::{Frame, INNER_AT, IP_AT, IPV4_LEN, Inner};

use crate::fixture::{Memory, NODE};
use crate::{Case, Hook};

impl Case {
    /// Makes the frame's flow direct under `config` where the case says so.
    pub fn prepare(&self, config: &NodeConfig, maps: &Memory) {
        if let Some(tuple) = self.direct_flow() {
            maps.make_direct(config, &tuple);
        }
    }

    /// The flow that is direct when the frame comes.
    #[must_use]
    pub fn direct_flow(&self) -> Option<Tuple> {
        if !self.direct {
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
}

impl Case {
    /// Whether the frame is for this node itself: nothing but the tunnel's packets is.
    fn is_tunnelled(&self) -> bool {
        let head = self.frame.window::<IPV4_LEN>(IP_AT).map(Ipv4Header::parse);
        head.is_some_and(|ip| ip.destination == NODE)
    }
}

pub(crate) fn tuple<F: Frame + ?Sized>(frame: &F) -> Option<Tuple> {
    let ip = Ipv4Header::parse(frame.window::<IPV4_LEN>(IP_AT)?);
    let segment = classify(frame, &ip);
    (segment.kind != Kind::Opaque).then_some(segment.tuple)
}
