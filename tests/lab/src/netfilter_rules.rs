//! A place's netfilter rules as the independent tools print them (`nft`, `iptables-save`,
//! `iptables-legacy-save`), without counters and handles: what is ours, what is foreign, and what
//! changed between two looks.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Map, Value};

use crate::process::Place;

/// iptables' own tables, which `iptables-save` prints more exactly than `nft`.
const IPTABLES: [&str; 5] = ["filter", "nat", "mangle", "raw", "security"];
/// The programs that print them, for both engines.
const SAVES: [&str; 4] =
    ["iptables-nft-save", "ip6tables-nft-save", "iptables-legacy-save", "ip6tables-legacy-save"];
/// The name of the product's nf_tables tables.
pub const OUR_TABLE: &str = "tartan";

/// Every rule, chain, set and table, one a line, in the kernel's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules(Vec<String>);

impl Rules {
    /// Everything there is now.
    ///
    /// # Errors
    /// When a tool fails.
    pub fn all(place: &dyn Place) -> Result<Self> {
        let mut lines = nft_lines(place)?;
        for save in SAVES {
            let text = place.run(save)?;
            lines.extend(saved_lines(save, &text));
        }
        Ok(Self(lines))
    }

    /// Everything that is not the product's.
    ///
    /// # Errors
    /// When a tool fails.
    pub fn foreign(place: &dyn Place) -> Result<Self> {
        let Self(mut lines) = Self::all(place)?;
        lines.retain(|line| !is_ours(line));
        Ok(Self(lines))
    }

    /// The product's.
    ///
    /// # Errors
    /// When a tool fails.
    pub fn ours(place: &dyn Place) -> Result<Self> {
        let Self(mut lines) = Self::all(place)?;
        lines.retain(|line| is_ours(line));
        Ok(Self(lines))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The lines that contain this text.
    #[must_use]
    pub fn with(&self, text: &str) -> Vec<&str> {
        self.0.iter().map(String::as_str).filter(|line| line.contains(text)).collect()
    }

    /// Whether both have the same lines in any order, as the two accepting rules of one chain may.
    #[must_use]
    pub fn same_lines(&self, other: &Self) -> bool {
        let sorted = |rules: &Self| {
            let mut lines = rules.0.clone();
            lines.sort_unstable();
            lines
        };
        sorted(self) == sorted(other)
    }

    /// Proves that nothing is different now.
    ///
    /// # Errors
    /// What is: lines that have gone with `-`, new ones with `+`.
    pub fn unchanged(&self, what: &str, now: &Self) -> Result<()> {
        ensure!(self == now, "{what}: rules changed:\n{}", self.diff(now).join("\n"));
        Ok(())
    }

    /// Lines that have gone with `-`, new ones with `+`; order alone is shown as such.
    #[must_use]
    pub fn diff(&self, now: &Self) -> Vec<String> {
        let gone = self.0.iter().filter(|line| !now.0.contains(line));
        let new = now.0.iter().filter(|line| !self.0.contains(line));
        let mut lines: Vec<_> = gone.map(|line| format!("- {line}")).collect();
        lines.extend(new.map(|line| format!("+ {line}")));
        if lines.is_empty() && self != now {
            lines.push(format!("another order: {:#?} then {:#?}", self.0, now.0));
        }
        lines
    }
}

fn is_ours(line: &str) -> bool {
    line.contains(OUR_TABLE) || line.contains("TARTAN-")
}

/// Objects of `nft -j list ruleset`, without iptables' tables.
fn nft_lines(place: &dyn Place) -> Result<Vec<String>> {
    let shown: Value = serde_json::from_str(&place.run("nft -j list ruleset")?)?;
    let objects = shown["nftables"].as_array().context("nft lists nothing")?;
    let known = objects
        .iter()
        .filter_map(Value::as_object)
        .filter(|object| !object.contains_key("metainfo") && !object.values().any(is_of_iptables));
    Ok(known.map(|object| format!("nft {}", bare(&Value::Object(object.clone())))).collect())
}

fn is_of_iptables(object: &Value) -> bool {
    let table = object["table"].as_str().or(object["name"].as_str()).unwrap_or_default();
    let family = object["family"].as_str().unwrap_or_default();
    IPTABLES.contains(&table) && ["ip", "ip6"].contains(&family)
}

/// Without what changes by itself.
fn bare(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let kept = object.iter().filter(|(key, _)| {
                !["handle", "packets", "bytes", "index"].contains(&key.as_str())
            });
            Value::Object(
                kept.map(|(key, value)| (key.clone(), bare(value))).collect::<Map<_, _>>(),
            )
        }
        Value::Array(list) => Value::Array(list.iter().map(bare).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// Chains and rules of an `iptables-save`, with their table.
fn saved_lines(program: &str, text: &str) -> Vec<String> {
    let mut table = "";
    let mut lines = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name;
        } else if line.starts_with(':') || line.starts_with("-A") {
            // `:FORWARD DROP [12:720]`
            let line = line.split(" [").next().unwrap_or(line);
            lines.push(format!("{program} {table} {line}"));
        }
    }
    lines
}

/// One object of the product's table, and the words after `nft` that delete it.
#[derive(Debug, Clone)]
pub struct Deletion {
    /// What people call it.
    pub name: String,
    /// The commands, for `nft -f -`.
    pub script: String,
}

/// How to delete each rule, chain, set element and set of the product's IPv4 table, and the table.
///
/// # Errors
/// When nft fails.
pub fn deletions(place: &dyn Place) -> Result<Vec<Deletion>> {
    let shown: Value = serde_json::from_str(&place.run("nft -a -j list table ip tartan")?)?;
    let objects = shown["nftables"].as_array().context("nft lists nothing")?;
    let mut all: Vec<_> = objects.iter().flat_map(of_object).collect();
    all.push(Deletion {
        name: "the table".to_owned(),
        script: format!("delete table ip {OUR_TABLE}"),
    });
    Ok(all)
}

fn of_object(object: &Value) -> Vec<Deletion> {
    let deletion = |name: String, script: String| Deletion { name, script };
    if let Some(rule) = object.get("rule") {
        let (chain, handle) = (rule["chain"].as_str().unwrap_or_default(), &rule["handle"]);
        let script = format!("delete rule ip {OUR_TABLE} {chain} handle {handle}");
        return vec![deletion(format!("rule {handle} of {chain}"), script)];
    }
    if let Some(chain) = object["chain"]["name"].as_str() {
        let script = format!("flush chain ip {OUR_TABLE} {chain}");
        let mut both = vec![deletion(format!("the rules of {chain}"), script.clone())];
        let script = format!("{script}\ndelete chain ip {OUR_TABLE} {chain}");
        both.push(deletion(format!("chain {chain}"), script));
        return both;
    }
    let Some(set) = object["set"]["name"].as_str() else { return Vec::new() };
    let elements = object["set"]["elem"].as_array().cloned().unwrap_or_default();
    let texts = elements.iter().filter_map(Value::as_str);
    texts
        .map(|element| {
            let script = format!("delete element ip {OUR_TABLE} {set} {{ {element} }}");
            deletion(format!("{element} in {set}"), script)
        })
        .collect()
}

/// The kernel's numbers of the product's rules: other ones after a rewrite.
///
/// # Errors
/// When nft fails.
pub fn handles(place: &dyn Place) -> Result<Vec<u64>> {
    let shown: Value = serde_json::from_str(&place.run("nft -a -j list table ip tartan")?)?;
    let objects = shown["nftables"].as_array().context("nft lists nothing")?;
    Ok(objects.iter().filter_map(|object| object["rule"]["handle"].as_u64()).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn counters_and_handles_are_no_part_of_a_rule() {
        let rule = |packets, handle| json!({"handle": handle, "expr": [{"counter": {"packets": packets, "bytes": 1}}]});
        assert_eq!(bare(&rule(1, 7)), bare(&rule(2, 8)));
        let lines = saved_lines("save", "*filter\n:FORWARD DROP [1:2]\n-A FORWARD -j DROP\nCOMMIT");
        assert_eq!(lines, ["save filter :FORWARD DROP", "save filter -A FORWARD -j DROP"]);
    }

    #[test]
    fn a_difference_is_shown_by_its_lines() {
        let rules = |lines: &[&str]| Rules(lines.iter().map(|line| (*line).to_owned()).collect());
        let diff = rules(&["a", "b"]).diff(&rules(&["b", "c"]));
        assert_eq!(diff, ["- a", "+ c"]);
        assert!(rules(&["a", "b"]).unchanged("x", &rules(&["b", "a"])).is_err());
    }
}
