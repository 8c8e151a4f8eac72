//! Hook: ingress of the host's end of a pod's veth. Sees what the pod sends.
//!
//! On entry the frame is as the pod's stack made it. Exits: dropped with a
//! reason; forwarded into a local pod; encapsulated or as it is and sent; or
//! passed on untouched but for its tag.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use tartan_common::hook::{self, PodEgress};
use tartan_common::marked::Hook;
use tartan_common::path::Path;

use crate::actions::{self, EncapError, NEXT};
use crate::features::{Feature, has};
use crate::ipv6;
use crate::maps::Tables;
use crate::packet::{Packet, meet};

/// Headers that the decision reads: Ethernet, IP and eight bytes of transport.
const PEEK: usize = 42;

/// A pod sent a packet.
#[classifier]
pub(crate) fn pod_egress(ctx: TcContext) -> i32 {
    let Some((packet, config)) = meet(ctx, PEEK, Hook::PodEgress) else {
        return NEXT;
    };
    let meta = packet.meta();
    let plan = hook::pod_egress(&packet, &meta, config, &Tables, |at| packet.be16_at(at));
    match plan {
        PodEgress::Foreign => ipv6::pod_egress(&packet, &meta, config),
        PodEgress::Drop(reason) => actions::drop(&packet, reason),
        PodEgress::Stack(path, tag) => to_stack(&packet, path, tag),
        PodEgress::Local(_) if !has(Feature::RedirectPeer) => {
            to_stack(&packet, Path::PodToStack, 0)
        }
        PodEgress::Local(pod) => actions::into_pod(&packet, pod, None, Path::PodLocalFast),
        PodEgress::Direct(_) if !has(Feature::RedirectNeigh) => {
            to_stack(&packet, Path::PodToStack, 0)
        }
        PodEgress::Direct(peer) => actions::onto_link(&packet, peer),
        PodEgress::Encapsulate(peer, open) => {
            match actions::encapsulate(&packet, peer, open, Path::PodRemoteFast, true) {
                Ok(()) => actions::send(peer),
                Err(EncapError::Refused) => to_stack(&packet, Path::PodToStack, 0),
                Err(EncapError::Lost) => actions::lost(),
            }
        }
    }
}

#[inline(always)]
fn to_stack(packet: &Packet, path: Path, tag: u16) -> i32 {
    packet.set_tag(tag);
    actions::pass(packet, path)
}
