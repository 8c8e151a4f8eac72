//! [`NetAddr`]: an IPv4 address or mask as it stands in a packet and in a map.

use core::fmt;
use core::net::Ipv4Addr;

/// An IPv4 address or mask, four bytes in network order in memory.
///
/// Masking and comparing need no byte swap, which is why the packet path uses
/// this instead of [`Ipv4Addr`]. The ordering is total, stable on one machine
/// and otherwise meaningless.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct NetAddr(u32);

impl NetAddr {
    /// `0.0.0.0`.
    pub const UNSPECIFIED: Self = Self(0);

    /// The address with these octets, first octet first.
    #[inline(always)]
    #[must_use]
    pub const fn from_octets(octets: [u8; 4]) -> Self {
        Self(u32::from_ne_bytes(octets))
    }

    /// The four octets, first octet first.
    #[inline(always)]
    #[must_use]
    pub const fn octets(self) -> [u8; 4] {
        self.0.to_ne_bytes()
    }

    /// The mask of a prefix of `len` bits; more than 32 count as 32.
    #[must_use]
    pub const fn mask(len: u8) -> Self {
        let bits = if len == 0 {
            0
        } else if len >= 32 {
            u32::MAX
        } else {
            u32::MAX << (32 - len)
        };
        Self(u32::from_ne_bytes(bits.to_be_bytes()))
    }

    /// The network part of this address under `mask`.
    #[inline(always)]
    #[must_use]
    pub const fn masked(self, mask: Self) -> Self {
        Self(self.0 & mask.0)
    }

    /// Whether this address lies in `network` under `mask`.
    #[inline(always)]
    #[must_use]
    pub const fn is_in(self, network: Self, mask: Self) -> bool {
        self.0 & mask.0 == network.0
    }

    /// The 32 bits in memory order, for hashing.
    #[inline(always)]
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }
}

impl From<Ipv4Addr> for NetAddr {
    fn from(addr: Ipv4Addr) -> Self {
        Self::from_octets(addr.octets())
    }
}

impl From<NetAddr> for Ipv4Addr {
    fn from(addr: NetAddr) -> Self {
        Self::from(addr.octets())
    }
}

impl fmt::Display for NetAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ipv4Addr::from(*self).fmt(f)
    }
}

impl fmt::Debug for NetAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_have_their_length() {
        assert_eq!(NetAddr::mask(0).octets(), [0, 0, 0, 0]);
        assert_eq!(NetAddr::mask(24).octets(), [255, 255, 255, 0]);
        assert_eq!(NetAddr::mask(32).octets(), [255; 4]);
        assert_eq!(NetAddr::mask(200).octets(), [255; 4]);
    }

    #[test]
    fn membership_is_decided_by_the_network_part() {
        let net = NetAddr::from_octets([10, 244, 1, 0]);
        let mask = NetAddr::mask(24);
        assert!(NetAddr::from_octets([10, 244, 1, 77]).is_in(net, mask));
        assert!(!NetAddr::from_octets([10, 244, 2, 77]).is_in(net, mask));
    }
}
