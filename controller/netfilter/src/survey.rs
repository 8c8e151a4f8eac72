//! Everything in the namespace's packet filter, read again only when it changed.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::time::{Duration, Instant};

use tartan_core::netfilter::model::{Engine, Family, Table};

use crate::NetfilterError;
use crate::nft::Nft;
use crate::xtables::{self, Stamp};

/// The families that xtables has tables for.
const XTABLES: [Family; 2] = [Family::Ip, Family::Ip6];

/// A stamp does not show every change of an xtables table (a policy, a rule for one of the same
/// length). Up to this many bytes, some hundred rules, reading all of it is as cheap;
const SMALL: u32 = 64 * 1024;
/// a larger one is read again after this long.
const STALE: Duration = Duration::from_secs(10);

/// What is seen of an xtables table without reading a large one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Glance {
    stamp: Stamp,
    /// Of a small table.
    content: Option<u64>,
}

/// All xtables tables that are there, at a glance.
pub type Glances = BTreeMap<(Family, String), Glance>;

/// Looks at all xtables tables that are there.
///
/// # Errors
/// When the kernel refuses.
pub fn glance() -> Result<Glances, NetfilterError> {
    let mut seen = Glances::new();
    for family in XTABLES {
        for table in xtables::tables(family)? {
            let stamp = xtables::stamp(family, &table)?;
            let content = if stamp.size <= SMALL {
                Some(hash(&xtables::read(family, &table)?))
            } else {
                None
            };
            seen.insert((family, table), Glance { stamp, content });
        }
    }
    Ok(seen)
}

/// What was read, and what tells whether it still holds.
#[derive(Debug, Default)]
pub struct Survey {
    tables: Vec<Table>,
    generation: Option<u32>,
    seen: Glances,
    read_at: Option<Instant>,
}

impl Survey {
    /// Reads what may have changed. Sets are read of tables named `own`.
    ///
    /// `nft` is `None` where the kernel has no nf_tables.
    ///
    /// # Errors
    /// When the kernel refuses; what was read before stays.
    pub fn refresh(&mut self, nft: Option<&mut Nft>, own: &str) -> Result<(), NetfilterError> {
        if let Some(nft) = nft {
            self.refresh_nft(nft, own)?;
        }
        self.refresh_xtables()
    }

    fn refresh_nft(&mut self, nft: &mut Nft, own: &str) -> Result<(), NetfilterError> {
        let generation = nft.generation()?;
        if self.generation == Some(generation) {
            return Ok(());
        }
        // A change after the number was read shows in the next look.
        let tables = nft.ruleset(own)?;
        self.put(Engine::NfTables, tables);
        self.generation = Some(generation);
        Ok(())
    }

    fn refresh_xtables(&mut self) -> Result<(), NetfilterError> {
        let seen = glance()?;
        let fresh = self.read_at.is_some_and(|at| at.elapsed() < STALE);
        if fresh && seen == self.seen {
            return Ok(());
        }
        let read = |(family, table): &(Family, String)| xtables::read(*family, table);
        let tables = seen.keys().map(read).collect::<Result<Vec<_>, _>>()?;
        self.put(Engine::Xtables, tables);
        (self.seen, self.read_at) = (seen, Some(Instant::now()));
        Ok(())
    }

    fn put(&mut self, engine: Engine, tables: Vec<Table>) {
        self.tables.retain(|table| table.engine != engine);
        self.tables.extend(tables);
    }

    /// Has xtables read again by the next [`Survey::refresh`]: for who changed them.
    pub fn forget_xtables(&mut self) {
        self.read_at = None;
    }

    /// Every table of both engines.
    #[must_use]
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// The xtables tables as they were when they were read.
    #[must_use]
    pub fn seen(&self) -> &Glances {
        &self.seen
    }

    /// Another number after each change by anybody, also of what is not shown in the tables (the
    /// elements of a set); the same in every process that reads the same.
    #[must_use]
    pub fn fingerprint(&self) -> u32 {
        let xtables = self.tables.iter().filter(|table| table.engine == Engine::Xtables);
        let bits = hash(&(self.generation, &self.seen, xtables.collect::<Vec<_>>()));
        u32::try_from((bits >> 32) ^ (bits & 0xffff_ffff)).unwrap_or_default()
    }
}

fn hash(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}
