//! When the host's network may have changed.

use futures_util::StreamExt as _;
use netlink_packet_core::NetlinkMessage;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::SocketAddr;
use rtnetlink::MulticastGroup;

use super::HostError;

/// Changes of links, addresses and routes. What changed is not told: the
/// listener observes everything anew.
pub struct Events {
    messages: Box<
        dyn futures_util::Stream<Item = (NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>
            + Unpin
            + Send,
    >,
}

impl Events {
    /// Starts listening.
    ///
    /// # Errors
    /// When no netlink socket can be had.
    pub fn listen() -> Result<Self, HostError> {
        let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv4Route];
        let (connection, _, messages) = rtnetlink::new_multicast_connection(&groups)
            .map_err(|source| HostError::Io { what: "cannot listen for changes", source })?;
        tokio::spawn(connection);
        Ok(Self { messages: Box::new(messages) })
    }

    /// Waits for a change.
    pub async fn changed(&mut self) {
        if self.messages.next().await.is_none() {
            // The socket is gone: the periodic check is what remains.
            std::future::pending::<()>().await;
        }
    }
}
