//! [`Reflector`]: the state machine.

use std::sync::Arc;
use std::time::Duration;

use super::backoff::Backoff;
use super::table::Table;
use super::{Failure, ListRequest, Next, Page, ReflectorConfig, Version, WatchItem};
use crate::annotations::NodeRecord;

/// A longer silence between two lists that are too old (no connection, a process that was stopped)
/// says nothing about the API's storage: the evidence starts anew.
const STALE_GAP: Duration = Duration::from_mins(1);
/// A Retry-After is followed up to this many longest pauses.
const PATIENCE: u32 = 3;

/// So many silent watches in a row cost a list.
const MOST_SILENT: u32 = 2;

/// The mirror, and where it is in its cycle of lists and watches. See the module's head.
#[derive(Debug)]
pub struct Reflector {
    config: ReflectorConfig,
    phase: Phase,
    table: Table,
    /// The newest version seen anywhere.
    newest: Option<Version>,
    /// The version of the last complete list.
    listed: Option<Version>,
    generation: u64,
    backoff: Backoff,
    /// 410 again and again without an event in between.
    gone: Backoff,
    gone_once: bool,
    not_before: Duration,
    /// Watches in a row that said nothing before they were given up.
    silent: u32,
    /// The lists that were refused as too old.
    stale: Option<Stale>,
}

/// Lists that were refused as too old, one soon after the other.
#[derive(Debug, Clone, Copy)]
struct Stale {
    first: Duration,
    last: Duration,
}

#[derive(Debug)]
enum Phase {
    Listing(Listing),
    /// The watch is to be opened.
    Watching,
    Following {
        opened: Duration,
        heard: Duration,
    },
}

/// The pages so far.
#[derive(Debug, Default)]
struct Listing {
    table: Table,
    /// The version of the first page.
    version: Option<Version>,
    continue_token: Option<String>,
}

impl Reflector {
    /// An empty mirror; `seed` varies the pauses between the nodes of a cluster.
    #[must_use]
    pub fn new(config: ReflectorConfig, seed: u64) -> Self {
        let backoff = |seed| Backoff::new(config.backoff_first, config.backoff_longest, seed);
        Self {
            config,
            phase: Phase::Listing(Listing::default()),
            table: Table::default(),
            newest: None,
            listed: None,
            generation: 0,
            backoff: backoff(seed),
            gone: backoff(!seed),
            gone_once: false,
            not_before: Duration::ZERO,
            silent: 0,
            stale: None,
        }
    }

    /// What to do now. Changes nothing.
    #[must_use]
    pub fn next(&self, now: Duration) -> Next {
        if let Phase::Following { heard, .. } = &self.phase {
            return Next::Follow { until: heard.saturating_add(self.config.idle_limit) };
        }
        if now < self.not_before {
            return Next::Wait { until: self.not_before };
        }
        match (&self.phase, &self.newest) {
            (Phase::Watching | Phase::Following { .. }, Some(from)) => {
                Next::Watch { from: from.clone() }
            }
            (Phase::Listing(listing), _) => {
                Next::List(self.list_request(listing.continue_token.clone()))
            }
            // Not reached: a watch follows a list, which has a version.
            (Phase::Watching | Phase::Following { .. }, None) => {
                Next::List(self.list_request(None))
            }
        }
    }

    /// A page came back.
    pub fn page(&mut self, now: Duration, page: Page) {
        let restored = self.is_restored();
        let Phase::Listing(listing) = &mut self.phase else {
            return;
        };
        for seen in page.items {
            listing.table.collect(seen, &self.table);
        }
        // Objects that change while the later pages are read come again with the watch.
        let version = listing.version.get_or_insert(page.version).clone();
        listing.continue_token = page.continue_token.filter(|token| !token.is_empty());
        let is_stale =
            !restored && self.newest.as_ref().is_some_and(|newest| version.is_older_than(newest));
        if is_stale {
            self.refuse_stale_list(now);
        } else if listing.continue_token.is_none() {
            let table = std::mem::take(&mut listing.table);
            self.take_over(table, version);
        } else {
            self.backoff.reset();
        }
    }

    /// The watch is open.
    pub fn watch_opened(&mut self, now: Duration) {
        if matches!(self.phase, Phase::Watching) {
            self.phase = Phase::Following { opened: now, heard: now };
        }
    }

    /// The open watch said something.
    pub fn heard(&mut self, now: Duration, item: WatchItem) {
        let Phase::Following { heard, .. } = &mut self.phase else {
            return;
        };
        *heard = now;
        let changed = match item {
            WatchItem::Changed(seen) => {
                self.advance(&seen.version);
                self.table.put(seen, self.listed.as_ref())
            }
            WatchItem::Deleted(seen) => {
                self.advance(&seen.version);
                self.table.delete(&seen)
            }
            WatchItem::Bookmark(version) => {
                self.advance(&version);
                false
            }
            WatchItem::Unreadable(_) => false,
            WatchItem::Failed(failure) => return self.failed(now, &failure),
        };
        self.succeeded();
        self.generation += u64::from(changed);
    }

    /// The watch ended in order, as API servers end each after some minutes.
    pub fn ended(&mut self, now: Duration) {
        let Phase::Following { opened, heard } = self.phase else {
            return;
        };
        self.phase = Phase::Watching;
        let is_sound = now.saturating_sub(opened) >= self.config.watch_is_sound;
        if is_sound || heard > opened {
            self.succeeded();
        }
        if !is_sound {
            self.pause(now, Duration::ZERO);
        }
    }

    /// The request failed, or the open watch did.
    pub fn failed(&mut self, now: Duration, failure: &Failure) {
        let least = match failure {
            Failure::Gone => return self.list_anew(now),
            Failure::Busy { retry_after, .. } => *retry_after,
            Failure::Behind
            | Failure::Status { .. }
            | Failure::Malformed(_)
            | Failure::Timeout
            | Failure::Stalled
            | Failure::Connection(_) => Duration::ZERO,
        };
        match (&self.phase, failure) {
            // What cannot be read once is skipped by a list, but not by a watch from before it.
            (Phase::Following { .. }, Failure::Malformed(_)) => {
                self.phase = Phase::Listing(Listing::default());
            }
            // A watch from a version that a restored storage has not reached is silent for ever.
            (Phase::Following { .. }, Failure::Stalled) => self.give_up_silent_watch(),
            (Phase::Following { .. }, _) => self.phase = Phase::Watching,
            // A watch cannot tell a server that lags from one that was restored; a list can.
            (Phase::Listing(_) | Phase::Watching, Failure::Behind) => {
                self.note_stale(now);
                self.phase = Phase::Listing(Listing::default());
            }
            (Phase::Listing(_) | Phase::Watching, _) => {}
        }
        self.pause(now, least);
    }

    /// Grows with each change of what the records say.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether a list was ever complete.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.listed.is_some()
    }

    /// The newest version seen; the mirror is never behind it and never goes back.
    #[must_use]
    pub fn version(&self) -> Option<&Version> {
        self.newest.as_ref()
    }

    /// All records, by name.
    pub fn records(&self) -> impl Iterator<Item = &Arc<NodeRecord>> {
        self.table.records()
    }

    /// The record of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<NodeRecord>> {
        self.table.get(name)
    }

    /// The version that the record of this name is known at.
    #[must_use]
    pub fn version_of(&self, name: &str) -> Option<&Version> {
        self.table.version_of(name)
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.len() == 0
    }

    fn list_request(&self, continue_token: Option<String>) -> ListRequest {
        // A continue token stands for a version already.
        let bound = continue_token.is_none() && !self.is_restored();
        let not_older_than = self.newest.clone().filter(|_| bound);
        ListRequest { limit: self.config.page_limit, continue_token, not_older_than }
    }

    fn take_over(&mut self, mut table: Table, version: Version) {
        let first = self.listed.is_none();
        let went_back = self.newest.as_ref().is_some_and(|newest| version.is_older_than(newest));
        if !went_back {
            table.keep_newer(&self.table);
        }
        let changed = self.table.replace(table);
        self.generation += u64::from(changed || first);
        self.newest = Some(version.clone());
        self.listed = Some(version);
        self.stale = None;
        self.backoff.reset();
        self.phase = Phase::Watching;
    }

    fn advance(&mut self, version: &Version) {
        match &mut self.newest {
            Some(newest) => newest.advance(version),
            None => self.newest = Some(version.clone()),
        }
    }

    fn give_up_silent_watch(&mut self) {
        self.silent += 1;
        self.phase = if self.silent < MOST_SILENT {
            Phase::Watching
        } else {
            self.silent = 0;
            Phase::Listing(Listing::default())
        };
    }

    fn succeeded(&mut self) {
        self.silent = 0;
        self.backoff.reset();
        self.gone.reset();
        self.gone_once = false;
    }

    fn pause(&mut self, now: Duration, least: Duration) {
        let most = self.config.backoff_longest.saturating_mul(PATIENCE);
        self.not_before = now.saturating_add(self.backoff.pause().max(least.min(most)));
    }

    /// At once for the first time, with pauses if lists do not help.
    fn list_anew(&mut self, now: Duration) {
        self.phase = Phase::Listing(Listing::default());
        let pause = if self.gone_once { self.gone.pause() } else { Duration::ZERO };
        self.gone_once = true;
        self.not_before = now.saturating_add(pause);
    }

    fn refuse_stale_list(&mut self, now: Duration) {
        self.note_stale(now);
        self.phase = Phase::Listing(Listing::default());
        self.pause(now, Duration::ZERO);
    }

    fn note_stale(&mut self, now: Duration) {
        let known = self.stale.filter(|stale| now.saturating_sub(stale.last) <= STALE_GAP);
        self.stale = Some(Stale { first: known.map_or(now, |stale| stale.first), last: now });
    }

    fn is_restored(&self) -> bool {
        let limit = self.config.restored_after;
        self.stale.is_some_and(|stale| stale.last.saturating_sub(stale.first) >= limit)
    }
}
