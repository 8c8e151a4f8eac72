//! Hook: egress of the overlay device. Sees what the host stack routed to the
//! pod network: host processes, translated flows, flows that are not direct.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use tartan_common::hook::{self, OverlayEgress};
use tartan_common::marked::Hook;
use tartan_common::path::Path;

use crate::actions::{self, EncapError, NEXT};
use crate::ipv6;
use crate::maps::Tables;
use crate::packet::meet;

/// Headers that the decision reads.
const PEEK: usize = 42;

/// The host stack sent a packet to the pod network.
#[classifier]
pub(crate) fn overlay_egress(ctx: TcContext) -> i32 {
    let Some((packet, config)) = meet(ctx, PEEK, Hook::OverlayEgress) else {
        return NEXT;
    };
    let meta = packet.meta();
    match hook::overlay_egress(&packet, &meta, config, &Tables) {
        OverlayEgress::Foreign => ipv6::overlay_egress(&packet, &meta, config),
        OverlayEgress::Drop(reason) => actions::drop(&packet, reason),
        OverlayEgress::Device(peer) => actions::leave_to_device(&packet, config, peer),
        OverlayEgress::Encapsulate(peer, open) => {
            match actions::encapsulate(&packet, peer, open, Path::OverlayEncap, false) {
                Ok(()) => actions::send_routed(peer),
                Err(EncapError::Refused) => actions::leave_to_device(&packet, config, peer),
                Err(EncapError::Lost) => actions::lost(),
            }
        }
    }
}
