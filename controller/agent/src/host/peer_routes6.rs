//! The host stack's routes to IPv6 peers that are reached without a tunnel, by the rules of
//! [`peer_routes`](super::peer_routes).

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use ipnet::{IpNet, Ipv6Net};
use netlink_packet_route::route::{RouteHeader, RouteMessage, RouteType};
use rtnetlink::RouteMessageBuilder;

use super::peer_routes::{AT_ONCE, RouteChanges};
use super::routes::{Ends, PROTOCOL, v6};
use super::{Host, HostError};

/// A route of ours to a part of the pod network.
struct Found {
    destination: Ipv6Net,
    /// The node and the interface.
    way: (Ipv6Addr, Option<u32>),
    message: RouteMessage,
}

impl Host {
    /// Makes sure that the routes to the subnets of `wanted` lead to their nodes out of the
    /// interface `uplink`, and that no other route of ours leads by a node into parts of `network`.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn ensure_peer_routes6(
        &self,
        network: Ipv6Net,
        wanted: &BTreeMap<Ipv6Net, Ipv6Addr>,
        uplink: u32,
    ) -> Result<RouteChanges, HostError> {
        let present: Vec<_> = self
            .routes6()
            .await?
            .into_iter()
            .filter_map(|route| Found::read(route, network))
            .collect();
        let is_right = |found: &Found| {
            wanted.get(&found.destination) == Some(&found.way.0) && found.way.1 == Some(uplink)
        };
        // IPv6 may have several routes to one destination: what leads elsewhere goes, whatever
        // else is there, and goes last.
        let is_there = |subnet: &Ipv6Net| {
            present.iter().any(|found| found.destination == *subnet && is_right(found))
        };
        let missing: Vec<_> = wanted.iter().filter(|(subnet, _)| !is_there(subnet)).collect();
        let added = stream::iter(missing)
            .map(async |(subnet, node)| self.add_peer_route6(*subnet, *node, uplink).await)
            .buffer_unordered(AT_ONCE)
            .try_fold(0, async |count, ()| Ok(count + 1))
            .await?;
        let stale: Vec<_> = present.into_iter().filter(|found| !is_right(found)).collect();
        let removed = stream::iter(stale)
            .map(async |found| self.remove_peer_route(found.message).await)
            .buffer_unordered(AT_ONCE)
            .try_fold(0, async |count, ()| Ok(count + 1))
            .await?;
        Ok(RouteChanges { added, removed })
    }

    async fn add_peer_route6(
        &self,
        subnet: Ipv6Net,
        node: Ipv6Addr,
        uplink: u32,
    ) -> Result<(), HostError> {
        let route = RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(subnet.network(), subnet.prefix_len())
            .gateway(node)
            .output_interface(uplink)
            .protocol(PROTOCOL)
            .build();
        self.add_route6(route, &format!("{subnet} via {node}")).await
    }
}

impl Found {
    /// A unicast route of ours in the main table to a part of `network`, not to all of it.
    fn read(message: RouteMessage, network: Ipv6Net) -> Option<Self> {
        let header = &message.header;
        let is_ours = header.protocol == PROTOCOL
            && header.kind == RouteType::Unicast
            && header.table == RouteHeader::RT_TABLE_MAIN;
        let ends = Ends::read(&message);
        let IpNet::V6(destination) = ends.destination? else { return None };
        let way = (ends.gateway.and_then(v6)?, ends.ifindex);
        let is_part = destination != network && network.contains(&destination);
        (is_ours && is_part).then_some(Self { destination, way, message })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_route::route::RouteProtocol;

    fn built(destination: &str) -> RouteMessageBuilder<Ipv6Addr> {
        let destination: Ipv6Net = destination.parse().unwrap();
        RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(destination.network(), destination.prefix_len())
            .gateway("fd30::12".parse().unwrap())
            .output_interface(2)
            .protocol(PROTOCOL)
    }

    fn read(route: RouteMessageBuilder<Ipv6Addr>) -> Option<Found> {
        Found::read(route.build(), "fd00:10:244::/56".parse().unwrap())
    }

    #[test]
    fn a_route_of_ours_to_a_peer_is_known() {
        let found = read(built("fd00:10:244:2::/64")).unwrap();
        assert_eq!(found.destination.to_string(), "fd00:10:244:2::/64");
        assert_eq!(found.way, ("fd30::12".parse().unwrap(), Some(2)));
    }

    #[test]
    fn other_routes_are_not_ours_to_remove() {
        for other in [
            built("fd00:10:244::/56"),
            built("fd00::/16"),
            built("2001:db8::/64"),
            built("fd00:10:244:2::/64").protocol(RouteProtocol::Boot),
            built("fd00:10:244:2::/64").kind(RouteType::BlackHole),
            built("fd00:10:244:2::/64").table_id(100),
        ] {
            assert!(read(other.clone()).is_none(), "{:?}", other.build());
        }
    }
}
