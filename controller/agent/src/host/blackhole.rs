//! The blackhole route of the node's own subnet (`--ip-blackhole-route`): a packet for an address
//! that no pod has ends here instead of going back to the pod network's route. Meant for nodes
//! whose pods have no bridge (Canal, and our own); each pod's own route is longer and wins.

use std::net::{Ipv4Addr, Ipv6Addr};

use futures_util::TryStreamExt as _;
use ipnet::IpNet;
use netlink_packet_route::route::{RouteHeader, RouteMessage, RouteType};
use nix::libc;
use rtnetlink::RouteMessageBuilder;

use super::error::errno;
use super::routes::{Ends, PROTOCOL};
use super::{Host, HostError};

/// How it stands with the route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blackhole {
    /// It was there.
    There,
    /// It is there now.
    Added,
    /// Somebody has another route to the same subnet, as a bridge has: it stays.
    Taken,
}

impl Host {
    /// Makes sure that the route is there.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn ensure_blackhole(&self, subnet: IpNet) -> Result<Blackhole, HostError> {
        if self.blackholes(subnet).await?.iter().any(|route| destination(route) == Some(subnet)) {
            return Ok(Blackhole::There);
        }
        match self.handle.route().add(message(subnet)).execute().await {
            Ok(()) => Ok(Blackhole::Added),
            Err(error) if errno(&error) == Some(libc::EEXIST) => Ok(Blackhole::Taken),
            Err(error) => {
                Err(HostError::netlink(format!("cannot add the blackhole route {subnet}"), &error))
            }
        }
    }

    /// Removes blackhole routes of ours, of the family of `keep`, to anything else.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn remove_blackholes_but(
        &self,
        family: IpNet,
        keep: Option<IpNet>,
    ) -> Result<usize, HostError> {
        let mut removed = 0;
        for route in self.blackholes(family).await? {
            let is_ours = route.header.protocol == PROTOCOL;
            if is_ours && (keep.is_none() || destination(&route) != keep) {
                self.handle.route().del(route).execute().await.map_err(|error| {
                    HostError::netlink("cannot remove a blackhole route", &error)
                })?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Blackhole routes of the main table, of the family of `like`.
    async fn blackholes(&self, like: IpNet) -> Result<Vec<RouteMessage>, HostError> {
        let all = match like {
            IpNet::V4(_) => RouteMessageBuilder::<Ipv4Addr>::new().build(),
            IpNet::V6(_) => RouteMessageBuilder::<Ipv6Addr>::new().build(),
        };
        let routes: Vec<_> = self
            .handle
            .route()
            .get(all)
            .execute()
            .try_collect()
            .await
            .map_err(|error| HostError::netlink("cannot list routes", &error))?;
        let is_one = |route: &RouteMessage| {
            route.header.kind == RouteType::BlackHole
                && route.header.table == RouteHeader::RT_TABLE_MAIN
        };
        Ok(routes.into_iter().filter(is_one).collect())
    }
}

fn message(subnet: IpNet) -> RouteMessage {
    match subnet {
        IpNet::V4(net) => RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(net.network(), net.prefix_len())
            .kind(RouteType::BlackHole)
            .protocol(PROTOCOL)
            .build(),
        IpNet::V6(net) => RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(net.network(), net.prefix_len())
            .kind(RouteType::BlackHole)
            .protocol(PROTOCOL)
            .build(),
    }
}

fn destination(route: &RouteMessage) -> Option<IpNet> {
    Ends::read(route).destination
}
