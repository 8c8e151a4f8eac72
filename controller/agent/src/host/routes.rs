//! Routes: the one of the pod network, and how peers are reached.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "netlink's attributes and errors are an open set: what is not asked for is passed over"
)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::TryStreamExt as _;
use ipnet::{IpNet, Ipv4Net};
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

    /// The same of IPv6.
    pub(super) async fn next_hop6(
        &self,
        node: Ipv6Addr,
    ) -> Result<Option<NextHop<Ipv6Addr>>, HostError> {
        let query = RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(node, 128).build();
        let ends = self.ends_of(query, node.into()).await?;
        Ok(ends.and_then(|ends| {
            let via = ends.gateway.and_then(v6).unwrap_or(node);
            Some(NextHop { via, ifindex: ends.ifindex? })
        }))
    }

    pub(super) async fn route_to(&self, target: Ipv4Addr) -> Result<Option<RouteTo>, HostError> {
        let query = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(target, 32).build();
        Ok(self.ends_of(query, target.into()).await?.and_then(read_route))
    }

    /// What the kernel answers to a question for one route.
    async fn ends_of(
        &self,
        query: RouteMessage,
        target: IpAddr,
    ) -> Result<Option<Ends>, HostError> {
        match self.handle.route().get(query).execute().try_next().await {
            Ok(Some(message)) if message.header.kind == RouteType::Unicast => {
                Ok(Some(Ends::read(&message)))
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
        Ok(default_of(&self.routes().await?))
    }

    /// The same of IPv6.
    pub(super) async fn default_route6(&self) -> Result<DefaultRoute, HostError> {
        Ok(default_of(&self.routes6().await?))
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

/// What a route's message says of its ends.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ends {
    /// The default route has none.
    pub(super) destination: Option<IpNet>,
    pub(super) gateway: Option<IpAddr>,
    pub(super) source: Option<IpAddr>,
    /// Several next hops have none.
    pub(super) ifindex: Option<u32>,
}

impl Ends {
    pub(super) fn read(message: &RouteMessage) -> Self {
        let mut ends = Self::default();
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(to) => {
                    let len = message.header.destination_prefix_length;
                    ends.destination = address(to).and_then(|ip| IpNet::new(ip, len).ok());
                }
                RouteAttribute::Gateway(via) => ends.gateway = address(via),
                RouteAttribute::PrefSource(from) => ends.source = address(from),
                RouteAttribute::Oif(index) => ends.ifindex = Some(*index),
                _ => {}
            }
        }
        ends
    }

    /// The single address that the route is for, and the interface that it leads to.
    pub(super) fn single(self) -> Option<(IpAddr, u32)> {
        let to = self.destination.filter(|to| to.prefix_len() == to.max_prefix_len())?;
        Some((to.addr(), self.ifindex?))
    }
}

fn address(one: &RouteAddress) -> Option<IpAddr> {
    match one {
        RouteAddress::Inet(ip) => Some((*ip).into()),
        RouteAddress::Inet6(ip) => Some((*ip).into()),
        _ => None,
    }
}

/// The IPv4 address, if it is one.
pub(super) fn v4(ip: IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    }
}

fn default_of(routes: &[RouteMessage]) -> DefaultRoute {
    let default = routes.iter().find(|route| {
        route.header.destination_prefix_length == 0
            && route.header.table == RouteHeader::RT_TABLE_MAIN
            && route.header.kind == RouteType::Unicast
    });
    match default.map(|route| Ends::read(route).ifindex) {
        None => DefaultRoute::Missing,
        Some(None) => DefaultRoute::Several,
        Some(Some(ifindex)) => DefaultRoute::Through(ifindex),
    }
}

/// The IPv6 address, if it is one.
pub(super) fn v6(ip: IpAddr) -> Option<Ipv6Addr> {
    match ip {
        IpAddr::V4(_) => None,
        IpAddr::V6(ip) => Some(ip),
    }
}

fn read_route(ends: Ends) -> Option<RouteTo> {
    let (gateway, source) = (ends.gateway.and_then(v4), ends.source.and_then(v4));
    Some(RouteTo { ifindex: ends.ifindex?, gateway, source })
}

/// Whether the kernel's route has everything that the wanted one says.
pub(super) fn says_the_same(route: &RouteMessage, wanted: &RouteMessage) -> bool {
    route.header.destination_prefix_length == wanted.header.destination_prefix_length
        && route.header.table == RouteHeader::RT_TABLE_MAIN
        && route.header.protocol == wanted.header.protocol
        && wanted.attributes.iter().all(|attribute| route.attributes.contains(attribute))
}
