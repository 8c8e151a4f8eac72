//! Keys with versions and one revision for all of them, as etcd keeps them: a list can be read at
//! a past revision, a watch can start at one, and compaction forgets.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::time::{Duration, Instant};

use hyper::body::Bytes;

/// One state of one key.
#[derive(Debug, Clone)]
pub(crate) struct Version {
    /// The revision that made it.
    pub(crate) revision: u64,
    /// The object; of a deletion, its last state with the revision of the deletion.
    pub(crate) value: Bytes,
    /// Whether the key ended here.
    pub(crate) deleted: bool,
}

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Added,
    Modified,
    Deleted,
}

/// One event of a watch.
#[derive(Debug, Clone)]
pub(crate) struct Happened {
    pub(crate) change: Change,
    pub(crate) value: Bytes,
}

/// A range read at one revision.
#[derive(Debug, Default)]
pub(crate) struct Range {
    pub(crate) values: Vec<Bytes>,
    /// The first key that did not fit, and how many are left with it.
    pub(crate) rest: Option<(String, usize)>,
}

/// The revision that was asked for is forgotten; here is the oldest one that is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Compacted(pub(crate) u64);

/// The whole of it.
#[derive(Debug)]
pub(crate) struct Etcd {
    revision: u64,
    compacted: u64,
    keys: BTreeMap<String, Vec<Version>>,
    /// Every write since the last compaction, oldest first.
    log: VecDeque<(u64, String, Instant)>,
}

impl Etcd {
    /// An empty store. A real one is never at revision 0 when nodes come.
    pub(crate) fn new() -> Self {
        Self { revision: 1000, compacted: 0, keys: BTreeMap::new(), log: VecDeque::new() }
    }

    /// The revision of the last write.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// The oldest revision that can be read.
    pub(crate) fn oldest(&self) -> u64 {
        self.compacted
    }

    /// The revision that was the last one `age` ago.
    pub(crate) fn revision_before(&self, age: Duration) -> u64 {
        let young = self.log.iter().rev().take_while(|(_, _, at)| at.elapsed() < age).count();
        let first_young = self.log.iter().rev().nth(young.saturating_sub(1));
        match (young, first_young) {
            (0, _) | (_, None) => self.revision,
            (_, Some((revision, _, _))) => revision - 1,
        }
    }

    /// Writes what `value` makes of the new revision.
    pub(crate) fn put(&mut self, key: &str, value: impl FnOnce(u64) -> Bytes) -> Bytes {
        self.write(key, false, value)
    }

    /// Ends a key.
    pub(crate) fn delete(&mut self, key: &str, value: impl FnOnce(u64) -> Bytes) -> Bytes {
        self.write(key, true, value)
    }

    fn write(&mut self, key: &str, deleted: bool, value: impl FnOnce(u64) -> Bytes) -> Bytes {
        self.revision += 1;
        let value = value(self.revision);
        let version = Version { revision: self.revision, value: value.clone(), deleted };
        self.keys.entry(key.to_owned()).or_default().push(version);
        self.log.push_back((self.revision, key.to_owned(), Instant::now()));
        value
    }

    /// A key's value at a revision.
    pub(crate) fn get(&self, key: &str, at: u64) -> Option<Bytes> {
        state_at(self.keys.get(key)?, at).map(|version| version.value.clone())
    }

    /// The values of the keys under `prefix`, from `start` on, at a revision; at most `limit`.
    pub(crate) fn range(
        &self,
        prefix: &str,
        start: &str,
        at: u64,
        limit: Option<usize>,
    ) -> Result<Range, Compacted> {
        if at < self.compacted {
            return Err(Compacted(self.compacted));
        }
        let from = Bound::Included(start.max(prefix).to_owned());
        let keys = self.keys.range((from, Bound::Unbounded));
        let mut states = keys
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter_map(|(key, versions)| Some((key, state_at(versions, at)?)));
        let limit = limit.unwrap_or(usize::MAX);
        let values = states.by_ref().take(limit).map(|(_, version)| version.value.clone());
        let values = values.collect();
        let rest = states.next().map(|(key, _)| key.clone());
        let rest = rest.map(|key| (key, 1 + states.count()));
        Ok(Range { values, rest })
    }

    /// What happened to the keys that `covers` takes after one revision, up to another.
    pub(crate) fn changes(
        &self,
        covers: impl Fn(&str) -> bool,
        after: u64,
        up_to: u64,
    ) -> Result<Vec<Happened>, Compacted> {
        if after < self.compacted {
            return Err(Compacted(self.compacted));
        }
        let from = self.log.partition_point(|(revision, _, _)| *revision <= after);
        let writes = self.log.range(from..).take_while(|(revision, _, _)| *revision <= up_to);
        let ours = writes.filter(|(_, key, _)| covers(key));
        Ok(ours.filter_map(|(revision, key, _)| self.happened(*revision, key)).collect())
    }

    fn happened(&self, revision: u64, key: &str) -> Option<Happened> {
        let versions = self.keys.get(key)?;
        let place = versions.partition_point(|version| version.revision < revision);
        let version = versions.get(place)?;
        let lived = place.checked_sub(1).and_then(|place| versions.get(place));
        let change = match (version.deleted, lived.is_some_and(|before| !before.deleted)) {
            (true, _) => Change::Deleted,
            (false, true) => Change::Modified,
            (false, false) => Change::Added,
        };
        Some(Happened { change, value: version.value.clone() })
    }

    /// Forgets everything that is not needed to read from `at` on.
    pub(crate) fn compact(&mut self, at: u64) {
        self.compacted = at.min(self.revision).max(self.compacted);
        let oldest = self.compacted;
        self.keys.retain(|_, versions| {
            let base = versions.partition_point(|version| version.revision <= oldest);
            versions.drain(..base.saturating_sub(1));
            versions.last().is_some_and(|last| !last.deleted || last.revision > oldest)
        });
        let gone = self.log.partition_point(|(revision, _, _)| *revision <= oldest);
        self.log.drain(..gone);
    }
}

/// The living state of a key at a revision.
fn state_at(versions: &[Version], at: u64) -> Option<&Version> {
    let place = versions.partition_point(|version| version.revision <= at).checked_sub(1)?;
    versions.get(place).filter(|version| !version.deleted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> impl FnOnce(u64) -> Bytes {
        let value = value.to_owned();
        move |_| Bytes::from(value)
    }

    fn nodes(key: &str) -> bool {
        key.starts_with("nodes/")
    }

    fn two_keys() -> (Etcd, u64) {
        let mut etcd = Etcd::new();
        etcd.put("nodes/a", text("a1"));
        etcd.put("nodes/b", text("b1"));
        let middle = etcd.revision();
        etcd.put("nodes/a", text("a2"));
        etcd.delete("nodes/b", text("b2"));
        etcd.put("pods/x", text("x"));
        (etcd, middle)
    }

    #[test]
    fn a_range_reads_the_past_as_it_was() {
        let (etcd, middle) = two_keys();
        let then = etcd.range("nodes/", "", middle, None).unwrap();
        assert_eq!(then.values, ["a1", "b1"]);
        let now = etcd.range("nodes/", "", etcd.revision(), None).unwrap();
        assert_eq!(now.values, ["a2"]);
        let page = etcd.range("nodes/", "", middle, Some(1)).unwrap();
        assert_eq!((page.values.len(), page.rest), (1, Some(("nodes/b".to_owned(), 1))));
    }

    #[test]
    fn changes_are_told_in_order_and_of_one_prefix_only() {
        let (etcd, middle) = two_keys();
        let seen = etcd.changes(nodes, middle, u64::MAX).unwrap();
        let seen: Vec<_> = seen.iter().map(|h| (h.change, h.value.as_ref())).collect();
        let wanted: Vec<(Change, &[u8])> =
            vec![(Change::Modified, b"a2"), (Change::Deleted, b"b2")];
        assert_eq!(seen, wanted);
    }

    #[test]
    fn what_is_compacted_is_refused_and_the_rest_still_reads() {
        let (mut etcd, middle) = two_keys();
        let now = etcd.revision();
        etcd.compact(now);
        assert_eq!(etcd.changes(nodes, middle, u64::MAX).unwrap_err(), Compacted(now));
        assert_eq!(etcd.range("nodes/", "", middle, None).unwrap_err(), Compacted(now));
        assert_eq!(etcd.range("nodes/", "", now, None).unwrap().values, ["a2"]);
        etcd.put("nodes/b", text("b3"));
        let seen = etcd.changes(nodes, now, u64::MAX).unwrap();
        assert_eq!(seen.iter().map(|h| h.change).collect::<Vec<_>>(), [Change::Added]);
    }

    #[test]
    fn the_revision_of_a_moment_ago_is_found() {
        let (etcd, _) = two_keys();
        assert_eq!(etcd.revision_before(Duration::ZERO), etcd.revision());
        assert_eq!(etcd.revision_before(Duration::from_hours(1)), 1000);
    }
}
