//! Packet-level debugging through aya-log.
//!
//! The production build has none of it. The debugging build (feature `log`),
//! which `tartanctl log` swaps in for as long as it runs, logs what becomes of
//! a packet where the bit of its counter is set in `LOG_MASK`.

/// Logs what becomes of `packet`, if it is asked for.
#[cfg(not(feature = "log"))]
#[inline(always)]
pub(crate) fn trace(_packet: &crate::packet::Packet, _what: tartan_common::abi::Counted) {}

#[cfg(feature = "log")]
pub(crate) use enabled::trace;

#[cfg(feature = "log")]
mod enabled {
    use aya_ebpf::btf_maps::Array;
    use aya_ebpf::macros::btf_map;
    use aya_log_ebpf::info;
    use tartan_common::abi::{COUNTER_SLOTS, Counted};
    use tartan_common::hook::ether_type;
    use tartan_common::wire::ethernet::ETHERTYPE_IPV4;
    use tartan_common::wire::{ETH_LEN, Frame, IPV4_LEN, be32};

    use crate::packet::Packet;

    /// One word per counter: zero is silent. Lines are read by `tartanctl log`, which
    /// turns the slot and the interface into names.
    #[btf_map]
    static LOG_MASK: Array<u32, { COUNTER_SLOTS as usize }> = Array::new();

    pub(crate) fn trace(packet: &Packet, what: Counted) {
        if LOG_MASK.get(what.slot()).is_none_or(|on| *on == 0) {
            return;
        }
        let (ctx, slot, ifindex) = (packet.context(), what.slot(), packet.meta().ifindex);
        let len = packet.len();
        if ether_type(packet) == ETHERTYPE_IPV4
            && let Some(b) = packet.window::<{ ETH_LEN + IPV4_LEN }>(0)
        {
            let (source, destination) = (be32(b, ETH_LEN + 12), be32(b, ETH_LEN + 16));
            let protocol = b[ETH_LEN + 9];
            info!(ctx, "{} {} {} {:i} {:i} {}", slot, ifindex, len, source, destination, protocol);
        } else {
            info!(ctx, "{} {} {}", slot, ifindex, len);
        }
    }
}
