//! The blackhole routes that the agent keeps with `--ip-blackhole-route`.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use futures_util::TryStreamExt as _;
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use rtnetlink::RouteMessageBuilder;

use super::overlay::PROTOCOL;

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
            removed.push(format!("blackhole route {}", destination(&route)));
            if !dry_run {
                handle.route().del(route).execute().await?;
            }
        }
    }
    Ok(removed)
}

fn is_ours(route: &RouteMessage) -> bool {
    route.header.protocol == PROTOCOL && route.header.kind == RouteType::BlackHole
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
