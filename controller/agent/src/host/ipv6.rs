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
use netlink_packet_route::address::{AddressAttribute, AddressFlags, CacheInfo};
use netlink_packet_route::route::{RouteAttribute, RouteMessage, RouteMetric, RouteProtocol};
use nix::libc;
use rtnetlink::RouteMessageBuilder;
use tartan_common::Mtu;

use super::error::errno;
use super::routes::{Ends, PROTOCOL, says_the_same};
use super::{Host, HostError, Uplink};

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
        // What the host masquerades into the tunnel gets the subnet's first address, as flannel's
        // device has no other: the gateway's is not preferred.
        for (address, preferred) in [(to.subnet.network(), true), (gateway6(to.subnet), false)] {
            changed |= self.ensure_address6(overlay, address, preferred).await?;
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

    async fn ensure_address6(
        &self,
        ifindex: u32,
        address: Ipv6Addr,
        preferred: bool,
    ) -> Result<bool, HostError> {
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
        if !preferred {
            let mut lifetimes = CacheInfo::default();
            (lifetimes.ifa_preferred, lifetimes.ifa_valid) = (0, u32::MAX);
            request.message_mut().attributes.push(AddressAttribute::CacheInfo(lifetimes));
        }
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
    pub async fn repair_pod_routes6(
        &self,
        pods: &[(Ipv6Addr, u32)],
        gateway: Ipv6Addr,
    ) -> Result<usize, HostError> {
        if pods.is_empty() {
            return Ok(0);
        }
        let present: BTreeSet<_> = self.pod_routes6().await?.into_iter().collect();
        let mut repaired = 0;
        for (address, ifindex) in pods.iter().filter(|pod| !present.contains(pod)) {
            let route = RouteMessageBuilder::<Ipv6Addr>::new()
                .destination_prefix(*address, 128)
                .output_interface(*ifindex)
                .pref_source(gateway)
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

    /// Why this link may lose its way out, or has lost it: it learns it from router advertisements,
    /// and a kernel that forwards does not listen to them unless told to.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn router_trouble(&self, uplink: &Uplink) -> Result<Option<String>, HostError> {
        let Uplink { ifindex, name, .. } = uplink;
        if Self::accept_ra(name) != Some(1) {
            return Ok(None);
        }
        let learned = |route: &RouteMessage| {
            route.header.protocol == RouteProtocol::Ra
                && Ends::read(route).ifindex == Some(*ifindex)
        };
        let is_lent = |one: &super::addresses::Address| {
            one.ifindex == *ifindex
                && matches!(one.ip, IpAddr::V6(ip) if !ip.is_unicast_link_local())
                && !one.flags.contains(AddressFlags::Permanent)
        };
        let is_learned = self.routes6().await?.iter().any(learned)
            || self.all_addresses().await?.iter().any(is_lent);
        Ok(is_learned.then(|| {
            format!(
                "{name} learns addresses or routes from router advertisements, which a node that \
                 forwards ignores: its default route goes, or is gone; set \
                 net.ipv6.conf.{name}.accept_ra=2"
            )
        }))
    }

    pub(super) async fn add_route6(
        &self,
        route: RouteMessage,
        what: &str,
    ) -> Result<(), HostError> {
        let added = self.handle.route().add(route).replace().execute().await;
        added.map_err(|e| HostError::netlink(format!("cannot add the route {what}"), &e))
    }

    pub(super) async fn routes6(&self) -> Result<Vec<RouteMessage>, HostError> {
        let all = RouteMessageBuilder::<Ipv6Addr>::new().build();
        let routes = self.handle.route().get(all).execute().try_collect().await;
        routes.map_err(|e| HostError::netlink("cannot list IPv6 routes", &e))
    }
}

/// The pod and the interface that a route leads to. The kernel's own routes lead to the addresses
/// of this node, such as the gateway's on every pod's link.
fn host_route(message: &RouteMessage) -> Option<(Ipv6Addr, u32)> {
    if message.header.protocol == RouteProtocol::Kernel {
        return None;
    }
    match Ends::read(message).single()? {
        (IpAddr::V6(address), ifindex) => Some((address, ifindex)),
        (IpAddr::V4(_), _) => None,
    }
}
