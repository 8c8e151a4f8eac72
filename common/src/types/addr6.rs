//! [`NetAddr6`]: an IPv6 address or mask as it stands in a packet and in a map.

use core::fmt;
use core::net::Ipv6Addr;

use super::NetAddr;

/// An IPv6 address or mask, sixteen bytes in network order in memory.
///
/// Two words of eight bytes: a program keeps it on its stack as a key, and the
/// verifier refuses what crosses a word there. Comparing and masking are
/// written out, because an array's own comparison becomes a call of memcmp,
/// which is a loop, which the verifier refuses without CAP_PERFMON.
#[derive(Clone, Copy, Default, Eq)]
#[repr(transparent)]
pub struct NetAddr6([u64; 2]);

impl NetAddr6 {
    /// `::`.
    pub const UNSPECIFIED: Self = Self([0; 2]);

    /// The address with these octets, first octet first.
    #[inline(always)]
    #[must_use]
    pub const fn from_octets(b: [u8; 16]) -> Self {
        Self([
            u64::from_ne_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]),
            u64::from_ne_bytes([b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]]),
        ])
    }

    /// The sixteen octets, first octet first.
    #[inline(always)]
    #[must_use]
    pub const fn octets(self) -> [u8; 16] {
        let (n, h) = (self.0[0].to_ne_bytes(), self.0[1].to_ne_bytes());
        [
            n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], h[0], h[1], h[2], h[3], h[4], h[5],
            h[6], h[7],
        ]
    }

    /// The mask of a prefix of `len` bits; more than 128 count as 128.
    #[must_use]
    pub fn mask(len: u8) -> Self {
        let len = u32::from(len);
        let bits = if len == 0 { 0 } else { u128::MAX << 128_u32.saturating_sub(len) };
        Self::from_octets(bits.to_be_bytes())
    }

    /// The IPv4-mapped form of `address` (RFC 4291 section 2.5.5.2): in our tables, a node that is
    /// reached over IPv4. On the wire no packet may have it.
    #[inline(always)]
    #[must_use]
    pub const fn mapped(address: NetAddr) -> Self {
        let [a, b, c, d] = address.octets();
        Self([0, u64::from_ne_bytes([0, 0, 0xff, 0xff, a, b, c, d])])
    }

    /// The IPv4 address that this is the mapped form of, if it is one.
    #[inline(always)]
    #[must_use]
    pub const fn ipv4(self) -> Option<NetAddr> {
        let [_, _, prefix, address] = self.words();
        let is_mapped = self.0[0] == 0 && u32::from_be(prefix) == 0xffff;
        if is_mapped { Some(NetAddr::from_octets(address.to_ne_bytes())) } else { None }
    }

    /// The network part of this address under `mask`.
    #[inline(always)]
    #[must_use]
    pub const fn masked(self, mask: Self) -> Self {
        let ([a, b], [c, d]) = (self.0, mask.0);
        Self([a & c, b & d])
    }

    /// Whether this address lies in `network` under `mask`.
    #[inline(always)]
    #[must_use]
    pub const fn is_in(self, network: Self, mask: Self) -> bool {
        self.masked(mask).is(network)
    }

    /// Whether this is `::`.
    #[inline(always)]
    #[must_use]
    pub const fn is_unspecified(self) -> bool {
        self.is(Self::UNSPECIFIED)
    }

    /// Whether this is in `fe80::/10` (RFC 4291 section 2.5.6).
    #[inline(always)]
    #[must_use]
    pub const fn is_link_local(self) -> bool {
        u64::from_be(self.0[0]) >> 54 == 0xfe80 >> 6
    }

    /// Whether this is in `ff00::/8` (RFC 4291 section 2.7).
    #[inline(always)]
    #[must_use]
    pub const fn is_multicast(self) -> bool {
        u64::from_be(self.0[0]) >> 56 == 0xff
    }

    /// The four words in memory order, as a helper of the kernel takes them.
    #[inline(always)]
    #[must_use]
    pub const fn words(self) -> [u32; 4] {
        let (n, h) = (self.0[0].to_ne_bytes(), self.0[1].to_ne_bytes());
        [
            u32::from_ne_bytes([n[0], n[1], n[2], n[3]]),
            u32::from_ne_bytes([n[4], n[5], n[6], n[7]]),
            u32::from_ne_bytes([h[0], h[1], h[2], h[3]]),
            u32::from_ne_bytes([h[4], h[5], h[6], h[7]]),
        ]
    }

    /// The address of these words in memory order.
    #[inline(always)]
    #[must_use]
    pub const fn from_words([a, b, c, d]: [u32; 4]) -> Self {
        let (a, b, c, d) = (a.to_ne_bytes(), b.to_ne_bytes(), c.to_ne_bytes(), d.to_ne_bytes());
        Self([
            u64::from_ne_bytes([a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3]]),
            u64::from_ne_bytes([c[0], c[1], c[2], c[3], d[0], d[1], d[2], d[3]]),
        ])
    }

    /// Both halves in memory order, for hashing and for an order that is total, stable on one
    /// machine and otherwise meaningless.
    #[inline(always)]
    #[must_use]
    pub const fn halves(self) -> (u64, u64) {
        (self.0[0], self.0[1])
    }

    #[inline(always)]
    const fn is(self, other: Self) -> bool {
        let ((a, b), (c, d)) = (self.halves(), other.halves());
        (a ^ c) | (b ^ d) == 0
    }
}

impl PartialEq for NetAddr6 {
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        self.is(*other)
    }
}

impl PartialOrd for NetAddr6 {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for NetAddr6 {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.halves().cmp(&other.halves())
    }
}

impl From<Ipv6Addr> for NetAddr6 {
    fn from(addr: Ipv6Addr) -> Self {
        Self::from_octets(addr.octets())
    }
}

impl From<NetAddr6> for Ipv6Addr {
    fn from(addr: NetAddr6) -> Self {
        Self::from(addr.octets())
    }
}

impl fmt::Display for NetAddr6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ipv6Addr::from(*self).fmt(f)
    }
}

impl fmt::Debug for NetAddr6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn addr(text: &str) -> NetAddr6 {
        text.parse::<Ipv6Addr>().unwrap().into()
    }

    #[test]
    fn masks_have_their_length() {
        assert_eq!(NetAddr6::mask(0), NetAddr6::UNSPECIFIED);
        assert_eq!(NetAddr6::mask(64), addr("ffff:ffff:ffff:ffff::"));
        assert_eq!(NetAddr6::mask(128).octets(), [255; 16]);
        assert_eq!(NetAddr6::mask(200).octets(), [255; 16]);
    }

    #[test]
    fn membership_is_decided_by_the_network_part() {
        let (net, mask) = (addr("fd00:10:244:1::"), NetAddr6::mask(64));
        assert!(addr("fd00:10:244:1::77").is_in(net, mask));
        assert!(!addr("fd00:10:244:2::77").is_in(net, mask));
    }

    #[test]
    fn scopes_are_told_apart() {
        assert!(addr("fe80::1").is_link_local() && addr("febf::1").is_link_local());
        assert!(!addr("fec0::1").is_link_local() && !addr("fd00::1").is_link_local());
        assert!(addr("ff02::1").is_multicast() && !addr("fe80::1").is_multicast());
        assert!(addr("::").is_unspecified() && !addr("::1").is_unspecified());
    }

    #[test]
    fn a_mapped_address_holds_its_ipv4_address_and_no_other_does() {
        let address = NetAddr::from_octets([192, 0, 2, 1]);
        assert_eq!(NetAddr6::mapped(address), addr("::ffff:192.0.2.1"));
        assert_eq!(addr("::ffff:192.0.2.1").ipv4(), Some(address));
        for other in ["::", "::192.0.2.1", "::fffe:192.0.2.1", "::1:ffff:192.0.2.1", "1::ffff:0:1"]
        {
            assert_eq!(addr(other).ipv4(), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn comparing_is_comparing_octets(a: [u8; 16], at in 0_usize..16, flip: u8) {
            let mut b = a;
            b[at] ^= flip;
            let (x, y) = (NetAddr6::from_octets(a), NetAddr6::from_octets(b));
            prop_assert_eq!(x == y, a == b);
            prop_assert_eq!(x.cmp(&y) == core::cmp::Ordering::Equal, a == b);
            prop_assert_eq!(x.octets(), a);
            prop_assert_eq!(NetAddr6::from_words(x.words()), x);
        }
    }
}
