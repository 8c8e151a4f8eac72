//! Encapsulation: VXLAN over UDP over IPv4 (RFC 7348 section 5), byte for
//! byte what the kernel's device writes as flannel configures it, but for the
//! UDP checksum, which is zero (RFC 7348 section 4.1 lets it; RFC 768).

use crate::abi::{NodeConfig, Peer};
use crate::wire::{
    IP_AT, IPV4_LEN, L4_AT, OUTER_LEN, TUNNEL_OVERHEAD, UDP_LEN, checksum, ecn, size,
};

/// The fields of the outer headers that differ from packet to packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// Outer IP total length.
    pub total_length: u16,
    /// Outer TOS: DSCP 0 and the ECN of RFC 6040.
    pub tos: u8,
    /// Outer UDP source port.
    pub source_port: u16,
}

/// Whether a packet fits into the tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It does.
    Fits,
    /// The host stack has to fragment it, or to answer that it must be.
    TooBig,
}

/// Whether an inner packet of `inner_len` bytes fits `mtu`.
///
/// Of a GSO packet every piece must fit: `gso_size` bytes behind
/// `headers_len` bytes of headers.
#[inline(always)]
#[must_use]
pub const fn fits(inner_len: u32, gso_size: u32, headers_len: u32, mtu: u32) -> Fit {
    const MOST: u32 = u16::MAX as u32 - size(TUNNEL_OVERHEAD);
    let piece = if gso_size == 0 { inner_len } else { headers_len.saturating_add(gso_size) };
    if piece <= mtu && inner_len <= MOST { Fit::Fits } else { Fit::TooBig }
}

/// The outer UDP source port for a flow's hash: the kernel's formula
/// (`udp_flow_src_port` in `include/net/udp.h`) over the configured range.
#[inline(always)]
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "a range of ports ends at 65535")]
pub const fn source_port(config: &NodeConfig, hash: u32) -> u16 {
    let mixed = hash ^ (hash << 16);
    let offset = (mixed as u64 * config.port_span as u64) >> 32;
    (config.port_low as u64 + offset) as u16
}

/// The open fields for an inner packet of `inner_len` bytes; `None` when it
/// cannot be expressed in 16 bits, which [`fits`] excludes.
#[inline(always)]
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "the length was compared with 16 bits before")]
pub const fn open_fields(
    config: &NodeConfig,
    inner_len: u32,
    inner_tos: u8,
    hash: u32,
) -> Option<Open> {
    let total = inner_len + size(TUNNEL_OVERHEAD);
    if total > u16::MAX as u32 {
        return None;
    }
    Some(Open {
        total_length: total as u16,
        tos: ecn::encapsulated(inner_tos),
        source_port: source_port(config, hash),
    })
}

/// Writes everything before the inner IP header.
///
/// `identification` needs to differ only between packets that may be in
/// flight, fragmented, at the same time (RFC 6864 section 4).
///
/// Eight bytes at a time: written field by field, the BPF back end stores each
/// byte of the template by itself.
#[inline(always)]
pub fn write_outer(frame: &mut [u8; OUTER_LEN], peer: &Peer, open: Open, identification: u16) {
    let Open { total_length, tos, source_port } = open;
    let sum = peer.ip_sum + u32::from(total_length) + u32::from(identification) + u32::from(tos);
    let udp_length = total_length.wrapping_sub(IPV4_HEADER);
    let (words, _) = peer.template.as_chunks::<8>();
    let (out, _) = frame.as_chunks_mut::<8>();
    let (&[w0, w1, w2, w3, w4, w5, w6, w7], [o0, o1, o2, o3, o4, o5, o6, o7]) = (words, out) else {
        return;
    };
    *o0 = w0;
    *o1 = with(w1, IP_AT + 1 - 8, u64::from(tos));
    let lengths = with(w2, IP_AT + 2 - 16, be(total_length));
    *o2 = with(lengths, IP_AT + 4 - 16, be(identification));
    *o3 = with(w3, IP_AT + 10 - 24, be(!checksum::fold(sum)));
    let ports = with(w4, L4_AT - 32, be(source_port));
    *o4 = with(ports, L4_AT + UDP_LEN / 2 - 32, be(udp_length));
    *o5 = w5;
    *o6 = w6;
    *o7 = w7;
}

/// The word with `value` in its open bytes, which are zero, from `at` on.
#[inline(always)]
const fn with(word: [u8; 8], at: usize, value: u64) -> [u8; 8] {
    (u64::from_le_bytes(word) | (value << (at * 8))).to_le_bytes()
}

/// A field as it stands in a little-endian word.
#[inline(always)]
const fn be(field: u16) -> u64 {
    u16::from_le_bytes(field.to_be_bytes()) as u64
}

/// [`IPV4_LEN`] as the header counts it.
#[expect(clippy::cast_possible_truncation, reason = "it is twenty")]
const IPV4_HEADER: u16 = IPV4_LEN as u16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_of_a_gso_packet_must_fit() {
        assert_eq!(fits(1450, 0, 40, 1450), Fit::Fits);
        assert_eq!(fits(1451, 0, 40, 1450), Fit::TooBig);
        assert_eq!(fits(64_000, 1398, 52, 1450), Fit::Fits);
        assert_eq!(fits(64_000, 1399, 52, 1450), Fit::TooBig);
        assert_eq!(fits(65_486, 1398, 52, 1450), Fit::TooBig);
        assert_eq!(fits(9_000, u32::MAX, 52, 1450), Fit::TooBig);
    }
}
