//! The addresses a node may give to pods, and the order in which it does.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::{IpamError, Reservations};

/// The bits that a subnet leaves to its hosts, at least: room for a gateway and a pod.
const MIN_HOST_BITS: u8 = 2;

/// A subnet from its second address to the one before the broadcast address, without the gateway.
/// IPv6 has no broadcast address: its last address is like any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range(IpNet);

impl Range {
    /// The range of a subnet; host bits are ignored.
    ///
    /// # Errors
    ///
    /// [`IpamError::TooSmall`] beyond /30, or /126 for IPv6.
    pub fn new(subnet: IpNet) -> Result<Self, IpamError> {
        let subnet = subnet.trunc();
        if subnet.max_prefix_len() - subnet.prefix_len() < MIN_HOST_BITS {
            return Err(IpamError::TooSmall(subnet));
        }
        Ok(Self(subnet))
    }

    /// The pods' next hop.
    #[must_use]
    pub fn gateway(self) -> IpAddr {
        self.address(self.first())
    }

    /// Whether the round robin passes the address; the gateway belongs to it, as in host-local.
    #[must_use]
    pub fn contains(self, ip: IpAddr) -> bool {
        ip.is_ipv4() == self.0.addr().is_ipv4() && (self.first()..=self.last()).contains(&bits(ip))
    }

    /// Every pod address once, starting behind `last`, which comes at the end.
    pub(super) fn after(self, last: Option<IpAddr>) -> impl Iterator<Item = IpAddr> {
        let (first, end) = (self.first(), self.last());
        let last = last.filter(|ip| self.contains(*ip)).map_or(end, bits);
        let turn = (last.saturating_add(1)..=end).chain(first..=last);
        turn.map(move |bits| self.address(bits)).filter(move |ip| *ip != self.gateway())
    }

    /// An address nobody has.
    ///
    /// # Errors
    ///
    /// [`IpamError::Exhausted`].
    pub fn find_free(self, taken: &Reservations) -> Result<IpAddr, IpamError> {
        self.after(None).find(|ip| !taken.holds(*ip)).ok_or(IpamError::Exhausted(self))
    }

    /// The number of the range in a configuration of host-local: IPv4 comes first.
    #[must_use]
    pub const fn set(self) -> u8 {
        match self.0 {
            IpNet::V4(_) => 0,
            IpNet::V6(_) => 1,
        }
    }

    // No overflow: at least four addresses are there.
    fn first(self) -> u128 {
        bits(self.0.network()) + 1
    }

    fn last(self) -> u128 {
        let end = bits(self.0.broadcast());
        if self.0.addr().is_ipv4() { end - 1 } else { end }
    }

    #[expect(clippy::cast_possible_truncation, reason = "addresses of IPv4 have 32 bits")]
    const fn address(self, bits: u128) -> IpAddr {
        match self.0 {
            IpNet::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(bits as u32)),
            IpNet::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(bits)),
        }
    }
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_bits().into(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.address(self.first()), self.address(self.last()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Range {
        Range::new(text.parse().expect("a network")).expect("large enough")
    }

    fn order(range: Range, last: Option<&str>) -> Vec<String> {
        let last = last.map(|ip| ip.parse().expect("an address"));
        range.after(last).map(|ip| ip.to_string()).collect()
    }

    #[test]
    fn the_turn_starts_behind_the_last_and_ends_with_it() {
        let range = range("10.0.0.0/29");
        assert_eq!(
            order(range, Some("10.0.0.4")),
            ["10.0.0.5", "10.0.0.6", "10.0.0.2", "10.0.0.3", "10.0.0.4"]
        );
        assert_eq!(order(range, Some("10.0.0.6")).first().map(String::as_str), Some("10.0.0.2"));
    }

    #[test]
    fn without_a_usable_last_it_starts_at_the_front() {
        let range = range("10.0.0.0/30");
        assert_eq!(order(range, None), ["10.0.0.2"]);
        assert_eq!(order(range, Some("10.9.9.9")), ["10.0.0.2"]);
    }

    #[test]
    fn the_whole_address_space_does_not_overflow() {
        assert_eq!(range("0.0.0.0/0").to_string(), "0.0.0.1-255.255.255.254");
        assert_eq!(range("255.255.255.252/30").after(None).count(), 1);
    }

    #[test]
    fn ipv6_has_no_broadcast_address() {
        let range = range("fd00:10:244:1::/126");
        assert_eq!(order(range, None), ["fd00:10:244:1::2", "fd00:10:244:1::3"]);
        assert_eq!(order(range, Some("fd00:10:244:1::2"))[0], "fd00:10:244:1::3");
        assert!(!range.contains("10.0.0.2".parse().expect("an address")));
    }

    #[test]
    fn a_subnet_without_room_is_refused() {
        let error = Range::new("10.0.0.0/31".parse().expect("a network")).expect_err("too small");
        assert_eq!(
            error.to_string(),
            "invalid range set 0: Network 10.0.0.0/31 too small to allocate from"
        );
    }
}
