//! What the node knew last: read once at start, written after changes.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tartan_core::{LastKnown, Lease, Lease6};
use tracing::{info, warn};

use super::Node;
use crate::settings::Settings;
use crate::store::{LeaseStore, OwnLeases, Snapshot, Wishes};

/// Changes come in swarms; the file of a large cluster is a few megabytes.
const AT_MOST_EVERY: Duration = Duration::from_secs(5);

/// The file, and what is in it.
#[derive(Debug, Default)]
pub(super) struct Memory {
    path: Option<PathBuf>,
    /// What the file holds, as far as we know.
    written: Option<LastKnown>,
    /// What the file should hold by now.
    pending: Option<LastKnown>,
    tried_at: Option<Instant>,
    trouble: Option<String>,
    /// The node was in service before this agent started.
    from_file: bool,
}

impl Memory {
    /// Reads the file; one that cannot be used is as good as none.
    pub(super) fn open(path: Option<PathBuf>, settings: &Settings) -> Self {
        let mut memory = Self { path, ..Self::default() };
        let Some(path) = &memory.path else { return memory };
        match LastKnown::read(path) {
            Ok(Some(known)) if fits(&known, settings) => {
                memory.written = Some(known);
                memory.from_file = true;
            }
            Ok(Some(known)) => {
                info!(file = %path.display(), of = known.node_name, subnet = shown(&known),
                    "what was known last is of another node or network and is not used");
            }
            Ok(None) => {}
            Err(error) => {
                warn!(file = %path.display(), %error, "cannot read what was known last; going on without");
            }
        }
        memory
    }

    /// What the node knew before this agent started.
    pub(super) fn recalled(&self) -> Option<&LastKnown> {
        self.written.as_ref().filter(|_| self.from_file)
    }

    /// Whether the lease was published before this agent started.
    pub(super) fn was_published(&self) -> bool {
        self.from_file
    }

    /// Why the file cannot be written, if it cannot.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.clone()
    }

    /// When the file has to be written, if it has to.
    pub(super) fn due_in(&self) -> Option<Duration> {
        self.pending.as_ref()?;
        Some(self.tried_at.map_or(Duration::ZERO, |at| AT_MOST_EVERY.saturating_sub(at.elapsed())))
    }

    /// Whether the file says just that already, or there is none to say it.
    fn holds(&self, own: &OwnLeases, snapshot: &Snapshot, wishes: &Wishes) -> bool {
        let says_it = |known: &LastKnown| {
            (&known.own, &known.own6) == (&own.v4, &own.v6)
                && (known.wished_ip, known.wished_ipv6) == (wishes.public_ip, wishes.public_ipv6)
                && known.leases == snapshot.leases
                && known.leases6 == snapshot.leases6
        };
        self.path.is_none() || self.written.as_ref().is_some_and(says_it)
    }

    /// Takes note; writes the file if it is time.
    fn note(&mut self, known: LastKnown) {
        self.pending = Some(known);
        if self.due_in() == Some(Duration::ZERO) {
            self.write();
        }
    }

    fn forget_pending(&mut self) {
        self.pending = None;
    }

    fn write(&mut self) {
        let (Some(path), Some(known)) = (&self.path, self.pending.take()) else { return };
        self.tried_at = Some(Instant::now());
        match known.write(path) {
            Ok(()) => {
                self.written = Some(known);
                self.trouble = None;
            }
            Err(error) => {
                let trouble = format!(
                    "cannot write {} ({error}): after a reboot the node waits for its store; make \
                     room or make it writable",
                    path.display()
                );
                if self.trouble.as_ref() != Some(&trouble) {
                    warn!("{trouble}");
                }
                self.trouble = Some(trouble);
                self.pending = Some(known);
            }
        }
    }
}

/// Another node's memory (a cloned disk), or one of another network, would do harm.
fn fits(known: &LastKnown, settings: &Settings) -> bool {
    let is_within = match (&known.own, settings.conf.network()) {
        (Some(own), Some(network)) => own.subnet.is_within(network),
        (None, None) => known.own6.is_some(),
        (Some(_), None) | (None, Some(_)) => false,
    };
    known.node_name == settings.node_name && is_within
}

/// The subnets that the node held, for a line of the log.
fn shown(known: &LastKnown) -> String {
    OwnLeases { v4: known.own.clone(), v6: known.own6.clone() }.shown()
}

impl<S: LeaseStore> Node<S> {
    /// Takes up what the node knew last.
    pub(super) fn remember(&mut self) {
        let Some(known) = self.memory.recalled().cloned() else { return };
        info!(
            subnet = shown(&known),
            leases = known.leases.len(),
            "starting with what was known last, until the store answers"
        );
        self.wishes = Wishes {
            public_ip: known.wished_ip,
            public_ipv6: known.wished_ipv6,
            vtep_mac: known.own.as_ref().and_then(Lease::vtep_mac),
            vtep_mac6: known.own6.as_ref().and_then(Lease6::vtep_mac),
        };
        self.own = Some(OwnLeases { v4: known.own, v6: known.own6 });
        let (leases, leases6) = (known.leases, known.leases6);
        self.snapshot = Some(Snapshot { leases, leases6, ..Snapshot::default() });
    }

    /// Keeps what the store said for the next start.
    pub(super) fn memorise(&mut self, own: &OwnLeases) {
        let Some(snapshot) = &self.snapshot else { return };
        // What the node holds against the store's word is not for the next start.
        if self.objection.is_some() {
            return self.memory.forget_pending();
        }
        // A large cluster's leases are not copied in each pass to find that nothing changed.
        if self.memory.holds(own, snapshot, &self.wishes) {
            return self.memory.forget_pending();
        }
        self.memory.note(LastKnown {
            node_name: self.settings.node_name.clone(),
            wished_ip: self.wishes.public_ip,
            wished_ipv6: self.wishes.public_ipv6,
            own: own.v4.clone(),
            own6: own.v6.clone(),
            leases: snapshot.leases.clone(),
            leases6: snapshot.leases6.clone(),
        });
    }
}
