//! Hook: egress of the host's end of a pod's veth. Sees only what the host
//! stack delivers, and keeps the gate honest.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use tartan_common::hook;
use tartan_common::marked::Hook;
use tartan_common::path::Path;

use crate::actions::{self, NEXT};
use crate::ipv6;
use crate::maps::Tables;
use crate::packet::meet;

/// Headers that the decision reads.
const PEEK: usize = 42;

/// The host stack delivers a packet to a pod.
#[classifier]
pub(crate) fn pod_ingress(ctx: TcContext) -> i32 {
    let Some((packet, config)) = meet(ctx, PEEK, Hook::PodIngress) else {
        return NEXT;
    };
    let meta = packet.meta();
    hook::pod_ingress(&packet, &meta, config, &Tables);
    ipv6::pod_ingress(&packet, &meta, config);
    actions::pass(&packet, Path::PodDelivered)
}
