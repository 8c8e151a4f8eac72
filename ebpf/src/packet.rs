//! The packet as the programs see it: the only place that touches its bytes.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::bpf_skb_load_bytes;
use aya_ebpf::programs::TcContext;
use tartan_common::abi::{Counted, NodeConfig};
use tartan_common::event::Event;
use tartan_common::hook::Meta;
use tartan_common::marked::Hook;
use tartan_common::wire::Frame;

use crate::log::{self, Followed};
use crate::maps::{config, count};
use crate::window::{Bytes, window, window_mut};

/// A frame addressed to this station (`include/uapi/linux/if_packet.h`).
const PACKET_HOST: u32 = 0;

/// A packet at a tc hook.
pub(crate) struct Packet {
    ctx: TcContext,
    /// Whether this is the packet that is traced.
    pub(crate) followed: Followed,
}

/// A packet at a hook, its first `peek` bytes readable (or all, if it is
/// shorter), and the node's configuration. `None` leaves the packet to the
/// host stack, and an event says why. `hook` is what a trace calls the program.
#[inline(always)]
pub(crate) fn meet(
    ctx: TcContext,
    peek: usize,
    hook: Hook,
) -> Option<(Packet, &'static NodeConfig)> {
    let mut packet = Packet { ctx, followed: Followed::default() };
    let Some(config) = config() else {
        count(Counted::Event(Event::NotConfigured), 0);
        return None;
    };
    if !packet.reach(peek) {
        count(Counted::Event(Event::PullFailed), 0);
        return None;
    }
    packet.followed = log::met(&packet, hook);
    Some((packet, config))
}

/// Enough for the outer headers, the inner ones, and a packet quoted by ICMP, in IPv6.
const HEADERS: u32 = 192;

impl Packet {
    /// The kernel's packet, for helpers.
    #[inline(always)]
    pub(crate) fn skb(&self) -> *mut __sk_buff {
        self.ctx.skb.skb
    }

    /// The context, for logging.
    #[cfg(feature = "log")]
    pub(crate) fn context(&self) -> &TcContext {
        &self.ctx
    }

    /// Length of the frame in bytes.
    #[inline(always)]
    pub(crate) fn len(&self) -> u32 {
        // SAFETY: the context outlives the program.
        unsafe { (*self.skb()).len }
    }

    /// What the decision functions want to know besides the bytes.
    #[inline(always)]
    pub(crate) fn meta(&self) -> Meta {
        // SAFETY: the context outlives the program.
        let skb = unsafe { &*self.skb() };
        Meta {
            len: skb.len,
            gso_size: skb.gso_size,
            ifindex: skb.ifindex,
            // The kernel's field has sixteen bits.
            tag: skb.tc_index as u16,
            in_vlan: skb.vlan_present != 0,
            for_us: skb.pkt_type == PACKET_HOST,
        }
    }

    /// Leaves `tag` for the delivery hooks.
    #[inline(always)]
    pub(crate) fn set_tag(&self, tag: u16) {
        // SAFETY: the context outlives the program; tc programs may write tc_index.
        unsafe { (*self.skb()).tc_index = u32::from(tag) };
    }

    /// Makes sure that `bytes` of the frame, or all of it, can be read directly.
    #[inline(always)]
    pub(crate) fn reach(&self, bytes: usize) -> bool {
        self.has_linear(bytes) || self.pull_headers()
    }

    /// Whether `bytes` of the frame, or all of it, can be read directly.
    #[inline(always)]
    fn has_linear(&self, bytes: usize) -> bool {
        let Bytes { start, end } = self.bounds();
        start + bytes <= end
    }

    /// Makes the headers readable where a driver left them in pages.
    #[inline(always)]
    fn pull_headers(&self) -> bool {
        let len = self.len();
        let wanted = if len < HEADERS { len } else { HEADERS };
        // SAFETY: the context is valid; pointers into the packet are fetched anew afterwards.
        unsafe { aya_ebpf::helpers::bpf_skb_pull_data(self.skb(), wanted) == 0 }
    }

    /// A window that can be written.
    ///
    /// The caller holds no other window: nothing else aliases these bytes.
    #[inline(always)]
    pub(crate) fn window_mut<const N: usize>(&self, at: usize) -> Option<&mut [u8; N]> {
        window_mut(self.bounds(), at)
    }

    /// The 16 bits at an offset that the verifier cannot know.
    #[inline(always)]
    pub(crate) fn be16_at(&self, at: usize) -> Option<u16> {
        let mut bytes = [0_u8; 2];
        // SAFETY: the helper checks the offset and writes exactly two bytes.
        let failed = unsafe {
            bpf_skb_load_bytes(self.skb().cast(), at as u32, bytes.as_mut_ptr().cast(), 2)
        };
        (failed == 0).then(|| u16::from_be_bytes(bytes))
    }

    #[inline(always)]
    fn bounds(&self) -> Bytes {
        // SAFETY: the context outlives the program.
        let skb = unsafe { &*self.skb() };
        Bytes { start: skb.data as usize, end: skb.data_end as usize }
    }
}

impl Frame for Packet {
    #[inline(always)]
    fn window<const N: usize>(&self, at: usize) -> Option<&[u8; N]> {
        window(self.bounds(), at)
    }
}
