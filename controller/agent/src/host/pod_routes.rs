//! The routes to this node's pods: made by the CNI plugin, repaired here.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use netlink_packet_route::route::{RouteMessage, RouteScope};
use rtnetlink::RouteMessageBuilder;

use nix::libc;

use super::error::errno;
use super::routes::{Ends, v4};
use super::{Host, HostError};

impl Host {
    /// Adds the routes of pods that have lost theirs; says how many.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn repair_pod_routes(
        &self,
        pods: &[(Ipv4Addr, u32)],
        gateway: Ipv4Addr,
    ) -> Result<usize, HostError> {
        if pods.is_empty() {
            return Ok(0);
        }
        let present: BTreeSet<_> = self.routes().await?.iter().filter_map(host_route).collect();
        let mut repaired = 0;
        for (address, ifindex) in pods.iter().filter(|pod| !present.contains(pod)) {
            let route = RouteMessageBuilder::<Ipv4Addr>::new()
                .destination_prefix(*address, 32)
                .output_interface(*ifindex)
                .scope(RouteScope::Link)
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
}

/// The pod and the interface that a route to a single address leads to.
pub(super) fn host_route(message: &RouteMessage) -> Option<(Ipv4Addr, u32)> {
    let (address, ifindex) = Ends::read(message).single()?;
    Some((v4(address)?, ifindex))
}
