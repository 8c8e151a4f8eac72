//! The product's counters, as `tartanctl` prints them.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::node::Node;
use crate::process::checked;

/// Packets per path or per reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<String, u64>);

impl Counts {
    /// What `tartanctl TABLE -o json` printed, whose rows are called by their `key`.
    ///
    /// # Errors
    /// When there is no such table in it.
    pub fn parse(text: &str, table: &str, key: &str) -> Result<Self> {
        parse(text, table, key).with_context(|| format!("tartanctl {table} printed {text}"))
    }

    /// Packets under this name; 0 when there is none.
    #[must_use]
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// All packets.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// What was added since `before`; names without a change are left out.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let more = |(name, now): (&String, &u64)| {
            let added = now.saturating_sub(before.get(name));
            (added > 0).then(|| (name.clone(), added))
        };
        Self(self.0.iter().filter_map(more).collect())
    }

    /// Both together.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        for (name, packets) in &other.0 {
            *self.0.entry(name.clone()).or_default() += packets;
        }
        self
    }

    /// Names and packets, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(name, packets)| (name.as_str(), *packets))
    }
}

impl Node {
    /// Packets per path: `pod-local-fast`, `pod-remote-fast` and so on.
    ///
    /// # Errors
    /// When `tartanctl paths` fails.
    pub fn paths(&self) -> Result<Counts> {
        self.counts("paths", "name")
    }

    /// Packets per reason of refusal: `spoofed-source` and so on.
    ///
    /// # Errors
    /// When `tartanctl drops` fails.
    pub fn drops(&self) -> Result<Counts> {
        self.counts("drops", "reason")
    }

    fn counts(&self, table: &str, key: &str) -> Result<Counts> {
        let text = checked(self.product("tartanctl")?.args([table, "-o", "json"]))?;
        Counts::parse(&text, table, key)
    }
}

fn parse(text: &str, table: &str, key: &str) -> Result<Counts> {
    let value: Value = serde_json::from_str(text)?;
    let rows = value[table].as_array().context("the table is missing")?;
    let mut counts = Counts::default();
    for row in rows {
        let name = row[key].as_str().context("a row without a name")?;
        let packets = row["packets"].as_u64().context("a row without packets")?;
        *counts.0.entry(name.to_owned()).or_default() += packets;
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = r#"{"paths":[{"name":"a","packets":1},{"name":"b","packets":2}]}"#;
    const AFTER: &str = r#"{"paths":[{"name":"a","packets":1},{"name":"b","packets":5}]}"#;

    #[test]
    fn a_difference_holds_only_what_changed() {
        let [before, after] = [BEFORE, AFTER].map(|text| parse(text, "paths", "name").unwrap());
        let added = after.since(&before);
        assert_eq!(added.iter().collect::<Vec<_>>(), [("b", 3)]);
    }
}
