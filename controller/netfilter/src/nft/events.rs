//! Changes of nf_tables, as the kernel tells them to everybody who listens.

use std::io;

use netlink_sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};
use nix::sys::socket::MsgFlags;

use super::socket::{io_error, no_socket};
use super::uapi::{NETLINK_NETFILTER, NFNLGRP_NFTABLES};
use crate::NetfilterError;

/// What the events say does not matter, only that they come.
const BUFFER: usize = 8 * 1024;

/// Changes of nf_tables by anybody.
pub struct NftEvents {
    socket: TokioSocket,
}

impl std::fmt::Debug for NftEvents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NftEvents").finish_non_exhaustive()
    }
}

impl NftEvents {
    /// Starts listening; needs a tokio runtime.
    ///
    /// # Errors
    /// As [`super::Nft::open`].
    pub fn listen() -> Result<Self, NetfilterError> {
        super::Nft::open()?;
        let mut socket = TokioSocket::new(NETLINK_NETFILTER).map_err(no_socket)?;
        socket
            .socket_mut()
            .bind(&SocketAddr::new(0, 0))
            .map_err(io_error("bind a netlink socket"))?;
        socket
            .socket_mut()
            .add_membership(NFNLGRP_NFTABLES)
            .map_err(io_error("listen to changes of nf_tables"))?;
        Ok(Self { socket })
    }

    /// Waits for a change by somebody; lost events count as a change. Nothing is lost when the
    /// future is dropped before it is ready. Events that have already come are one change.
    pub async fn changed(&mut self) {
        let mut buffer = Vec::with_capacity(BUFFER);
        // An error means that events were lost (ENOBUFS): the caller has to look.
        let _ = self.socket.recv(&mut buffer).await;
        self.drain(&mut buffer);
    }

    fn drain(&self, buffer: &mut Vec<u8>) {
        loop {
            buffer.clear();
            match self.socket.socket_ref().recv(buffer, MsgFlags::MSG_DONTWAIT.bits()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Ok(_) | Err(_) => {}
            }
        }
    }
}
