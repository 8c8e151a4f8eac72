//! [`View`]: for each Node, an agent sees its versions in their order and never an older one again.

use std::collections::BTreeMap;
use std::sync::Arc;

use tartan_core::annotations::NodeRecord;
use tartan_core::reflector::Reflector;

use crate::api::store::Store;

/// What one agent has seen since it started.
#[derive(Debug, Default)]
pub struct View {
    /// The last record of each name, and the oldest revision that it can be of.
    seen: BTreeMap<String, (Option<Arc<NodeRecord>>, u64)>,
    version: u64,
}

impl View {
    /// Looks at the mirror again. `Err` names the Node that went back.
    ///
    /// # Errors
    /// When the mirror shows something that is older than what it showed before, or that the
    /// API never said.
    pub fn look(&mut self, mirror: &Reflector, store: &Store) -> Result<(), String> {
        self.check_version(mirror)?;
        for record in mirror.records() {
            let known = self.seen.get(&record.name).and_then(|(known, _)| known.as_ref());
            if !known.is_some_and(|known| Arc::ptr_eq(known, record)) {
                self.advance(&record.name, Some(record), store)?;
            }
        }
        let gone = |(name, (known, _)): (&String, &(Option<Arc<NodeRecord>>, u64))| {
            (known.is_some() && mirror.get(name).is_none()).then(|| name.clone())
        };
        let gone: Vec<String> = self.seen.iter().filter_map(gone).collect();
        gone.iter().try_for_each(|name| self.advance(name, None, store))
    }

    fn check_version(&mut self, mirror: &Reflector) -> Result<(), String> {
        let number = mirror.version().and_then(|version| version.to_string().parse().ok());
        let version = number.unwrap_or_default();
        if version < self.version {
            return Err(format!("the mirror's version went from {} to {version}", self.version));
        }
        self.version = version;
        Ok(())
    }

    fn advance(
        &mut self,
        name: &str,
        record: Option<&Arc<NodeRecord>>,
        store: &Store,
    ) -> Result<(), String> {
        let floor = self.seen.get(name).map_or(0, |(_, floor)| *floor);
        let found = first_since(store, name, floor, record.map(AsRef::as_ref));
        let Some(revision) = found else {
            let what = if record.is_some() { "is as it was" } else { "is gone as it was" };
            return Err(format!("node {name} {what} before revision {floor}, or never"));
        };
        self.seen.insert(name.to_owned(), (record.cloned(), revision));
        Ok(())
    }
}

/// The first revision from `floor` on at which the API showed this.
fn first_since(store: &Store, name: &str, floor: u64, wanted: Option<&NodeRecord>) -> Option<u64> {
    let history = store.history(name);
    let at_floor = history.iter().rposition(|version| version.revision <= floor);
    if at_floor.is_none() && wanted.is_none() {
        return Some(floor);
    }
    let mut rest = history[at_floor.unwrap_or_default()..].iter();
    let found = rest.find(|version| version.record() == wanted)?;
    Some(found.revision.max(floor))
}
