//! When somebody may have put a qdisc or a filter on a link.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};
use nix::sys::socket::MsgFlags;
use tartan_datapath::strange_links;
use tracing::{debug, warn};

/// `RTNLGRP_TC`.
const TRAFFIC_CONTROL: u32 = 4;
/// The kernel's messages are at most this long.
const BUFFER: usize = 32 * 1024;

/// The links that were changed since somebody looked.
#[derive(Clone, Debug, Default)]
pub struct ChangedLinks(Arc<Mutex<Changed>>);

/// What was changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Changed {
    /// Nobody knows: look at every link.
    #[default]
    Any,
    /// These, by their index.
    These(BTreeSet<u32>),
}

impl ChangedLinks {
    /// What was changed; from now on, nothing.
    #[must_use]
    pub fn take(&self) -> Changed {
        let mut changed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut changed, Changed::These(BTreeSet::new()))
    }

    /// Adds to what was changed; says whether that was anything.
    fn note(&self, links: Vec<u32>) -> bool {
        let is_any = !links.is_empty();
        match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Changed::Any => {}
            Changed::These(changed) => changed.extend(links),
        }
        is_any
    }

    /// Every link is to be looked at.
    pub fn note_any(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Changed::Any;
    }
}

/// Changes of qdiscs and filters by others.
pub struct LinkEvents {
    socket: Option<TokioSocket>,
    changed: ChangedLinks,
}

impl LinkEvents {
    /// Starts listening; without a socket there is only the periodic look.
    #[must_use]
    pub fn listen(changed: ChangedLinks) -> Self {
        let socket = socket().inspect_err(|error| debug!(%error, "no events of qdiscs")).ok();
        Self { socket, changed }
    }

    /// Waits for a change. Nothing is lost when the future is dropped before it is ready.
    pub async fn changed(&mut self) {
        let Some(socket) = &mut self.socket else { return std::future::pending().await };
        let heard = hear(socket, &self.changed).await;
        if let Err(error) = heard {
            self.changed.note_any();
            if error.raw_os_error() != Some(nix::libc::ENOBUFS) {
                warn!(%error, "no more events of qdiscs: they are looked for every ten seconds");
                self.socket = None;
            }
        }
    }
}

/// Waits for a change and notes it, with what has come besides. Where some were lost the kernel
/// says ENOBUFS.
async fn hear(socket: &mut TokioSocket, changed: &ChangedLinks) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(BUFFER);
    loop {
        buffer.clear();
        socket.recv(&mut buffer).await?;
        let is_any = changed.note(strange_links(&buffer));
        if drain(socket, &mut buffer, changed)? || is_any {
            return Ok(());
        }
    }
}

/// Notes what has already come; says whether that was anything.
fn drain(socket: &TokioSocket, buffer: &mut Vec<u8>, changed: &ChangedLinks) -> io::Result<bool> {
    let mut is_any = false;
    loop {
        buffer.clear();
        match socket.socket_ref().recv(buffer, MsgFlags::MSG_DONTWAIT.bits()) {
            Ok(_) => is_any |= changed.note(strange_links(buffer)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(is_any),
            Err(error) => return Err(error),
        }
    }
}

fn socket() -> io::Result<TokioSocket> {
    let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
    socket.socket_mut().bind(&SocketAddr::new(0, 0))?;
    socket.socket_mut().add_membership(TRAFFIC_CONTROL)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_first_every_link_is_looked_at_and_then_what_changed() {
        let links = ChangedLinks::default();
        assert!(links.note(vec![3]));
        assert_eq!(links.take(), Changed::Any);
        assert!(links.note(vec![3, 5, 3]) && !links.note(vec![]));
        assert_eq!(links.take(), Changed::These([3, 5].into()));
        assert_eq!(links.take(), Changed::These(BTreeSet::new()));
        links.note_any();
        assert_eq!(links.take(), Changed::Any);
    }
}
