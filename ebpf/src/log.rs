//! Packet-level debugging through aya-log.
//!
//! The production build has none of it. The debugging build (feature `log`), which `tartanctl
//! log` and `tartanctl trace` swap in for as long as they run, logs what becomes of a packet
//! where the bit of its counter is set in `LOG_MASK`; and every hook that the packet named in
//! `TRACED` meets, with what becomes of it there.

#[cfg(not(feature = "log"))]
pub(crate) use disabled::{Followed, met, trace};
#[cfg(feature = "log")]
pub(crate) use enabled::{Followed, met, trace};

#[cfg(not(feature = "log"))]
mod disabled {
    use tartan_common::abi::Counted;
    use tartan_common::marked::Hook;

    use crate::packet::Packet;

    /// Whether a packet is the traced one: not known here.
    pub(crate) type Followed = ();

    /// Logs that `packet` met the program at `hook`, if it is the traced one.
    #[inline(always)]
    pub(crate) fn met(_packet: &Packet, _hook: Hook) -> Followed {}

    /// Logs what becomes of `packet`, if it is asked for.
    #[inline(always)]
    pub(crate) fn trace(_packet: &Packet, _what: Counted) {}
}

#[cfg(feature = "log")]
mod enabled {
    use aya_ebpf::btf_maps::Array;
    use aya_ebpf::helpers::bpf_ktime_get_ns;
    use aya_ebpf::macros::btf_map;
    use aya_log_ebpf::info;
    use tartan_common::abi::{COUNTER_SLOTS, Counted};
    use tartan_common::marked::{self, Hook, Traced, Trail};

    use crate::packet::Packet;

    /// Whether a packet is the traced one.
    pub(crate) type Followed = bool;

    /// One word per counter: zero is silent. Lines are read by `tartanctl log`, which
    /// turns the slot and the interface into names.
    #[btf_map]
    static LOG_MASK: Array<u32, { COUNTER_SLOTS as usize }> = Array::new();
    /// The packet that `tartanctl trace` follows.
    #[btf_map]
    static TRACED: Array<Traced, 1> = Array::new();

    pub(crate) fn met(packet: &Packet, hook: Hook) -> Followed {
        let Some(wanted) = TRACED.get(0).filter(|wanted| wanted.is_on()) else {
            return false;
        };
        let Some(trail) = marked::find(packet, wanted) else {
            return false;
        };
        tell_meeting(packet, u32::from(hook.number()), trail);
        true
    }

    pub(crate) fn trace(packet: &Packet, what: Counted) {
        let slot = what.slot();
        if packet.followed || LOG_MASK.get(slot).is_some_and(|on| *on != 0) {
            tell(packet, slot);
        }
    }

    // What tells has a frame of its own: programs and this together have 512 bytes.

    #[inline(never)]
    fn tell_meeting(packet: &Packet, hook: u32, trail: Trail) {
        let (ctx, meta) = (packet.context(), packet.meta());
        // SAFETY: a plain helper.
        let now = unsafe { bpf_ktime_get_ns() };
        let (ttl, tunnelled) = (trail.ttl, u8::from(trail.tunnelled));
        info!(ctx, "@ {} {} {} {} {}", hook, now, meta.ifindex, ttl, tunnelled);
    }

    #[inline(never)]
    fn tell(packet: &Packet, slot: u32) {
        let (ctx, ifindex, len) = (packet.context(), packet.meta().ifindex, packet.len());
        if let Some((from, to, protocol)) = marked::ends(packet) {
            info!(ctx, "{} {} {} {:i} {:i} {}", slot, ifindex, len, from, to, protocol);
        } else {
            info!(ctx, "{} {} {}", slot, ifindex, len);
        }
    }
}
