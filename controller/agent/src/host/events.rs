//! When the host's network may have changed.

use std::net::Ipv6Addr;

use futures_util::StreamExt as _;
use netlink_packet_core::NetlinkMessage;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::SocketAddr;
use rtnetlink::MulticastGroup;

use super::next_hops::KnownHops;
use super::{Host, HostError};

/// Changes of links, addresses, routes and routing rules. What changed is not
/// told: the listener observes everything anew, but for the next hops, which the
/// host forgets as far as the change can have touched them.
pub struct Events {
    messages: Box<
        dyn futures_util::Stream<Item = (NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>
            + Unpin
            + Send,
    >,
    hops: KnownHops,
    hops6: KnownHops<Ipv6Addr>,
}

impl Host {
    /// Starts listening; to routes of IPv6 only `with_ipv6`, as every new pod's link makes some.
    ///
    /// # Errors
    /// When no netlink socket can be had.
    pub fn events(&self, with_ipv6: bool) -> Result<Events, HostError> {
        let mut groups = vec![
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv4Rule,
        ];
        if with_ipv6 {
            groups.extend([MulticastGroup::Ipv6Route, MulticastGroup::Ipv6Rule]);
        }
        let (connection, _, messages) = rtnetlink::new_multicast_connection(&groups)
            .map_err(|source| HostError::Io { what: "cannot listen for changes", source })?;
        tokio::spawn(connection);
        // What happened before is not known.
        self.forget_next_hops();
        let (hops, hops6) = (self.hops.clone(), self.hops6.clone());
        Ok(Events { messages: Box::new(messages), hops, hops6 })
    }
}

impl Events {
    /// Waits for a change.
    pub async fn changed(&mut self) {
        match self.messages.next().await {
            Some((message, _)) => {
                self.hops.note(&message.payload);
                self.hops6.note(&message.payload);
            }
            // The socket is gone: the periodic check is what remains.
            None => std::future::pending::<()>().await,
        }
    }
}
