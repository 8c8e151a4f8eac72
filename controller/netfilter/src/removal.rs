//! Takes rules away: the leftovers of others, or our own.

use std::collections::BTreeMap;

use tartan_core::netfilter::leftovers::Removal;
use tartan_core::netfilter::model::{Engine, Family};

use crate::nft::{self, Nft};
use crate::{NetfilterError, xtables};

type XtablesEdits = BTreeMap<(Family, String), Vec<xtables::Edit>>;

/// Carries out the removals: those of nf_tables in one transaction, those of xtables table by
/// table.
///
/// # Errors
/// When the kernel refuses; what was removed before stays removed.
pub fn remove(nft: Option<&mut Nft>, removals: &[Removal]) -> Result<(), NetfilterError> {
    let mut edits = Vec::new();
    let mut changes = XtablesEdits::new();
    for removal in removals {
        sort(removal, &mut edits, &mut changes);
    }
    if let Some(nft) = nft
        && !edits.is_empty()
    {
        nft.apply(&edits)?;
    }
    for ((family, table), edits) in changes {
        xtables::edit(family, &table, &edits)?;
    }
    Ok(())
}

fn sort(removal: &Removal, edits: &mut Vec<nft::Edit>, changes: &mut XtablesEdits) {
    let mut push = |family: Family, table: &str, edit| {
        changes.entry((family, table.to_owned())).or_default().push(edit);
    };
    match removal.clone() {
        Removal::Table { family, table } => {
            edits.push(nft::Edit::RemoveTable { family, name: table });
        }
        Removal::Rule { engine: Engine::NfTables, family, table, chain, rule } => {
            // What was read from the kernel has a handle.
            let edit = |handle| nft::Edit::DeleteRule { family, table, chain, handle };
            edits.extend(rule.handle.map(edit));
        }
        Removal::Rule { engine: Engine::Xtables, family, table, chain, rule } => {
            push(family, &table, xtables::Edit::DeleteRule { chain, rule });
        }
        Removal::Chain { engine: Engine::NfTables, family, table, chain } => {
            edits.push(nft::Edit::DeleteChain { family, table, chain });
        }
        Removal::Chain { engine: Engine::Xtables, family, table, chain } => {
            push(family, &table, xtables::Edit::DeleteChain { chain });
        }
    }
}
