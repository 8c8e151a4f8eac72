//! The IPv4 subnet of one node's pods.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// An IPv4 subnet without host bits, `/8` to `/30`: room for the node's own
/// two addresses and at least one pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PodCidr(Ipv4Net);

/// Why a text or a network is no [`PodCidr`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PodCidrError {
    /// Not `address/length` at all.
    #[error("{0:?} is not an IPv4 subnet: write it like 10.244.1.0/24")]
    Syntax(String),
    /// Bits beyond the prefix length are set.
    #[error("{given} has host bits set: write {meant}")]
    HostBits {
        /// What was given.
        given: Ipv4Net,
        /// The same with the host bits cleared.
        meant: Ipv4Net,
    },
    /// Too short or too long for a node's pods.
    #[error("{0} has no room for a node's pods: use a prefix length of 8 to 30")]
    PrefixLength(Ipv4Net),
}

impl PodCidr {
    /// Shortest prefix length; flannel's networks are themselves no larger than a class A.
    pub const MIN_PREFIX_LEN: u8 = 8;
    /// Longest prefix length, from flannel: `SubnetLen must be less than /31`.
    pub const MAX_PREFIX_LEN: u8 = 30;

    /// The subnet, if it has no host bits and a usable length.
    ///
    /// # Errors
    /// [`PodCidrError::HostBits`] and [`PodCidrError::PrefixLength`].
    pub fn new(subnet: Ipv4Net) -> Result<Self, PodCidrError> {
        if !(Self::MIN_PREFIX_LEN..=Self::MAX_PREFIX_LEN).contains(&subnet.prefix_len()) {
            return Err(PodCidrError::PrefixLength(subnet));
        }
        if subnet.addr() != subnet.network() {
            return Err(PodCidrError::HostBits { given: subnet, meant: subnet.trunc() });
        }
        Ok(Self(subnet))
    }

    /// The subnet that `address` lies in, if its length is usable: as `FLANNEL_SUBNET` has it.
    ///
    /// # Errors
    /// [`PodCidrError::PrefixLength`].
    pub fn around(address: Ipv4Net) -> Result<Self, PodCidrError> {
        Self::new(address.trunc())
    }

    /// The `.0` address, which the overlay device carries and host traffic is sent from.
    #[must_use]
    pub fn first_address(self) -> Ipv4Addr {
        self.0.network()
    }

    /// The `.1` address, the pods' gateway.
    #[must_use]
    pub fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.0.network().to_bits() | 1)
    }

    /// The last address, the broadcast address of the subnet.
    #[must_use]
    pub fn last_address(self) -> Ipv4Addr {
        self.0.broadcast()
    }

    /// Bits of the prefix.
    #[must_use]
    pub fn prefix_len(self) -> u8 {
        self.0.prefix_len()
    }

    /// Whether `address` lies in the subnet.
    #[must_use]
    pub fn contains(self, address: Ipv4Addr) -> bool {
        self.0.contains(&address)
    }

    /// Whether the two share at least one address.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.0.contains(&other.0) || other.0.contains(&self.0)
    }

    /// Whether all of the subnet lies in `network`.
    #[must_use]
    pub fn is_within(self, network: Ipv4Net) -> bool {
        network.contains(&self.0)
    }

    /// The same subnet as a plain network.
    #[must_use]
    pub fn net(self) -> Ipv4Net {
        self.0
    }

    /// `10.244.1.0-24`: flannel's form of a subnet in a key, where a slash cannot stand.
    #[must_use]
    pub fn key(self) -> String {
        format!("{}-{}", self.first_address(), self.prefix_len())
    }

    /// The subnet that [`PodCidr::key`] prints as `key`.
    #[must_use]
    pub fn from_key(key: &str) -> Option<Self> {
        let cidr: Self = key.replacen('-', "/", 1).parse().ok()?;
        (cidr.key() == key).then_some(cidr)
    }
}

impl fmt::Display for PodCidr {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl FromStr for PodCidr {
    type Err = PodCidrError;

    fn from_str(text: &str) -> Result<Self, PodCidrError> {
        let subnet = text.parse().map_err(|_| PodCidrError::Syntax(text.to_owned()))?;
        Self::new(subnet)
    }
}

impl TryFrom<String> for PodCidr {
    type Error = PodCidrError;

    fn try_from(text: String) -> Result<Self, PodCidrError> {
        text.parse()
    }
}

impl From<PodCidr> for String {
    fn from(cidr: PodCidr) -> Self {
        cidr.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_two_addresses_are_the_nodes() {
        let cidr: PodCidr = "10.244.1.0/24".parse().unwrap();
        assert_eq!(cidr.first_address(), Ipv4Addr::new(10, 244, 1, 0));
        assert_eq!(cidr.gateway(), Ipv4Addr::new(10, 244, 1, 1));
        assert_eq!(cidr.last_address(), Ipv4Addr::new(10, 244, 1, 255));
    }

    #[test]
    fn host_bits_are_refused_with_the_subnet_that_was_meant() {
        let error = "10.244.1.7/24".parse::<PodCidr>().unwrap_err();
        assert_eq!(error.to_string(), "10.244.1.7/24 has host bits set: write 10.244.1.0/24");
    }

    #[test]
    fn lengths_without_room_for_pods_are_refused() {
        for text in ["0.0.0.0/0", "8.0.0.0/7", "10.0.0.0/31", "10.0.0.0/32"] {
            assert!(
                matches!(text.parse::<PodCidr>(), Err(PodCidrError::PrefixLength(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn only_the_canonical_key_is_a_key() {
        assert_eq!(PodCidr::from_key("10.5.52.0-24"), "10.5.52.0/24".parse().ok());
        for key in ["10.5.52.0/24", "10.5.52.1-24", "10.5.52.0-024", "10.5.52.0-24-24", ""] {
            assert_eq!(PodCidr::from_key(key), None, "{key}");
        }
    }

    proptest! {
        #[test]
        fn text_and_key_lead_back_to_the_same_subnet(bits: u32, length in 8_u8..=30) {
            let cidr = PodCidr::around(Ipv4Net::new(bits.into(), length).unwrap()).unwrap();
            prop_assert_eq!(cidr.to_string().parse(), Ok(cidr));
            prop_assert_eq!(PodCidr::from_key(&cidr.key()), Some(cidr));
        }

        #[test]
        fn overlap_means_that_one_contains_the_others_first_address(
            left: u32, right: u32, left_len in 8_u8..=30, right_len in 8_u8..=30,
        ) {
            let near = (left & 0xffff_0000) | (right & 0xffff);
            let cidr = |bits: u32, len| PodCidr::around(Ipv4Net::new(bits.into(), len).unwrap());
            let (a, b) = (cidr(left, left_len).unwrap(), cidr(near, right_len).unwrap());
            let shares = a.contains(b.first_address()) || b.contains(a.first_address());
            prop_assert_eq!(a.overlaps(b), shares);
        }
    }
}
