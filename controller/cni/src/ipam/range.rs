//! The addresses a node may give to pods, and the order in which it does.

use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::{IpamError, Reservations};

/// The longest prefix that leaves room for a gateway and a pod.
const MAX_PREFIX: u8 = 30;

/// A subnet from its second address to the one before the broadcast address, without the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range(Ipv4Net);

impl Range {
    /// The range of a subnet; host bits are ignored.
    ///
    /// # Errors
    ///
    /// [`IpamError::TooSmall`] beyond /30.
    pub fn new(subnet: Ipv4Net) -> Result<Self, IpamError> {
        let subnet = subnet.trunc();
        if subnet.prefix_len() > MAX_PREFIX {
            return Err(IpamError::TooSmall(subnet));
        }
        Ok(Self(subnet))
    }

    /// The pods' next hop.
    #[must_use]
    pub fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.first())
    }

    /// Whether the round robin passes the address; the gateway belongs to it, as in host-local.
    #[must_use]
    pub fn contains(self, ip: Ipv4Addr) -> bool {
        (self.first()..=self.last()).contains(&ip.to_bits())
    }

    /// Every pod address once, starting behind `last`, which comes at the end.
    pub(super) fn after(self, last: Option<Ipv4Addr>) -> impl Iterator<Item = Ipv4Addr> {
        let (first, end) = (self.first(), self.last());
        let last = last.filter(|ip| self.contains(*ip)).map_or(end, Ipv4Addr::to_bits);
        let turn = (last + 1..=end).chain(first..=last);
        turn.map(Ipv4Addr::from_bits).filter(move |ip| *ip != self.gateway())
    }

    /// An address nobody has.
    ///
    /// # Errors
    ///
    /// [`IpamError::Exhausted`].
    pub fn find_free(self, taken: &Reservations) -> Result<Ipv4Addr, IpamError> {
        self.after(None).find(|ip| !taken.holds(*ip)).ok_or(IpamError::Exhausted(self))
    }

    // No overflow: a prefix of at most 30 bits leaves at least four addresses.
    fn first(self) -> u32 {
        self.0.network().to_bits() + 1
    }

    fn last(self) -> u32 {
        self.0.broadcast().to_bits() - 1
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", Ipv4Addr::from_bits(self.first()), Ipv4Addr::from_bits(self.last()))
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
    fn a_subnet_without_room_is_refused() {
        let error = Range::new("10.0.0.0/31".parse().expect("a network")).expect_err("too small");
        assert_eq!(
            error.to_string(),
            "invalid range set 0: Network 10.0.0.0/31 too small to allocate from"
        );
    }
}
