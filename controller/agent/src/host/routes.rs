//! Routes: the one of the pod network, and how peers are reached.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "netlink's attributes and errors are an open set: what is not asked for is passed over"
)]

use std::net::Ipv4Addr;

use futures_util::TryStreamExt as _;
use ipnet::Ipv4Net;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteType,
};
use rtnetlink::RouteMessageBuilder;
use tartan_core::desired::NextHop;

use super::error::errno;
use super::uplink::DefaultRoute;
use super::{Host, HostError};

/// The gateway of the pod network's route: one neighbour for all of it, that
/// never has to be resolved because the overlay device resolves none.
pub const NETWORK_GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);

/// Marks routes as ours: `T` in `ip route show proto 84`.
pub(super) const PROTOCOL: RouteProtocol = RouteProtocol::Other(b'T');

/// The kernel's answer to "how would you send to".
#[derive(Clone, Copy, Debug)]
pub(super) struct RouteTo {
    pub(super) ifindex: u32,
    pub(super) gateway: Option<Ipv4Addr>,
    pub(super) source: Option<Ipv4Addr>,
}

impl Host {
    /// Makes sure that the pod network's route leads to the overlay device.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn ensure_network_route(
        &self,
        network: Ipv4Net,
        overlay: u32,
        source: Ipv4Addr,
    ) -> Result<bool, HostError> {
        let wanted = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(network.network(), network.prefix_len())
            .gateway(NETWORK_GATEWAY)
            .output_interface(overlay)
            .pref_source(source)
            .protocol(PROTOCOL)
            .onlink()
            .build();
        self.ensure_route(wanted, &format!("{network} via the overlay device")).await
    }

    /// Adds a route unless the kernel has it just like that already.
    pub(super) async fn ensure_route(
        &self,
        wanted: RouteMessage,
        what: &str,
    ) -> Result<bool, HostError> {
        if self.routes().await?.iter().any(|route| says_the_same(route, &wanted)) {
            return Ok(false);
        }
        self.handle
            .route()
            .add(wanted)
            .replace()
            .execute()
            .await
            .map_err(|e| HostError::netlink(format!("cannot add the route {what}"), &e))?;
        Ok(true)
    }

    /// How the kernel would send to a node; no route at all is `None`.
    pub(super) async fn next_hop(&self, node: Ipv4Addr) -> Result<Option<NextHop>, HostError> {
        let route = self.route_to(node).await?;
        Ok(route
            .map(|route| NextHop { via: route.gateway.unwrap_or(node), ifindex: route.ifindex }))
    }

    pub(super) async fn route_to(&self, target: Ipv4Addr) -> Result<Option<RouteTo>, HostError> {
        let query = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(target, 32).build();
        match self.handle.route().get(query).execute().try_next().await {
            Ok(Some(message)) if message.header.kind == RouteType::Unicast => {
                Ok(read_route(&message))
            }
            Ok(_) => Ok(None),
            Err(error) => match errno(&error) {
                Some(nix::libc::ENETUNREACH | nix::libc::EHOSTUNREACH) => Ok(None),
                _ => {
                    Err(HostError::netlink(format!("cannot look up the route to {target}"), &error))
                }
            },
        }
    }

    /// The main table's first default route.
    pub(super) async fn default_route(&self) -> Result<DefaultRoute, HostError> {
        let routes = self.routes().await?;
        let default = routes.iter().find(|route| {
            route.header.destination_prefix_length == 0
                && route.header.table == RouteHeader::RT_TABLE_MAIN
                && route.header.kind == RouteType::Unicast
        });
        Ok(match default.map(read_route) {
            None => DefaultRoute::Missing,
            Some(None) => DefaultRoute::Several,
            Some(Some(route)) => DefaultRoute::Through(route.ifindex),
        })
    }

    pub(super) async fn routes(&self) -> Result<Vec<RouteMessage>, HostError> {
        let all = RouteMessageBuilder::<Ipv4Addr>::new().build();
        self.handle
            .route()
            .get(all)
            .execute()
            .try_collect()
            .await
            .map_err(|e| HostError::netlink("cannot list routes", &e))
    }
}

fn read_route(message: &RouteMessage) -> Option<RouteTo> {
    let mut ifindex = None;
    let (mut gateway, mut source) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => ifindex = Some(*index),
            RouteAttribute::Gateway(RouteAddress::Inet(ip)) => gateway = Some(*ip),
            RouteAttribute::PrefSource(RouteAddress::Inet(ip)) => source = Some(*ip),
            _ => {}
        }
    }
    Some(RouteTo { ifindex: ifindex?, gateway, source })
}

/// Whether the kernel's route has everything that the wanted one says.
pub(super) fn says_the_same(route: &RouteMessage, wanted: &RouteMessage) -> bool {
    route.header.destination_prefix_length == wanted.header.destination_prefix_length
        && route.header.table == RouteHeader::RT_TABLE_MAIN
        && route.header.protocol == wanted.header.protocol
        && wanted.attributes.iter().all(|attribute| route.attributes.contains(attribute))
}
