//! When the packet filter may have changed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tartan_netfilter::nft::NftEvents;
use tartan_netfilter::{Glances, glance};
use tokio::time::sleep;
use tracing::debug;

/// xtables tells nobody of a change: its tables are looked at this often where there are any,
const LOOK: Duration = Duration::from_millis(500);
/// and this often where there are none yet.
const LOOK_FOR_FIRST: Duration = Duration::from_secs(2);

/// The xtables tables as the reconciler knows them. A change that was undone and made again
/// between two looks is still a change for whoever undid it.
#[derive(Debug, Clone, Default)]
pub(super) struct Known(Arc<Mutex<Glances>>);

impl Known {
    pub(super) fn set(&self, seen: &Glances) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone_from(seen);
    }

    fn get(&self) -> Glances {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Changes of anybody's rules in either engine. What changed is not told.
#[derive(Debug)]
pub struct FirewallEvents {
    nft: Option<NftEvents>,
    known: Known,
}

impl FirewallEvents {
    /// Starts listening; without nf_tables there is only xtables to look at.
    pub(super) fn listen(known: Known) -> Self {
        let nft = NftEvents::listen()
            .inspect_err(|problem| debug!(%problem, "no events of nf_tables"))
            .ok();
        Self { nft, known }
    }

    /// Waits for a change.
    pub async fn changed(&mut self) {
        tokio::select! {
            () = nft_changed(self.nft.as_mut()) => {}
            () = xtables_changed(&self.known) => {}
        }
    }
}

async fn nft_changed(events: Option<&mut NftEvents>) {
    match events {
        Some(events) => events.changed().await,
        None => std::future::pending().await,
    }
}

async fn xtables_changed(known: &Known) {
    loop {
        sleep(if known.get().is_empty() { LOOK_FOR_FIRST } else { LOOK }).await;
        // What cannot be read now is tried again; the pass says why it cannot.
        if glance().is_ok_and(|now| now != known.get()) {
            return;
        }
    }
}
