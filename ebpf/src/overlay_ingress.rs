//! Hook: ingress of the overlay device: the guard behind the kernel's own
//! decapsulation.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use tartan_common::hook::{self, OverlayIngress};
use tartan_common::marked::Hook;
use tartan_common::path::Path;

use crate::actions::{self, NEXT};
use crate::ipv6;
use crate::maps::Tables;
use crate::packet::meet;

/// Headers that the decision reads.
const PEEK: usize = 42;

/// A packet came up from the overlay device.
#[classifier]
pub(crate) fn overlay_ingress(ctx: TcContext) -> i32 {
    let Some((packet, config)) = meet(ctx, PEEK, Hook::OverlayIngress) else {
        return NEXT;
    };
    let meta = packet.meta();
    if let Some(code) = ipv6::overlay_ingress(&packet, config) {
        return code;
    }
    let key = actions::tunnel_key(&packet);
    match hook::overlay_ingress(&packet, &meta, key, config, &Tables) {
        OverlayIngress::Judged => NEXT,
        OverlayIngress::Drop(reason) => actions::drop(&packet, reason),
        OverlayIngress::Accept(tag) => {
            packet.set_tag(tag);
            actions::pass(&packet, Path::OverlayAccepted)
        }
    }
}
