//! [`Process`]: what an agent has in its memory.

use std::net::Ipv4Addr;
use std::time::Duration;

use tartan_common::Mac;
use tartan_core::annotations::{OwnWishes, Publication};
use tartan_core::reflector::{Failure, Page, Reflector, ReflectorConfig, WatchItem};
use tartan_core::{LastKnown, Lease};

use super::Host;
use super::publisher::Publisher;
use crate::mutant::Mutant;
use crate::oracle::view::View;
use crate::{Ms, NETWORK};

/// A running agent.
#[derive(Debug)]
pub struct Process {
    /// The mirror of all Nodes.
    pub mirror: Reflector,
    /// What the mirror showed so far, for the tests.
    pub view: View,
    /// The list or watch request that is not answered yet.
    pub request: Option<u64>,
    /// What the node holds.
    pub held: Option<Lease>,
    /// All leases, by the store's word or from memory.
    pub snapshot: Option<Vec<Lease>>,
    /// What the operator wants.
    pub wishes: OwnWishes,
    /// The file and what is in it.
    pub memory: Memory,
    /// The store has something against what the node holds.
    pub objection: bool,
    /// What is to be published, as soon as something is held.
    pub publication: Option<Publication>,
    /// The own Node's annotations.
    pub publisher: Publisher,
    /// The mirror's generation at the last pass.
    pub passed: Option<u64>,
    /// When the next pass starts.
    pub pass_at: Option<Ms>,
    /// The next look at the clock.
    pub wake_at: Option<Ms>,
    /// The keys of the table after the last pass, for the tests.
    pub programmed: Option<Vec<Ipv4Addr>>,
    /// What the device gets if it never had an address.
    pub new_mac: Mac,
}

/// What is known of the memory file.
#[derive(Debug, Default)]
pub struct Memory {
    /// What the file holds.
    pub written: Option<LastKnown>,
    /// What it should hold by now.
    pub pending: Option<LastKnown>,
    /// When it was written last.
    pub tried_at: Option<Ms>,
}

impl Process {
    /// Starts on a host, with what its memory file says, if it is of any use.
    #[must_use]
    pub fn start(host: &Host, page_limit: u32, seed: u64) -> Self {
        let config = ReflectorConfig { page_limit, ..ReflectorConfig::default() };
        let mut random = [0; 6];
        random.copy_from_slice(&seed.to_le_bytes()[..6]);
        let mut process = Self {
            mirror: Reflector::new(config, seed),
            view: View::default(),
            request: None,
            held: None,
            snapshot: None,
            wishes: OwnWishes::default(),
            memory: Memory::default(),
            objection: false,
            publication: None,
            publisher: Publisher::default(),
            passed: None,
            pass_at: None,
            wake_at: None,
            programmed: None,
            new_mac: Mac::local(random),
        };
        process.remember(host);
        process
    }

    fn remember(&mut self, host: &Host) {
        let text = host.last_known.as_deref();
        let known: Option<LastKnown> = text.and_then(|text| serde_json::from_str(text).ok());
        let fits = |known: &LastKnown| {
            let is_within = |own: &Lease| own.subnet.is_within(NETWORK);
            known.node_name == host.name && known.own.as_ref().is_some_and(is_within)
        };
        let Some(known) = known.filter(fits) else { return };
        self.wishes = OwnWishes {
            public_ip: known.wished_ip,
            public_ipv6: known.wished_ipv6,
            vtep_mac: known.own.as_ref().and_then(Lease::vtep_mac),
            vtep_mac6: None,
        };
        self.held.clone_from(&known.own);
        self.snapshot = Some(known.leases.clone());
        self.memory.written = Some(known);
    }

    /// A page of a list.
    pub fn page(&mut self, now: Duration, mut page: Page, mutant: Option<Mutant>) {
        let is_old = self.mirror.version().is_some_and(|seen| page.version.is_older_than(seen));
        if mutant == Some(Mutant::AcceptStaleLists) && is_old {
            self.mirror = Reflector::new(ReflectorConfig::default(), 1);
        }
        if mutant == Some(Mutant::MergeLists) && page.continue_token.is_none() {
            let version = page.version.clone();
            let is_listed = |name: &str| page.items.iter().any(|seen| seen.record.name == name);
            let kept: Vec<_> = self
                .mirror
                .records()
                .filter(|record| !is_listed(&record.name))
                .map(|record| tartan_core::annotations::Observed {
                    version: version.clone(),
                    record: (**record).clone(),
                })
                .collect();
            page.items.extend(kept);
        }
        self.mirror.page(now, page);
    }

    /// A line of the watch. Says whether the watch goes on.
    pub fn heard(&mut self, now: Duration, mut item: WatchItem, mutant: Option<Mutant>) -> bool {
        if mutant == Some(Mutant::DropDeletions)
            && let WatchItem::Deleted(seen) = item
        {
            item = WatchItem::Bookmark(seen.version);
        }
        if mutant == Some(Mutant::TrustTheOrder)
            && let WatchItem::Changed(seen) = &mut item
            && let Some(newest) = self.mirror.version()
            && seen.version.is_older_than(newest)
        {
            seen.version = newest.clone();
        }
        let goes_on = !matches!(item, WatchItem::Failed(_));
        self.mirror.heard(now, item);
        goes_on
    }

    /// A request failed, or the watch did.
    pub fn failed(&mut self, now: Duration, failure: &Failure) {
        self.mirror.failed(now, failure);
    }
}
