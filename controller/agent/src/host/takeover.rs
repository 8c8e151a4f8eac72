//! What flannel leaves on a node, and what becomes of it once our own way to the
//! pods is in place.
//!
//! Its route to each peer goes: the pod network's one route leads to the same
//! device, and a route to a node that is gone must not outlive it. Forwarding
//! entries and neighbours on its device stay: they are of no use to us and of
//! some to a flannel that comes back. Its bridge stays for the pods on it.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "netlink's attributes are an open set: what is not asked for is passed over"
)]

use std::net::Ipv4Addr;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use ipnet::{IpNet, Ipv4Net};
use netlink_packet_route::route::{
    RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteType,
};
use nix::libc;
use tartan_core::PodCidr;

use super::error::errno;
use super::routes::{Ends, PROTOCOL, v4};
use super::{Host, HostError, NETWORK_GATEWAY};

/// Requests under way at once.
const AT_ONCE: usize = 64;

impl Host {
    /// Removes flannel's routes to single peers; says how many. Call it when maps, hooks and the
    /// pod network's route are in place: without that route nothing is removed.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn remove_peer_routes(
        &self,
        network: Ipv4Net,
        own: PodCidr,
        overlay: u32,
    ) -> Result<usize, HostError> {
        let routes: Vec<_> = self.routes().await?.iter().filter_map(Route::read).collect();
        if !routes.iter().any(|route| route.is_networks(network, overlay)) {
            return Ok(0);
        }
        let stale = routes.into_iter().filter(|route| route.is_peers(network, own.net(), overlay));
        let removed: Vec<_> = stream::iter(stale)
            .map(|route| self.remove_route(route.message))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(removed.len())
    }

    async fn remove_route(&self, route: RouteMessage) -> Result<(), HostError> {
        match self.handle.route().del(route).execute().await {
            Ok(()) => Ok(()),
            // Somebody was faster.
            Err(error) if errno(&error) == Some(libc::ESRCH) => Ok(()),
            Err(error) => Err(HostError::netlink("cannot remove a route of flannel's", &error)),
        }
    }
}

/// A route, as far as it tells whose it is.
#[derive(Clone, Debug)]
struct Route {
    destination: Ipv4Net,
    gateway: Ipv4Addr,
    ifindex: u32,
    message: RouteMessage,
}

impl Route {
    /// A unicast route of the main table with a gateway on one device.
    fn read(message: &RouteMessage) -> Option<Self> {
        let header = &message.header;
        let is_plain = header.kind == RouteType::Unicast
            && header.table == RouteHeader::RT_TABLE_MAIN
            && header.flags.contains(RouteFlags::Onlink);
        if !is_plain {
            return None;
        }
        let ends = Ends::read(message);
        let IpNet::V4(destination) = ends.destination? else { return None };
        let (gateway, ifindex) = (ends.gateway.and_then(v4)?, ends.ifindex?);
        Some(Self { destination, gateway, ifindex, message: message.clone() })
    }

    /// Ours, for the whole pod network.
    fn is_networks(&self, network: Ipv4Net, overlay: u32) -> bool {
        self.destination == network
            && self.gateway == NETWORK_GATEWAY
            && self.ifindex == overlay
            && self.message.header.protocol == PROTOCOL
    }

    /// Exactly as flannel makes one (`pkg/backend/vxlan/vxlan_network.go`): the first address of
    /// the peer's subnet is its gateway, and nothing else is said.
    fn is_peers(&self, network: Ipv4Net, own: Ipv4Net, overlay: u32) -> bool {
        let says_more = self.message.attributes.iter().any(|attribute| match attribute {
            RouteAttribute::PrefSource(_) | RouteAttribute::Metrics(_) => true,
            RouteAttribute::Priority(metric) => *metric != 0,
            _ => false,
        });
        self.ifindex == overlay
            && self.message.header.protocol == RouteProtocol::Boot
            && self.destination != network
            && self.destination != own
            && network.contains(&self.destination)
            && self.gateway == self.destination.network()
            && !says_more
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtnetlink::RouteMessageBuilder;

    const OVERLAY: u32 = 7;

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    fn built(destination: &str, gateway: [u8; 4], ifindex: u32) -> RouteMessageBuilder<Ipv4Addr> {
        let destination = net(destination);
        RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(destination.network(), destination.prefix_len())
            .gateway(gateway.into())
            .output_interface(ifindex)
            .protocol(RouteProtocol::Boot)
            .onlink()
    }

    fn is_peers(route: RouteMessageBuilder<Ipv4Addr>) -> bool {
        let (network, own) = (net("10.244.0.0/16"), net("10.244.1.0/24"));
        Route::read(&route.build()).is_some_and(|route| route.is_peers(network, own, OVERLAY))
    }

    #[test]
    fn a_route_of_flannels_to_a_peer_is_known() {
        assert!(is_peers(built("10.244.2.0/24", [10, 244, 2, 0], OVERLAY)));
    }

    #[test]
    fn any_other_shape_is_not_ours_to_remove() {
        for other in [
            built("10.244.2.0/24", [10, 244, 2, 0], 3),
            built("10.244.2.0/24", [10, 244, 2, 1], OVERLAY),
            built("10.244.1.0/24", [10, 244, 1, 0], OVERLAY),
            built("10.0.0.0/8", [10, 0, 0, 0], OVERLAY),
            built("192.168.7.0/24", [192, 168, 7, 0], OVERLAY),
            built("10.244.0.0/16", [10, 244, 0, 0], OVERLAY),
            built("10.244.2.0/24", [10, 244, 2, 0], OVERLAY).protocol(RouteProtocol::Static),
            built("10.244.2.0/24", [10, 244, 2, 0], OVERLAY).priority(100),
            built("10.244.2.0/24", [10, 244, 2, 0], OVERLAY).pref_source([10, 244, 1, 0].into()),
            built("10.244.2.0/24", [10, 244, 2, 0], OVERLAY).table_id(100),
        ] {
            assert!(!is_peers(other.clone()), "{:?}", other.build());
        }
    }

    #[test]
    fn our_own_route_is_known_and_no_peers() {
        let ours =
            built("10.244.0.0/16", NETWORK_GATEWAY.octets(), OVERLAY).protocol(PROTOCOL).build();
        let ours = Route::read(&ours).unwrap();
        assert!(ours.is_networks(net("10.244.0.0/16"), OVERLAY));
        assert!(!ours.is_peers(net("10.0.0.0/8"), net("10.244.1.0/24"), OVERLAY));
    }
}
