//! From the rules that are there to the rules that shall be there: a pure function.

use std::collections::BTreeMap;

use tartan_core::netfilter::model::{Chain, Engine, Family, Policy, Rule, Set, Table};
use tartan_core::netfilter::wanted::{
    self, FORWARD_COMMENT, Hooked, Masquerade, NODES, TABLE, forward_rules,
};
use tartan_netfilter::{nft, xtables};

/// The families that we have rules in.
const FAMILIES: [Family; 2] = [Family::Ip, Family::Ip6];

/// What the node asks of the packet filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The rules of each family that pods have.
    pub masquerade: Vec<Masquerade>,
    /// Whether pods' packets shall pass where forwarding is dropped by policy.
    pub accept_forwarded: bool,
}

/// What has to be done; empty when all is as it shall be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// One transaction of nf_tables.
    pub(super) nft: Vec<nft::Edit>,
    /// By family and table of xtables.
    pub(super) xtables: BTreeMap<(Family, String), Vec<xtables::Edit>>,
    /// What changes, for the log.
    pub(super) told: Vec<String>,
}

impl Plan {
    /// Compares what is there with what shall be; `engine` is the one that our own rules live in.
    #[must_use]
    pub(super) fn new(tables: &[Table], request: &Request, engine: Engine) -> Self {
        let mut plan = Self::default();
        for family in FAMILIES {
            let wanted = request.masquerade.iter().find(|one| one.family() == family);
            match engine {
                Engine::NfTables => plan.own_table(tables, family, wanted),
                Engine::Xtables => plan.own_chains(tables, family, wanted),
            }
            let accept = wanted.filter(|_| request.accept_forwarded);
            for table in tables.iter().filter(|table| is_filter(table, family)) {
                plan.forwarding(table, accept);
            }
        }
        plan
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.nft.is_empty() && self.xtables.is_empty()
    }

    fn own_table(&mut self, tables: &[Table], family: Family, wanted: Option<&Masquerade>) {
        let found = tables.iter().find(|table| {
            (table.engine, table.family) == (Engine::NfTables, family) && table.name == TABLE
        });
        match (found, wanted.map(wanted::table)) {
            (None, None) => {}
            (Some(_), None) => {
                self.told.push(format!("removed the table {family} {TABLE}"));
                self.nft.push(nft::Edit::RemoveTable { family, name: TABLE.to_owned() });
            }
            (Some(found), Some(wanted)) if found.says_the_same(&wanted) => {}
            (Some(found), Some(wanted)) if differ_in_nodes(found, &wanted) => {
                self.nft.push(elements(found, &wanted));
            }
            (found, Some(wanted)) => {
                let what = if found.is_some() { "put right" } else { "wrote" };
                self.told.push(format!("{what} the table {family} {TABLE}"));
                self.nft.push(nft::Edit::PutTable(wanted));
            }
        }
    }

    fn own_chains(&mut self, tables: &[Table], family: Family, wanted: Option<&Masquerade>) {
        for hooked in wanted.map(wanted::xtables).unwrap_or_default() {
            let table = tables.iter().find(|table| is_xtables(table, family, hooked.table));
            let edits = edits_of(table, &hooked);
            if !edits.is_empty() {
                self.told.push(format!("wrote the chain {family} {}", hooked.chain.name));
                self.xtables(family, hooked.table, edits);
            }
        }
    }

    /// The rules behind everybody's in a forward chain that drops by policy, and only there.
    fn forwarding(&mut self, table: &Table, wanted: Option<&Masquerade>) {
        let Some(chain) = table.chain("FORWARD") else { return };
        let drops = chain.base.as_ref().is_some_and(|base| base.policy == Policy::Drop);
        let wanted: Vec<_> = wanted
            .filter(|_| drops)
            .map(|one| forward_rules(one.network()).to_vec())
            .unwrap_or_default();
        let ours: Vec<_> =
            chain.rules.iter().filter(|rule| rule.comment == FORWARD_COMMENT).collect();
        if ours.len() == wanted.len() && ours.iter().zip(&wanted).all(|(a, b)| a.says_the_same(b)) {
            return;
        }
        for rule in ours {
            self.told
                .push(format!("removed from {} {}, FORWARD: {rule}", table.family, table.name));
            self.delete(table, chain, rule);
        }
        for rule in wanted {
            self.told.push(format!(
                "{} {}, FORWARD drops by policy; appended: {rule}",
                table.family, table.name
            ));
            self.append(table, chain, rule);
        }
    }

    fn append(&mut self, table: &Table, chain: &Chain, rule: Rule) {
        let (family, chain) = (table.family, chain.name.clone());
        match table.engine {
            Engine::NfTables => {
                self.nft.push(nft::Edit::AppendRule {
                    family,
                    table: table.name.clone(),
                    chain,
                    rule,
                });
            }
            Engine::Xtables => {
                self.xtables(family, &table.name, vec![xtables::Edit::AppendRule { chain, rule }]);
            }
        }
    }

    fn delete(&mut self, table: &Table, chain: &Chain, rule: &Rule) {
        let (family, chain) = (table.family, chain.name.clone());
        match table.engine {
            Engine::NfTables => {
                let table = table.name.clone();
                let edit = |handle| nft::Edit::DeleteRule { family, table, chain, handle };
                self.nft.extend(rule.handle.map(edit));
            }
            Engine::Xtables => {
                let rule = rule.clone();
                self.xtables(family, &table.name, vec![xtables::Edit::DeleteRule { chain, rule }]);
            }
        }
    }

    fn xtables(&mut self, family: Family, table: &str, edits: Vec<xtables::Edit>) {
        self.xtables.entry((family, table.to_owned())).or_default().extend(edits);
    }
}

fn is_filter(table: &Table, family: Family) -> bool {
    table.family == family && table.name == "filter"
}

fn is_xtables(table: &Table, family: Family, name: &str) -> bool {
    (table.engine, table.family) == (Engine::Xtables, family) && table.name == name
}

/// What brings a chain of ours, and the way into it, to where they shall be.
fn edits_of(table: Option<&Table>, hooked: &Hooked) -> Vec<xtables::Edit> {
    let Hooked { base, jump, chain, .. } = hooked;
    let same = |found: &Chain| {
        found.rules.len() == chain.rules.len()
            && found.rules.iter().zip(&chain.rules).all(|(a, b)| a.says_the_same(b))
    };
    let has_chain = table.and_then(|table| table.chain(&chain.name)).is_some_and(same);
    let has_jump = table
        .and_then(|table| table.chain(base))
        .is_some_and(|base| base.rules.iter().any(|rule| rule.says_the_same(jump)));
    let put = xtables::Edit::PutChain { chain: chain.name.clone(), rules: chain.rules.clone() };
    let append = xtables::Edit::AppendRule { chain: (*base).to_owned(), rule: jump.clone() };
    let missing = [(has_chain, put), (has_jump, append)];
    missing.into_iter().filter(|(there, _)| !there).map(|(_, edit)| edit).collect()
}

/// Whether two tables are the same but for the nodes, which come and go.
fn differ_in_nodes(found: &Table, wanted: &Table) -> bool {
    let sets = |table: &Table| table.sets.iter().map(|set| set.name.clone()).collect::<Vec<_>>();
    let with_nodes = Table { sets: wanted.sets.clone(), ..found.clone() };
    sets(found) == [NODES] && with_nodes.says_the_same(wanted)
}

fn elements(found: &Table, wanted: &Table) -> nft::Edit {
    let of = |table: &Table| -> Vec<_> {
        table.sets.iter().flat_map(|set: &Set| set.elements.clone()).collect()
    };
    let (old, new) = (of(found), of(wanted));
    let without = |all: &[std::net::Ipv4Addr], those: &[std::net::Ipv4Addr]| {
        all.iter().filter(|one| those.binary_search(one).is_err()).copied().collect()
    };
    nft::Edit::Elements {
        family: wanted.family,
        table: TABLE.to_owned(),
        set: NODES.to_owned(),
        add: without(&new, &old),
        remove: without(&old, &new),
    }
}

#[cfg(test)]
mod tests;
