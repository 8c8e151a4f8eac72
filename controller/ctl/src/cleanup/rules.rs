//! Our rules in the packet filter.

use anyhow::{Context as _, Result};
use tartan_core::netfilter::leftovers::{Removal, ours};
use tartan_core::netfilter::wanted::TABLE;
use tartan_netfilter::nft::Nft;
use tartan_netfilter::{Survey, remove as remove_rules};

/// Removes them, or only names them.
pub(super) fn remove(dry_run: bool) -> Result<Vec<String>> {
    // Without nf_tables there are none in it.
    let mut nft = Nft::open().ok();
    let mut survey = Survey::default();
    survey.refresh(nft.as_mut(), TABLE).context("cannot read the packet filter's rules")?;
    let removals = ours(survey.tables());
    if !dry_run {
        remove_rules(nft.as_mut(), &removals).context("cannot remove our rules")?;
    }
    Ok(removals.iter().map(name).collect())
}

fn name(removal: &Removal) -> String {
    match removal {
        Removal::Table { family, table } => format!("table {family} {table}"),
        Removal::Rule { family, table, chain, rule, .. } => {
            format!("rule in table {family} {table}, chain {chain}: {rule}")
        }
        Removal::Chain { family, table, chain, .. } => {
            format!("chain {chain} of table {family} {table}")
        }
    }
}
