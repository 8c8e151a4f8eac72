//! What has to go when flannel leaves a node, and when we do.
//!
//! Names decide, whole and in their own tables, so that nothing of anybody else is ever taken for
//! a leftover. A chain that a stranger's rule jumps to stays: without it the stranger's rule
//! could not stand.

#[cfg(test)]
mod tests;

use super::model::{Action, Chain, Engine, Family, Rule, Table};
use super::wanted;

/// One thing that has to go. Done in the order given, each step is possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// A whole table of nf_tables.
    Table {
        /// The table's family.
        family: Family,
        /// Its name.
        table: String,
    },
    /// A rule.
    Rule {
        /// Who holds the table.
        engine: Engine,
        /// The table's family.
        family: Family,
        /// The table's name.
        table: String,
        /// The chain's name.
        chain: String,
        /// The rule, with its handle where it has one. For xtables every rule of the chain that
        /// says the same is meant, and none is listed twice.
        rule: Rule,
    },
    /// A chain that nothing jumps to any more, with all of its rules.
    Chain {
        /// Who holds the table.
        engine: Engine,
        /// The table's family.
        family: Family,
        /// The table's name.
        table: String,
        /// The chain's name.
        chain: String,
    },
}

/// The names by which somebody's rules are known.
struct Traces {
    /// Tables of nf_tables.
    tables: &'static [(Family, &'static str)],
    /// Table of iptables, chain, and the built-in chain that jumps to it.
    chains: &'static [(&'static str, &'static str, &'static str)],
    /// Table of iptables, built-in chain, and the comment of rules in it.
    comments: &'static [(&'static str, &'static str, &'static str)],
}

/// flannel's rules in both flavours. Older releases had their rules in the built-in chains,
/// known by their comments; `FLANNEL-FWD` in `nat` is what flannel itself leaves there on its way
/// from one flavour to the other.
const FLANNEL: Traces = Traces {
    tables: &[(Family::Ip, "flannel-ipv4"), (Family::Ip6, "flannel-ipv6")],
    chains: &[
        ("nat", "FLANNEL-POSTRTG", "POSTROUTING"),
        ("nat", "FLANNEL-FWD", "FORWARD"),
        ("filter", "FLANNEL-FWD", "FORWARD"),
    ],
    comments: &[("nat", "POSTROUTING", "flanneld masq"), ("filter", "FORWARD", "flanneld forward")],
};

const OURS: Traces = Traces {
    tables: &[(Family::Ip, wanted::TABLE), (Family::Ip6, wanted::TABLE)],
    chains: &[("nat", wanted::POSTRTG, "POSTROUTING"), ("mangle", wanted::FWD, "FORWARD")],
    comments: &[("filter", "FORWARD", wanted::FORWARD_COMMENT)],
};

/// What flannel left behind.
#[must_use]
pub fn flannel(tables: &[Table]) -> Vec<Removal> {
    removals(tables, &FLANNEL)
}

/// What is ours, for those who remove us.
#[must_use]
pub fn ours(tables: &[Table]) -> Vec<Removal> {
    removals(tables, &OURS)
}

fn removals(tables: &[Table], traces: &Traces) -> Vec<Removal> {
    tables.iter().flat_map(|table| of_table(table, traces)).collect()
}

fn of_table(table: &Table, traces: &Traces) -> Vec<Removal> {
    let nf_tables = table.engine == Engine::NfTables;
    if nf_tables && traces.tables.contains(&(table.family, table.name.as_str())) {
        return vec![Removal::Table { family: table.family, table: table.name.clone() }];
    }
    if !matches!(table.family, Family::Ip | Family::Ip6) {
        return Vec::new();
    }
    let rules = table.chains.iter().flat_map(|chain| rules_of(table, chain, traces));
    let chains = table.chains.iter().filter(|chain| is_free(table, chain, traces));
    rules.chain(chains.map(|chain| remove_chain(table, chain))).collect()
}

fn rules_of(table: &Table, chain: &Chain, traces: &Traces) -> Vec<Removal> {
    let mut found: Vec<&Rule> = Vec::new();
    for rule in chain.rules.iter().filter(|rule| is_theirs(table, chain, rule, traces)) {
        let known = found.iter().any(|earlier| earlier.says_the_same(rule));
        if table.engine == Engine::NfTables || !known {
            found.push(rule);
        }
    }
    found.into_iter().map(|rule| remove_rule(table, chain, rule)).collect()
}

/// Whether a rule of a built-in chain is one of those that are known.
fn is_theirs(table: &Table, chain: &Chain, rule: &Rule, traces: &Traces) -> bool {
    let named = |name: &str| traces.chains.contains(&(&table.name, name, &chain.name));
    let jumps = target(rule).is_some_and(named);
    let says = traces.comments.contains(&(&table.name, &chain.name, &rule.comment));
    jumps || says
}

/// Whether a chain is one of those that are known, and no rule that stays needs it.
fn is_free(table: &Table, chain: &Chain, traces: &Traces) -> bool {
    let known = |name: &str| {
        traces.chains.iter().any(|(held, chain, _)| *held == table.name && *chain == name)
    };
    // What stands in a chain that goes does not count: none of them jumps to another one.
    let needs = |from: &Chain| {
        from.rules
            .iter()
            .any(|rule| target(rule) == Some(&chain.name) && !is_theirs(table, from, rule, traces))
    };
    chain.base.is_none() && known(&chain.name) && !table.chains.iter().any(needs)
}

fn target(rule: &Rule) -> Option<&str> {
    match &rule.action {
        Action::Jump(chain) | Action::Goto(chain) => Some(chain),
        Action::Continue
        | Action::Accept
        | Action::Drop
        | Action::Return
        | Action::Masquerade { .. }
        | Action::NoTrack
        | Action::Other(_) => None,
    }
}

fn remove_rule(table: &Table, chain: &Chain, rule: &Rule) -> Removal {
    let (engine, family) = (table.engine, table.family);
    let (table, chain) = (table.name.clone(), chain.name.clone());
    Removal::Rule { engine, family, table, chain, rule: rule.clone() }
}

fn remove_chain(table: &Table, chain: &Chain) -> Removal {
    let (engine, family) = (table.engine, table.family);
    Removal::Chain { engine, family, table: table.name.clone(), chain: chain.name.clone() }
}
