//! The routes of the agent that no device takes with it: those to nodes on the
//! link, and the blackhole routes of `--ip-blackhole-route`. And the gateway's
//! address, where the loopback device has it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use futures_util::TryStreamExt as _;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use rtnetlink::RouteMessageBuilder;

use tartan_core::PodCidr;
use tartan_core::state::AgentState;

use super::overlay::{NETWORK_GATEWAY, PROTOCOL};

/// Removes them, or only names them.
pub(super) async fn remove(dry_run: bool) -> Result<Vec<String>> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    tokio::spawn(connection);
    let mut removed = Vec::new();
    let families = [
        RouteMessageBuilder::<Ipv4Addr>::new().build(),
        RouteMessageBuilder::<Ipv6Addr>::new().build(),
    ];
    for family in families {
        let routes: Vec<_> = handle.route().get(family).execute().try_collect().await?;
        for route in routes.into_iter().filter(is_ours) {
            removed.push(name(&route));
            if !dry_run {
                handle.route().del(route).execute().await?;
            }
        }
    }
    Ok(removed)
}

/// Takes the gateway's address off the loopback device, or only names it.
pub(super) async fn remove_gateway(
    state: Option<&AgentState>,
    dry_run: bool,
) -> Result<Option<String>> {
    let subnet = state.and_then(|state| state.subnet.as_ref()?.parse().ok());
    let Some(gateway) = subnet.and_then(|net| PodCidr::new(net).ok()).map(PodCidr::gateway) else {
        return Ok(None);
    };
    let (connection, handle, _) = rtnetlink::new_connection()?;
    tokio::spawn(connection);
    let all: Vec<_> = handle.address().get().execute().try_collect().await?;
    let local = AddressAttribute::Local(IpAddr::V4(gateway));
    let is_it = |one: &AddressMessage| {
        one.header.index == LOOPBACK
            && one.header.prefix_len == 32
            && one.attributes.contains(&local)
    };
    let Some(found) = all.into_iter().find(is_it) else {
        return Ok(None);
    };
    if !dry_run {
        handle.address().del(found).execute().await?;
    }
    Ok(Some(format!("address {gateway}/32 of the loopback device")))
}

/// The loopback device is always the first.
const LOOPBACK: u32 = 1;

/// The pod network's own route goes with the overlay device.
fn is_ours(route: &RouteMessage) -> bool {
    let networks = RouteAttribute::Gateway(RouteAddress::Inet(NETWORK_GATEWAY));
    route.header.protocol == PROTOCOL && !route.attributes.contains(&networks)
}

fn name(route: &RouteMessage) -> String {
    let kind = if route.header.kind == RouteType::BlackHole { "blackhole route" } else { "route" };
    format!("{kind} {}", destination(route))
}

fn destination(route: &RouteMessage) -> String {
    let address = route.attributes.iter().find_map(|attribute| {
        let RouteAttribute::Destination(address) = attribute else { return None };
        if let RouteAddress::Inet(ip) = address {
            return Some(ip.to_string());
        }
        let RouteAddress::Inet6(ip) = address else { return None };
        Some(ip.to_string())
    });
    format!("{}/{}", address.unwrap_or_default(), route.header.destination_prefix_length)
}
