//! IPv6 beside IPv4 on the same overlay device: its addresses, the pod
//! network's route, and the routes to this node's pods.
//!
//! The device in collect-metadata mode has a socket of each family and needs
//! no twin. What a tunnel over IPv6 costs more than one over IPv4 is the
//! route's MTU, which the kernel heeds when it forwards as when it sends.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use futures_util::TryStreamExt as _;
use ipnet::Ipv6Net;
use netlink_packet_route::address::{AddressAttribute, AddressFlags};
use netlink_packet_route::route::{RouteAttribute, RouteMessage, RouteMetric};
use nix::libc;
use rtnetlink::RouteMessageBuilder;
use tartan_common::Mtu;

use super::error::errno;
use super::routes::{Ends, PROTOCOL, says_the_same};
use super::{Host, HostError};

/// The gateway of the pod network's route: one neighbour for all of it, as
/// [`NETWORK_GATEWAY`](super::NETWORK_GATEWAY) is. Nobody answers to it, and nobody asks.
const NETWORK_GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// What the host needs to reach the IPv6 pods of other nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network6 {
    /// The IPv6 pod network.
    pub network: Ipv6Net,
    /// This node's subnet.
    pub subnet: Ipv6Net,
    /// The largest packet that fits into the tunnel.
    pub mtu: Mtu,
}

/// The first address of a subnet that is a pod's next hop.
#[must_use]
pub fn gateway6(subnet: Ipv6Net) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(subnet.network()) | 1)
}

impl Host {
    /// Gives the overlay device its IPv6 addresses and makes sure that the pod network's route
    /// leads to it. Says whether anything had to be done.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn connect_ipv6(&self, overlay: u32, to: &Network6) -> Result<bool, HostError> {
        let mut changed = false;
        for address in [to.subnet.network(), gateway6(to.subnet)] {
            changed |= self.ensure_address6(overlay, address).await?;
        }
        let mut wanted = RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(to.network.network(), to.network.prefix_len())
            .gateway(NETWORK_GATEWAY6)
            .output_interface(overlay)
            .pref_source(to.subnet.network())
            .protocol(PROTOCOL)
            .build();
        let mtu = RouteMetric::Mtu(u32::from(to.mtu.get()));
        wanted.attributes.push(RouteAttribute::Metrics(vec![mtu]));
        if self.routes6().await?.iter().any(|route| says_the_same(route, &wanted)) {
            return Ok(changed);
        }
        self.add_route6(wanted, &format!("{} via the overlay device", to.network)).await?;
        Ok(true)
    }

    async fn ensure_address6(&self, ifindex: u32, address: Ipv6Addr) -> Result<bool, HostError> {
        let is_it = |one: &super::addresses::Address| {
            one.ifindex == ifindex && one.ip == IpAddr::V6(address) && one.prefix_len == 128
        };
        if self.all_addresses().await?.iter().any(is_it) {
            return Ok(false);
        }
        let mut request = self.handle.address().add(ifindex, address.into(), 128);
        // Nobody else on a device without neighbours could have it.
        let flags = AddressAttribute::Flags(AddressFlags::Nodad);
        request.message_mut().attributes.push(flags);
        match request.execute().await {
            Ok(()) => Ok(true),
            Err(error) if errno(&error) == Some(libc::EEXIST) => Ok(false),
            Err(error) => {
                let what = format!("cannot give {address} to the overlay device");
                Err(HostError::netlink(what, &error))
            }
        }
    }

    /// Adds the routes of pods that have lost theirs; says how many.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn repair_pod_routes6(&self, pods: &[(Ipv6Addr, u32)]) -> Result<usize, HostError> {
        if pods.is_empty() {
            return Ok(0);
        }
        let present: BTreeSet<_> = self.pod_routes6().await?.into_iter().collect();
        let mut repaired = 0;
        for (address, ifindex) in pods.iter().filter(|pod| !present.contains(pod)) {
            let route = RouteMessageBuilder::<Ipv6Addr>::new()
                .destination_prefix(*address, 128)
                .output_interface(*ifindex)
                .build();
            match self.handle.route().add(route).replace().execute().await {
                Ok(()) => repaired += 1,
                // The pod is leaving, or its interface is just being set up.
                Err(error) if matches!(errno(&error), Some(libc::ENODEV | libc::ENETDOWN)) => {}
                Err(error) => {
                    let what = format!("cannot add the route to pod {address}");
                    return Err(HostError::netlink(what, &error));
                }
            }
        }
        Ok(repaired)
    }

    /// Routes to single addresses, with the interfaces that they lead to.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn pod_routes6(&self) -> Result<Vec<(Ipv6Addr, u32)>, HostError> {
        Ok(self.routes6().await?.iter().filter_map(host_route).collect())
    }

    async fn add_route6(&self, route: RouteMessage, what: &str) -> Result<(), HostError> {
        let added = self.handle.route().add(route).replace().execute().await;
        added.map_err(|e| HostError::netlink(format!("cannot add the route {what}"), &e))
    }

    async fn routes6(&self) -> Result<Vec<RouteMessage>, HostError> {
        let all = RouteMessageBuilder::<Ipv6Addr>::new().build();
        let routes = self.handle.route().get(all).execute().try_collect().await;
        routes.map_err(|e| HostError::netlink("cannot list IPv6 routes", &e))
    }
}

fn host_route(message: &RouteMessage) -> Option<(Ipv6Addr, u32)> {
    match Ends::read(message).single()? {
        (IpAddr::V6(address), ifindex) => Some((address, ifindex)),
        (IpAddr::V4(_), _) => None,
    }
}
