//! Headers as they stand in a frame.
//!
//! A frame is anything that can lend fixed-size windows of its bytes
//! ([`Frame`]): a slice on the host, `data..data_end` in the kernel. Windows
//! have constant sizes and offsets because that is what the verifier can
//! follow, and because a window that exists needs no further length check.

pub mod checksum;
pub mod ecn;
pub mod ethernet;
pub mod ipv4;
pub mod ipv6;
pub mod transport;
pub mod vxlan;

/// Length of an Ethernet header without tags.
pub const ETH_LEN: usize = 14;
/// Length of an IPv4 header without options.
pub const IPV4_LEN: usize = 20;
/// Length of an IPv6 header without extension headers.
pub const IPV6_LEN: usize = 40;
/// Length of a UDP header.
pub const UDP_LEN: usize = 8;
/// Length of a VXLAN header.
pub const VXLAN_LEN: usize = 8;
/// What a tunnel adds to an inner Ethernet frame's IP packet, counted against the link's MTU.
pub const TUNNEL_OVERHEAD: usize = IPV4_LEN + UDP_LEN + VXLAN_LEN + ETH_LEN;
/// Everything before the inner IP header: outer Ethernet to inner Ethernet.
pub const OUTER_LEN: usize = ETH_LEN + TUNNEL_OVERHEAD;
/// As [`TUNNEL_OVERHEAD`], for a tunnel over IPv6.
pub const TUNNEL6_OVERHEAD: usize = TUNNEL_OVERHEAD - IPV4_LEN + IPV6_LEN;
/// As [`OUTER_LEN`], for a tunnel over IPv6.
pub const OUTER6_LEN: usize = ETH_LEN + TUNNEL6_OVERHEAD;

/// Offset of the IP header in a frame.
pub const IP_AT: usize = ETH_LEN;
/// Offset of the transport header in a frame whose IP header has no options.
pub const L4_AT: usize = ETH_LEN + IPV4_LEN;
/// Offset of the VXLAN header in a tunnel frame.
pub const VXLAN_AT: usize = L4_AT + UDP_LEN;
/// Offset of the inner frame in a tunnel frame.
pub const INNER_AT: usize = VXLAN_AT + VXLAN_LEN;
/// Offset of the transport header in a frame whose IPv6 header has no extension headers behind it.
pub const L4_AT6: usize = ETH_LEN + IPV6_LEN;
/// Offset of the VXLAN header in a frame of a tunnel over IPv6.
pub const VXLAN_AT6: usize = L4_AT6 + UDP_LEN;
/// Offset of the inner frame in a frame of a tunnel over IPv6.
pub const INNER_AT6: usize = VXLAN_AT6 + VXLAN_LEN;

/// A length of headers as lengths of packets are counted.
#[inline(always)]
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "headers are far shorter than 4 GiB")]
pub const fn size(len: usize) -> u32 {
    len as u32
}

/// Lends windows of a frame's bytes.
///
/// # Contract
/// `window::<N>(at)` is `Some` exactly when bytes `at .. at + N` exist, and
/// stays the same while the decision runs.
pub trait Frame {
    /// The `N` bytes from offset `at`, if the frame has them.
    fn window<const N: usize>(&self, at: usize) -> Option<&[u8; N]>;
}

impl Frame for [u8] {
    #[inline(always)]
    fn window<const N: usize>(&self, at: usize) -> Option<&[u8; N]> {
        self.get(at..)?.first_chunk()
    }
}

/// The IP header of either family, as the gate reads it.
pub trait Header: Sized {
    /// The family's addresses.
    type Addr: crate::flow::Address;
    /// Length of the header where the transport header follows directly.
    const LEN: usize;
    /// Protocol number of the family's ICMP.
    const ICMP: u8;

    /// Reads the header at `at`; nothing is checked.
    fn read<F: Frame + ?Sized>(frame: &F, at: usize) -> Option<Self>;
    /// Source address.
    fn source(&self) -> Self::Addr;
    /// Destination address.
    fn destination(&self) -> Self::Addr;
    /// What follows the header.
    fn protocol(&self) -> u8;
    /// Whether this is a whole packet whose transport header, if it has one, stands [`Self::LEN`]
    /// bytes behind this header's beginning.
    fn may_have_flow(&self) -> bool;
    /// As [`may_have_flow`](Self::may_have_flow), for the packet that an ICMP error quotes.
    fn is_quotable(&self) -> bool;
    /// Classifies an ICMP message by its first eight bytes.
    fn icmp(bytes: &[u8; transport::L4_PEEK]) -> transport::Icmp;
}

/// A frame seen from `base` on: the inner frame of a tunnel frame.
pub struct Inner<'f, F: ?Sized> {
    frame: &'f F,
    base: usize,
}

impl<'f, F: Frame + ?Sized> Inner<'f, F> {
    /// The view of `frame` that starts at `base`.
    #[inline(always)]
    pub const fn new(frame: &'f F, base: usize) -> Self {
        Self { frame, base }
    }
}

impl<F: Frame + ?Sized> Frame for Inner<'_, F> {
    #[inline(always)]
    fn window<const N: usize>(&self, at: usize) -> Option<&[u8; N]> {
        self.frame.window(self.base + at)
    }
}

/// The big-endian 16 bits at `at`. Constant offsets only: an index out of range would panic.
#[inline(always)]
#[must_use]
pub const fn be16<const N: usize>(bytes: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// The big-endian 32 bits at `at`.
#[inline(always)]
#[must_use]
pub const fn be32<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The four bytes at `at`.
#[inline(always)]
#[must_use]
pub const fn four<const N: usize>(bytes: &[u8; N], at: usize) -> [u8; 4] {
    [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_exists_exactly_when_its_bytes_do() {
        let frame: &[u8] = &[1, 2, 3, 4];
        assert_eq!(frame.window::<2>(2), Some(&[3, 4]));
        assert_eq!(frame.window::<3>(2), None);
        assert_eq!(frame.window::<1>(usize::MAX), None);
        assert_eq!(Inner::new(frame, 1).window::<2>(1), Some(&[3, 4]));
    }

    #[test]
    fn the_tunnel_adds_fifty_bytes_and_over_ipv6_seventy() {
        assert_eq!((TUNNEL_OVERHEAD, OUTER_LEN, INNER_AT), (50, 64, 50));
        assert_eq!((TUNNEL6_OVERHEAD, OUTER6_LEN, INNER_AT6), (70, 84, 70));
    }
}
