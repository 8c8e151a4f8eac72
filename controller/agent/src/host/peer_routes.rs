//! The host stack's routes to peers that are reached without a tunnel, one for
//! each, as flannel's host-gw and `DirectRouting` make them.
//!
//! They are the host stack's alone: what skips it goes by the map. A route that
//! somebody deletes comes back, one that nobody needs any more goes; routes
//! without our mark are replaced where they say the same and left alone elsewhere.

use std::collections::BTreeMap;
use std::net::IpAddr;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use ipnet::IpNet;
use netlink_packet_route::route::{RouteHeader, RouteMessage, RouteType};
use nix::libc;
use rtnetlink::RouteMessageBuilder;

use super::error::errno;
use super::routes::{Ends, PROTOCOL};
use super::{Host, HostError};

/// Requests under way at once.
const AT_ONCE: usize = 64;

/// What had to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteChanges {
    /// Routes that were missing, or led elsewhere.
    pub added: usize,
    /// Routes of ours that nobody needs any more.
    pub removed: usize,
}

/// A route of ours by a node to a part of the pod network.
struct Found {
    destination: IpNet,
    node: IpAddr,
    ifindex: Option<u32>,
    message: RouteMessage,
}

impl Host {
    /// Makes sure that the routes to the subnets of `wanted` lead to their nodes out of the
    /// interface `uplink`, and that no other route of ours leads by a node into parts of
    /// `network`. All of them are of one family.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn ensure_peer_routes<Subnet, Node>(
        &self,
        network: impl Into<IpNet>,
        wanted: &BTreeMap<Subnet, Node>,
        uplink: u32,
    ) -> Result<RouteChanges, HostError>
    where
        Subnet: Into<IpNet> + Copy,
        Node: Into<IpAddr> + Copy,
    {
        let network = network.into();
        let wanted: BTreeMap<IpNet, IpAddr> =
            wanted.iter().map(|(subnet, node)| ((*subnet).into(), (*node).into())).collect();
        let present: Vec<_> = self
            .routes_of(network)
            .await?
            .into_iter()
            .filter_map(|route| Found::read(route, network))
            .collect();
        let is_right = |found: &Found| {
            wanted.get(&found.destination) == Some(&found.node) && found.ifindex == Some(uplink)
        };
        let is_there = |subnet: &IpNet| {
            present.iter().any(|found| found.destination == *subnet && is_right(found))
        };
        let missing: Vec<_> = wanted.iter().filter(|(subnet, _)| !is_there(subnet)).collect();
        let added = missing.len();
        stream::iter(missing)
            .map(async |(subnet, node)| self.add_peer_route(*subnet, *node, uplink).await)
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        // There may be several routes to one destination: what leads elsewhere goes, whatever
        // else is there, and goes last.
        let stale: Vec<_> = present.into_iter().filter(|found| !is_right(found)).collect();
        let removed = stream::iter(stale)
            .map(async |found| self.remove_peer_route(found.message).await)
            .buffer_unordered(AT_ONCE)
            .try_fold(0, async |count, is_gone| Ok(count + usize::from(is_gone)))
            .await?;
        Ok(RouteChanges { added, removed })
    }

    /// All routes of a network's family.
    async fn routes_of(&self, network: IpNet) -> Result<Vec<RouteMessage>, HostError> {
        match network {
            IpNet::V4(_) => self.routes().await,
            IpNet::V6(_) => self.routes6().await,
        }
    }

    /// Adds a route, in the place of one to the same destination.
    async fn add_peer_route(
        &self,
        subnet: IpNet,
        node: IpAddr,
        uplink: u32,
    ) -> Result<(), HostError> {
        let what = format!("cannot add the route {subnet} via {node}");
        let built = RouteMessageBuilder::<IpAddr>::new()
            .destination_prefix(subnet.network(), subnet.prefix_len())
            .and_then(|route| route.gateway(node));
        let route = match built {
            Ok(route) => route.output_interface(uplink).protocol(PROTOCOL).build(),
            Err(error) => return Err(HostError::Netlink { what, cause: error.to_string() }),
        };
        let added = self.handle.route().add(route).replace().execute().await;
        added.map_err(|e| HostError::netlink(what, &e))
    }

    /// Says whether there was such a route: the one in its place may have taken it away.
    async fn remove_peer_route(&self, route: RouteMessage) -> Result<bool, HostError> {
        match self.handle.route().del(route).execute().await {
            Ok(()) => Ok(true),
            Err(error) if errno(&error) == Some(libc::ESRCH) => Ok(false),
            Err(error) => Err(HostError::netlink("cannot remove the route to a peer", &error)),
        }
    }
}

impl Found {
    /// A unicast route of ours in the main table to a part of `network`, not to all of it. Those
    /// to this node's pods lead to no node.
    fn read(message: RouteMessage, network: IpNet) -> Option<Self> {
        let header = &message.header;
        let is_ours = header.protocol == PROTOCOL
            && header.kind == RouteType::Unicast
            && header.table == RouteHeader::RT_TABLE_MAIN;
        let Ends { destination, gateway, ifindex, .. } = Ends::read(&message);
        let (destination, node) = (destination?, gateway?);
        let is_part = destination != network && network.contains(&destination);
        (is_ours && is_part).then_some(Self { destination, node, ifindex, message })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_route::route::RouteProtocol;

    fn built(destination: &str, node: &str) -> RouteMessageBuilder<IpAddr> {
        let destination: IpNet = destination.parse().unwrap();
        RouteMessageBuilder::<IpAddr>::new()
            .destination_prefix(destination.network(), destination.prefix_len())
            .unwrap()
            .gateway(node.parse().unwrap())
            .unwrap()
            .output_interface(2)
            .protocol(PROTOCOL)
    }

    fn read(route: RouteMessageBuilder<IpAddr>, network: &str) -> Option<Found> {
        Found::read(route.build(), network.parse().unwrap())
    }

    /// A network, a peer's subnet, the peer, and destinations that are not part of the network.
    const FAMILIES: [(&str, &str, &str, [&str; 3]); 2] = [
        (
            "10.244.0.0/16",
            "10.244.2.0/24",
            "172.30.0.12",
            ["10.244.0.0/16", "10.0.0.0/8", "192.168.7.0/24"],
        ),
        (
            "fd00:10:244::/56",
            "fd00:10:244:2::/64",
            "fd30::12",
            ["fd00:10:244::/56", "fd00::/16", "2001:db8::/64"],
        ),
    ];

    #[test]
    fn a_route_of_ours_to_a_peer_is_known() {
        for (network, subnet, node, _) in FAMILIES {
            let found = read(built(subnet, node), network).unwrap();
            assert_eq!(found.destination.to_string(), subnet);
            assert_eq!((found.node.to_string().as_str(), found.ifindex), (node, Some(2)));
        }
    }

    #[test]
    fn other_routes_are_not_ours_to_remove() {
        for (network, subnet, node, others) in FAMILIES {
            let peers = || built(subnet, node);
            let kinds = [
                peers().protocol(RouteProtocol::Boot),
                peers().kind(RouteType::BlackHole),
                peers().table_id(100),
            ];
            let elsewhere = others.map(|other| built(other, node));
            for other in kinds.into_iter().chain(elsewhere) {
                assert!(read(other.clone(), network).is_none(), "{:?}", other.build());
            }
        }
    }

    #[test]
    fn a_route_to_a_pod_of_this_node_leads_to_no_peer() {
        let route = RouteMessageBuilder::<IpAddr>::new()
            .destination_prefix("fd00:10:244:1::7".parse().unwrap(), 128)
            .unwrap()
            .output_interface(9)
            .protocol(PROTOCOL);
        assert!(read(route, "fd00:10:244::/56").is_none());
    }
}
