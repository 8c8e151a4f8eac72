//! Hook: XDP on the node's uplink, where an operator asked for it and the driver can.
//!
//! Tunnel packets lose their outer headers before the kernel makes packets of
//! frames; `uplink_ingress` delivers them. Exits: dropped with a reason;
//! passed decapsulated; passed untouched, but for an Ethernet source that only this program writes.

use aya_ebpf::bindings::{xdp_action, xdp_md};
use aya_ebpf::helpers::{bpf_xdp_adjust_head, bpf_xdp_get_buff_len};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use tartan_common::Mac;
use tartan_common::abi::{Counted, NodeConfig};
use tartan_common::event::Event;
use tartan_common::hook::{self, UplinkXdp};
use tartan_common::wire::ethernet::{ETHERTYPE_IPV4, EthernetHeader};
use tartan_common::wire::{ETH_LEN, Frame, IPV4_LEN, TUNNEL_OVERHEAD, ipv4};

use crate::maps::{Tables, config, count};
use crate::window::{Bytes, window, window_mut};

/// A frame arrived.
#[xdp(frags)]
pub(crate) fn uplink_xdp(ctx: XdpContext) -> u32 {
    let Some(config) = config() else {
        return xdp_action::XDP_PASS;
    };
    let frame = Raw { ctx };
    match hook::uplink_xdp(&frame, frame.len(), config, &Tables) {
        UplinkXdp::Pass => xdp_action::XDP_PASS,
        UplinkXdp::Drop(reason) => {
            count(Counted::Reason(reason), frame.len());
            xdp_action::XDP_DROP
        }
        UplinkXdp::Disown => {
            count(Counted::Event(Event::XdpDisowned), 0);
            if let Some(eth) = frame.window_mut::<ETH_LEN>(0) {
                EthernetHeader { source: Mac::default(), ..EthernetHeader::parse(eth) }.write(eth);
            }
            xdp_action::XDP_PASS
        }
        UplinkXdp::Decapsulate(tos, to) => decapsulate(&frame, config, tos, to),
    }
}

#[inline(always)]
fn decapsulate(frame: &Raw, config: &NodeConfig, tos: Option<u8>, to: Mac) -> u32 {
    // SAFETY: the context is valid; pointers into the frame are fetched anew afterwards.
    if unsafe { bpf_xdp_adjust_head(frame.ctx.ctx, TUNNEL_OVERHEAD as i32) } != 0 {
        count(Counted::Event(Event::DecapRoomFailed), 0);
        return xdp_action::XDP_PASS;
    }
    let Some(head) = frame.window_mut::<{ ETH_LEN + IPV4_LEN }>(0) else {
        count(Counted::Event(Event::WindowLost), 0);
        return xdp_action::XDP_DROP;
    };
    let header =
        EthernetHeader { destination: to, source: config.vtep_mac, ethertype: ETHERTYPE_IPV4 };
    if let Some(eth) = head.first_chunk_mut::<ETH_LEN>() {
        header.write(eth);
    }
    if let Some(tos) = tos
        && let Some(ip) = head.last_chunk_mut::<IPV4_LEN>()
    {
        ipv4::set_tos(ip, tos);
    }
    count(Counted::Event(Event::XdpDecapsulated), 0);
    xdp_action::XDP_PASS
}

/// A frame as the driver got it.
struct Raw {
    ctx: XdpContext,
}

impl Raw {
    /// Length in bytes, of all of its parts.
    #[inline(always)]
    fn len(&self) -> u32 {
        // SAFETY: the context is valid.
        unsafe { bpf_xdp_get_buff_len(self.ctx.ctx) as u32 }
    }

    #[inline(always)]
    fn window_mut<const N: usize>(&self, at: usize) -> Option<&mut [u8; N]> {
        window_mut(self.bytes(), at)
    }

    #[inline(always)]
    fn bytes(&self) -> Bytes {
        // SAFETY: the context outlives the program.
        let md: &xdp_md = unsafe { &*self.ctx.ctx };
        Bytes { start: md.data as usize, end: md.data_end as usize }
    }
}

impl Frame for Raw {
    #[inline(always)]
    fn window<const N: usize>(&self, at: usize) -> Option<&[u8; N]> {
        window(self.bytes(), at)
    }
}
