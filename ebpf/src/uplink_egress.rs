//! Hook: egress of the node's uplink, where peers are reached without a
//! tunnel. Sees what the host stack sends to them, and keeps the gate honest.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use tartan_common::hook::{self, UplinkEgress};
use tartan_common::marked::Hook;
use tartan_common::path::Path;

use crate::actions::{self, NEXT};
use crate::ipv6;
use crate::maps::Tables;
use crate::packet::meet;

/// Headers that the decision reads.
const PEEK: usize = 42;

/// A frame leaves.
#[classifier]
pub(crate) fn uplink_egress(ctx: TcContext) -> i32 {
    let Some((packet, config)) = meet(ctx, PEEK, Hook::UplinkEgress) else {
        return NEXT;
    };
    let meta = packet.meta();
    match hook::uplink_egress(&packet, &meta, config, &Tables) {
        UplinkEgress::Foreign => ipv6::uplink_egress(&packet, &meta, config),
        UplinkEgress::Delivered => actions::pass(&packet, Path::StackToLink),
    }
}
