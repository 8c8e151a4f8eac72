//! [`Table`]: the records with their versions.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Version;
use crate::annotations::{NodeRecord, Observed};

/// Deleted names are remembered up to this many; more only after as many deletions without a
/// list, and then a reordered event could bring one back until the next.
const MOST_GRAVES: usize = 4096;

/// Records by name; each with the version that it is known at.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    records: BTreeMap<String, Entry>,
    /// When names were deleted, so that an older event does not bring them back.
    graves: BTreeMap<String, Version>,
}

#[derive(Debug, Clone)]
struct Entry {
    version: Version,
    record: Arc<NodeRecord>,
}

impl Table {
    pub(super) fn records(&self) -> impl Iterator<Item = &Arc<NodeRecord>> {
        self.records.values().map(|entry| &entry.record)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Arc<NodeRecord>> {
        self.records.get(name).map(|entry| &entry.record)
    }

    pub(super) fn version_of(&self, name: &str) -> Option<&Version> {
        self.records.get(name).map(|entry| &entry.version)
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Takes over what was seen, unless something newer is known; `listed` is the version of the
    /// last list, which holds everything up to it. Says whether anything that matters changed.
    pub(super) fn put(&mut self, seen: Observed, listed: Option<&Version>) -> bool {
        let Observed { version, record } = seen;
        let Some(entry) = self.records.get_mut(&record.name) else {
            let is_past =
                |then: Option<&Version>| then.is_some_and(|then| version.is_at_most(then));
            if is_past(listed) || is_past(self.graves.get(&record.name)) {
                return false;
            }
            self.graves.remove(&record.name);
            let entry = Entry { version, record: Arc::new(record) };
            self.records.insert(entry.record.name.clone(), entry);
            return true;
        };
        if version.is_older_than(&entry.version) {
            return false;
        }
        entry.version = version;
        let differs = *entry.record != record;
        if differs {
            entry.record = Arc::new(record);
        }
        differs
    }

    /// Removes what was deleted, unless something newer is known. Says whether it did.
    pub(super) fn delete(&mut self, seen: &Observed) -> bool {
        let name = &seen.record.name;
        let is_newer = |entry: &Entry| {
            seen.version.is_older_than(&entry.version)
                // Versions that cannot be compared: at least it has to be the same object.
                || (!entry.version.is_at_most(&seen.version) && entry.record.uid != seen.record.uid)
        };
        if self.records.get(name).is_some_and(is_newer) {
            return false;
        }
        if self.graves.len() >= MOST_GRAVES {
            self.graves.clear();
        }
        self.graves.insert(name.clone(), seen.version.clone());
        self.records.remove(name).is_some()
    }

    /// Adds an object of a list that is being collected; memory is shared with what `known` has.
    pub(super) fn collect(&mut self, seen: Observed, known: &Self) {
        let Observed { version, record } = seen;
        let record = match known.get(&record.name) {
            Some(same) if **same == record => Arc::clone(same),
            Some(_) | None => Arc::new(record),
        };
        self.records.insert(record.name.clone(), Entry { version, record });
    }

    /// Takes from `known` what is newer there, of objects that are still the same ones.
    pub(super) fn keep_newer(&mut self, known: &Self) {
        for (name, entry) in &mut self.records {
            if let Some(known) = known.records.get(name)
                && known.record.uid == entry.record.uid
                && entry.version.is_older_than(&known.version)
            {
                entry.clone_from(known);
            }
        }
    }

    /// Becomes the list that was collected. Says whether anything that matters changed.
    pub(super) fn replace(&mut self, listed: Self) -> bool {
        let same = self.records.len() == listed.records.len()
            && self.records().zip(listed.records()).all(|(left, right)| left == right);
        *self = listed;
        !same
    }
}
