//! The host stack's routes to peers that are reached without a tunnel, one for
//! each, as flannel's host-gw and `DirectRouting` make them.
//!
//! They are the host stack's alone: what skips it goes by the map. A route that
//! somebody deletes comes back, one that nobody needs any more goes; routes
//! without our mark are replaced where they say the same and left alone elsewhere.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use ipnet::{IpNet, Ipv4Net};
use netlink_packet_route::route::{RouteHeader, RouteMessage, RouteType};
use nix::libc;
use rtnetlink::RouteMessageBuilder;

use super::error::errno;
use super::routes::{Ends, PROTOCOL, v4};
use super::{Host, HostError};

/// Requests under way at once.
pub(super) const AT_ONCE: usize = 64;

/// What had to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteChanges {
    /// Routes that were missing, or led elsewhere.
    pub added: usize,
    /// Routes of ours that nobody needs any more.
    pub removed: usize,
}

/// A route of ours to a part of the pod network.
struct Found {
    destination: Ipv4Net,
    /// The node and the interface.
    way: (Option<Ipv4Addr>, Option<u32>),
    message: RouteMessage,
}

impl Host {
    /// Makes sure that the routes to the subnets of `wanted` lead to their nodes out of the
    /// interface `uplink`, and that no other route of ours leads into parts of `network`.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn ensure_peer_routes(
        &self,
        network: Ipv4Net,
        wanted: &BTreeMap<Ipv4Net, Ipv4Addr>,
        uplink: u32,
    ) -> Result<RouteChanges, HostError> {
        let present: BTreeMap<_, _> = self
            .routes()
            .await?
            .into_iter()
            .filter_map(|route| Found::read(route, network))
            .map(|found| (found.destination, found))
            .collect();
        let is_right = |subnet: &Ipv4Net, node: Ipv4Addr| {
            present.get(subnet).is_some_and(|found| found.way == (Some(node), Some(uplink)))
        };
        let missing: Vec<_> =
            wanted.iter().filter(|(subnet, node)| !is_right(subnet, **node)).collect();
        let added = stream::iter(missing)
            .map(async |(subnet, node)| self.add_peer_route(*subnet, *node, uplink).await)
            .buffer_unordered(AT_ONCE)
            .try_fold(0, async |count, ()| Ok(count + 1))
            .await?;
        let stale = present.into_iter().filter(|(subnet, _)| !wanted.contains_key(subnet));
        let removed = stream::iter(stale)
            .map(async |(_, found)| self.remove_peer_route(found.message).await)
            .buffer_unordered(AT_ONCE)
            .try_fold(0, async |count, ()| Ok(count + 1))
            .await?;
        Ok(RouteChanges { added, removed })
    }

    async fn add_peer_route(
        &self,
        subnet: Ipv4Net,
        node: Ipv4Addr,
        uplink: u32,
    ) -> Result<(), HostError> {
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(subnet.network(), subnet.prefix_len())
            .gateway(node)
            .output_interface(uplink)
            .protocol(PROTOCOL)
            .build();
        self.handle.route().add(route).replace().execute().await.map_err(|e| {
            HostError::netlink(format!("cannot add the route {subnet} via {node}"), &e)
        })
    }

    pub(super) async fn remove_peer_route(&self, route: RouteMessage) -> Result<(), HostError> {
        match self.handle.route().del(route).execute().await {
            Ok(()) => Ok(()),
            // Somebody was faster.
            Err(error) if errno(&error) == Some(libc::ESRCH) => Ok(()),
            Err(error) => Err(HostError::netlink("cannot remove the route to a peer", &error)),
        }
    }
}

impl Found {
    /// A unicast route of ours in the main table to a part of `network`, not to all of it.
    fn read(message: RouteMessage, network: Ipv4Net) -> Option<Self> {
        let header = &message.header;
        let is_ours = header.protocol == PROTOCOL
            && header.kind == RouteType::Unicast
            && header.table == RouteHeader::RT_TABLE_MAIN;
        let ends = Ends::read(&message);
        let IpNet::V4(destination) = ends.destination? else { return None };
        let way = (ends.gateway.and_then(v4), ends.ifindex);
        let is_part = destination != network && network.contains(&destination);
        (is_ours && is_part).then_some(Self { destination, way, message })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_route::route::RouteProtocol;

    fn built(destination: &str) -> RouteMessageBuilder<Ipv4Addr> {
        let destination: Ipv4Net = destination.parse().unwrap();
        RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(destination.network(), destination.prefix_len())
            .gateway(Ipv4Addr::new(172, 30, 0, 12))
            .output_interface(2)
            .protocol(PROTOCOL)
    }

    fn read(route: RouteMessageBuilder<Ipv4Addr>) -> Option<Found> {
        Found::read(route.build(), "10.244.0.0/16".parse().unwrap())
    }

    #[test]
    fn a_route_of_ours_to_a_peer_is_known() {
        let found = read(built("10.244.2.0/24")).unwrap();
        assert_eq!(found.destination.to_string(), "10.244.2.0/24");
        assert_eq!(found.way, (Some(Ipv4Addr::new(172, 30, 0, 12)), Some(2)));
    }

    #[test]
    fn other_routes_are_not_ours_to_remove() {
        for other in [
            built("10.244.0.0/16"),
            built("10.0.0.0/8"),
            built("192.168.7.0/24"),
            built("10.244.2.0/24").protocol(RouteProtocol::Boot),
            built("10.244.2.0/24").kind(RouteType::BlackHole),
            built("10.244.2.0/24").table_id(100),
        ] {
            assert!(read(other.clone()).is_none(), "{:?}", other.build());
        }
    }
}
