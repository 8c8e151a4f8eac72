//! The addresses of this node's interfaces, and which of an interface's is used.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "netlink's attributes are an open set: what is not asked for is passed over"
)]

use std::net::{IpAddr, Ipv4Addr};

use futures_util::TryStreamExt as _;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};

use super::{Host, HostError};

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) ifindex: u32,
    pub(super) ip: IpAddr,
    pub(super) prefix_len: u8,
    pub(super) flags: AddressFlags,
}

impl Host {
    /// Every address, in the kernel's order.
    pub(super) async fn all_addresses(&self) -> Result<Vec<Address>, HostError> {
        let messages = self.all_address_messages().await?;
        Ok(messages.iter().filter_map(Address::from_message).collect())
    }

    /// The same, in netlink's words.
    pub(super) async fn all_address_messages(&self) -> Result<Vec<AddressMessage>, HostError> {
        self.handle
            .address()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(|e| HostError::netlink("cannot list addresses", &e))
    }

    /// The IPv4 addresses of a link with their prefix lengths.
    pub(super) async fn addresses(&self, ifindex: u32) -> Result<Vec<(Ipv4Addr, u8)>, HostError> {
        let all = self.all_addresses().await?;
        let of_link = all.into_iter().filter(|address| address.ifindex == ifindex);
        Ok(of_link
            .filter_map(|address| match address.ip {
                IpAddr::V4(ip) => Some((ip, address.prefix_len)),
                IpAddr::V6(_) => None,
            })
            .collect())
    }
}

impl Address {
    fn from_message(message: &AddressMessage) -> Option<Self> {
        let mut flags = AddressFlags::from_bits_retain(message.header.flags.bits().into());
        let (mut local, mut address) = (None, None);
        for attribute in &message.attributes {
            match attribute {
                AddressAttribute::Local(ip) => local = Some(*ip),
                AddressAttribute::Address(ip) => address = Some(*ip),
                AddressAttribute::Flags(bits) => flags = *bits,
                _ => {}
            }
        }
        // On a point-to-point link the one is ours and the other the peer's.
        let ip = local.or(address)?;
        let prefix_len = message.header.prefix_len;
        Some(Self { ifindex: message.header.index, ip, prefix_len, flags })
    }

    /// How good the address is for tunnel packets, the least being the best: flannel's order
    /// (`pkg/ip/iface.go`). `None` is never used.
    pub(super) fn rank(&self) -> Option<(bool, bool, bool)> {
        let is_link_local = match self.ip {
            IpAddr::V4(ip) => ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
        let is_other = match self.ip {
            IpAddr::V4(ip) => ip.is_broadcast(),
            IpAddr::V6(_) => false,
        };
        let is_unicast = !(self.ip.is_loopback()
            || self.ip.is_multicast()
            || self.ip.is_unspecified()
            || is_other);
        let is_usable = is_unicast && !self.flags.contains(AddressFlags::Deprecated);
        let is_dynamic = !self.flags.contains(AddressFlags::Permanent);
        let is_temporary =
            matches!(self.ip, IpAddr::V6(_)) && self.flags.contains(AddressFlags::Secondary);
        is_usable.then_some((is_link_local, is_dynamic, is_temporary))
    }
}
