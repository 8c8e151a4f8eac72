//! [`Store`]: all revisions of all Node objects.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use tartan_core::annotations::{AnnotationPrefix, NodeRecord};

use super::object::Object;
use crate::Ms;
use crate::oracle::naive::{self, NaiveLease};

/// Real API servers do not begin with one either.
const FIRST_REVISION: u64 = 1000;

/// One object at one revision.
#[derive(Debug)]
pub struct Version {
    /// The revision of the whole store that this one is.
    pub revision: u64,
    /// When it was written.
    pub at: Ms,
    /// The object's name.
    pub name: Rc<str>,
    /// The object; `None` from its deletion on.
    pub object: Option<Rc<Object>>,
    /// Its JSON text; of a deletion, the last state with the deletion's revision.
    pub json: Rc<str>,
    /// Whether there was no object of this name just before.
    pub is_first: bool,
    lease: OnceCell<Option<NaiveLease>>,
    record: OnceCell<Option<NodeRecord>>,
}

impl Version {
    /// The lease that the object stands for, by the tests' own reading.
    pub fn lease(&self) -> Option<&NaiveLease> {
        let read = || self.object.as_deref().and_then(naive::lease_of);
        self.lease.get_or_init(read).as_ref()
    }

    /// What the agents keep of the object; to be compared with what they have.
    pub fn record(&self) -> Option<&NodeRecord> {
        let read = || {
            self.object.as_ref()?;
            let observed = NodeRecord::from_json(&self.json, &AnnotationPrefix::default());
            observed.ok().map(|observed| observed.record)
        };
        self.record.get_or_init(read).as_ref()
    }
}

/// The store: linearizable, each write is one revision.
#[derive(Debug, Default)]
pub struct Store {
    log: Vec<Rc<Version>>,
    histories: BTreeMap<Rc<str>, Vec<Rc<Version>>>,
    /// Revisions before this one are forgotten by the API (not by the tests).
    pub compacted: u64,
}

impl Store {
    /// The newest revision.
    #[must_use]
    pub fn revision(&self) -> u64 {
        FIRST_REVISION + u64::try_from(self.log.len()).unwrap_or_default()
    }

    /// Writes an object.
    pub fn put(&mut self, at: Ms, object: Object) {
        let revision = self.revision() + 1;
        let json = object.json(revision).into();
        self.append(at, &object.name.clone(), Some(Rc::new(object)), json);
    }

    /// Deletes an object. Says whether it was there.
    pub fn delete(&mut self, at: Ms, name: &str) -> bool {
        let Some(object) = self.get(name).cloned() else { return false };
        let json = object.json(self.revision() + 1).into();
        self.append(at, name, None, json);
        true
    }

    fn append(&mut self, at: Ms, name: &str, object: Option<Rc<Object>>, json: Rc<str>) {
        let name: Rc<str> = name.into();
        let version = Rc::new(Version {
            revision: self.revision() + 1,
            at,
            is_first: self.get(&name).is_none(),
            name: Rc::clone(&name),
            object,
            json,
            lease: OnceCell::new(),
            record: OnceCell::new(),
        });
        self.log.push(Rc::clone(&version));
        self.histories.entry(name).or_default().push(version);
    }

    /// The object now.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Rc<Object>> {
        self.history(name).last()?.object.as_ref()
    }

    /// All versions under a name, the oldest first.
    #[must_use]
    pub fn history(&self, name: &str) -> &[Rc<Version>] {
        self.histories.get(name).map_or(&[], Vec::as_slice)
    }

    /// The objects that are there now, by name.
    pub fn objects(&self) -> impl Iterator<Item = &Rc<Version>> {
        self.histories.values().filter_map(|all| all.last()).filter(|last| last.object.is_some())
    }

    /// The objects as they were at `revision`, by name.
    pub fn objects_at(&self, revision: u64) -> impl Iterator<Item = &Rc<Version>> {
        self.histories.values().filter_map(move |all| {
            let last = all.iter().rfind(|version| version.revision <= revision)?;
            last.object.is_some().then_some(last)
        })
    }

    /// What was written after `from` and up to `to`.
    #[must_use]
    pub fn between(&self, from: u64, to: u64) -> &[Rc<Version>] {
        let place = |revision: u64| {
            usize::try_from(revision.saturating_sub(FIRST_REVISION)).unwrap_or(usize::MAX)
        };
        let end = place(to).min(self.log.len());
        self.log.get(place(from).min(end)..end).unwrap_or_default()
    }

    /// When the newest revision was written.
    #[must_use]
    pub fn changed_at(&self) -> Ms {
        self.log.last().map_or(0, |last| last.at)
    }
}
