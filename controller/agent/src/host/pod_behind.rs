//! Which pod is behind an interface, by the host's own tables: what the CNI
//! plugin left there when it made the pod.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "netlink's attributes are an open set: what is not asked for is passed over"
)]

use std::net::IpAddr;

use futures_util::TryStreamExt as _;
use ipnet::IpNet;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage};
use netlink_packet_route::route::RouteProtocol;
use tartan_common::Mac;
use tartan_common::abi::PodEntry;

use super::routes::Ends;
use super::{Host, HostError};

impl Host {
    /// The pod behind the veth `name`, if the host has a route to one of `subnet`.
    ///
    /// Its MAC address is zero where the host does not know it any more: packets
    /// reach the pod by its interface, and nobody but a sniffer reads the address.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn pod_behind(
        &self,
        name: &str,
        subnet: IpNet,
    ) -> Result<Option<(IpAddr, PodEntry)>, HostError> {
        let Some(link) = self.link(name).await? else {
            return Ok(None);
        };
        let routes = match subnet {
            IpNet::V4(_) => self.routes().await?,
            IpNet::V6(_) => self.routes6().await?,
        };
        let to_it = |route: &(IpAddr, u32)| route.1 == link.ifindex && subnet.contains(&route.0);
        // The kernel's own routes lead to this node's addresses, the gateway's among them.
        let made = routes.iter().filter(|route| route.header.protocol != RouteProtocol::Kernel);
        let mut ends = made.filter_map(|route| Ends::read(route).single());
        let Some((address, ifindex)) = ends.find(to_it) else {
            return Ok(None);
        };
        let pod_mac = self.neighbour(address, ifindex).await?.unwrap_or_default();
        let host_mac = link.mac.unwrap_or_default();
        Ok(Some((address, PodEntry { ifindex, flags: 0, pod_mac, host_mac })))
    }

    async fn neighbour(&self, address: IpAddr, ifindex: u32) -> Result<Option<Mac>, HostError> {
        let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let neighbours: Vec<_> = self
            .handle
            .neighbours()
            .get()
            .set_address_family(family)
            .execute()
            .try_collect()
            .await
            .map_err(|e| HostError::netlink("cannot list neighbours", &e))?;
        let mut on_it = neighbours.iter().filter(|one| one.header.ifindex == ifindex);
        Ok(on_it.find_map(|one| mac_of(one, address)))
    }
}

fn mac_of(message: &NeighbourMessage, address: IpAddr) -> Option<Mac> {
    let (mut is_it, mut mac) = (false, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => {
                is_it = IpAddr::V4(*ip) == address;
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => {
                is_it = IpAddr::V6(*ip) == address;
            }
            NeighbourAttribute::LinkLayerAddress(bytes) => {
                mac = bytes.as_slice().try_into().ok().map(Mac);
            }
            _ => {}
        }
    }
    if is_it { mac } else { None }
}
