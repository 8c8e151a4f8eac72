//! The host: links, addresses and routes, through rtnetlink.
//!
//! Everything here observes first and changes only what differs, so it can be
//! called again and again; nothing that is not ours is touched.

mod addresses;
mod blackhole;
mod error;
mod events;
mod gateway;
mod ipv6;
mod link_events;
mod links;
mod next_hops;
mod overlay;
mod peer_routes;
mod pod_behind;
mod pod_routes;
mod routes;
mod sysctl;
mod takeover;
mod uplink;

pub use blackhole::Blackhole;
pub use error::HostError;
pub use events::Events;
pub use ipv6::{Network6, gateway6};
pub use link_events::{Changed, ChangedLinks, LinkEvents};
pub use links::Link;
pub use overlay::{Overlay, OverlayKind, OverlaySpec};
pub use peer_routes::RouteChanges;
pub use routes::NETWORK_GATEWAY;
pub use uplink::{Uplink, UplinkChoice};

use std::net::Ipv6Addr;

use rtnetlink::Handle;

use self::next_hops::KnownHops;

/// The host's network, in the namespace that the process runs in.
#[derive(Clone, Debug)]
pub struct Host {
    handle: Handle,
    hops: KnownHops,
    hops6: KnownHops<Ipv6Addr>,
}

impl Host {
    /// Connects to the kernel; the connection runs as a task of the current runtime.
    ///
    /// # Errors
    /// When no netlink socket can be had.
    pub fn connect() -> Result<Self, HostError> {
        let (connection, handle, _) = rtnetlink::new_connection()
            .map_err(|source| HostError::Io { what: "cannot open a netlink socket", source })?;
        tokio::spawn(connection);
        Ok(Self { handle, hops: KnownHops::default(), hops6: KnownHops::default() })
    }
}
