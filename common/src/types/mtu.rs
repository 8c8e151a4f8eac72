//! [`Mtu`]: a link's maximum transmission unit.

use core::fmt;

use crate::wire::{TUNNEL_OVERHEAD, TUNNEL6_OVERHEAD};

/// The largest IP packet, in bytes, that a link takes.
///
/// Legal: 576 (what every IPv4 host must take, RFC 791 section 3.1) to 65535.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mtu(u16);

/// A number that is no usable MTU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MtuError(pub u64);

impl fmt::Display for MtuError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MTU {} is out of range: use {} to {}", self.0, Mtu::MIN, Mtu::MAX)
    }
}

impl core::error::Error for MtuError {}

impl Mtu {
    /// The smallest legal value.
    pub const MIN: u16 = 576;
    /// The largest legal value.
    pub const MAX: u16 = u16::MAX;

    /// Checks `bytes`.
    ///
    /// # Errors
    /// [`MtuError`] when it is out of range.
    pub const fn new(bytes: u64) -> Result<Self, MtuError> {
        if bytes >= Self::MIN as u64 && bytes <= Self::MAX as u64 {
            #[expect(clippy::cast_possible_truncation, reason = "the range was checked above")]
            Ok(Self(bytes as u16))
        } else {
            Err(MtuError(bytes))
        }
    }

    /// The MTU in bytes.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// The least that IPv6 asks of a link (RFC 8200 section 5).
    pub const MIN_IPV6: u16 = 1280;

    /// The MTU inside a VXLAN tunnel over IPv6 over a link of this MTU.
    ///
    /// # Errors
    /// [`MtuError`] when less than [`Mtu::MIN_IPV6`] would remain.
    pub const fn inside_ipv6_tunnel(self) -> Result<Self, MtuError> {
        let left = (self.0 as u64).saturating_sub(TUNNEL6_OVERHEAD as u64);
        if left < Self::MIN_IPV6 as u64 { Err(MtuError(left)) } else { Self::new(left) }
    }

    /// The MTU inside an IPv4 VXLAN tunnel over a link of this MTU.
    ///
    /// # Errors
    /// [`MtuError`] when less than [`Mtu::MIN`] would remain.
    pub const fn inside_tunnel(self) -> Result<Self, MtuError> {
        Self::new((self.0 as u64).saturating_sub(TUNNEL_OVERHEAD as u64))
    }
}

impl fmt::Display for Mtu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_takes_fifty_bytes() {
        assert_eq!(Mtu::new(1500).unwrap().inside_tunnel().unwrap().get(), 1450);
        assert_eq!(Mtu::new(600).unwrap().inside_tunnel(), Err(MtuError(550)));
    }

    #[test]
    fn a_tunnel_over_ipv6_takes_seventy_bytes_and_leaves_what_ipv6_needs() {
        let inside = |bytes| Mtu::new(bytes).unwrap().inside_ipv6_tunnel();
        assert_eq!(inside(1500).unwrap().get(), 1430);
        assert_eq!((inside(1350).map(Mtu::get), inside(1349)), (Ok(1280), Err(MtuError(1279))));
    }

    #[test]
    fn bounds_are_inclusive() {
        assert!(Mtu::new(576).is_ok() && Mtu::new(65535).is_ok());
        assert!(Mtu::new(575).is_err() && Mtu::new(65536).is_err());
    }
}
