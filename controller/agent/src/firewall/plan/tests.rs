//! Plans, carried out on tables in memory: what is planned must lead to where nothing is left to
//! plan, and touch nothing else.

use std::net::Ipv4Addr;

use tartan_core::netfilter::model::{Action, Base, Hook, Match};

use super::*;

fn masquerade(nodes: &[u8]) -> Masquerade {
    let settings = wanted::Settings {
        ip_masq: true,
        random_fully: true,
        skips_conntrack: true,
        tunnel_port: Some(8472),
        exempt: Vec::new(),
        nodes: nodes.iter().map(|n| Ipv4Addr::new(172, 30, 0, *n)).collect(),
    };
    let (network, subnet) = ("10.244.0.0/16", "10.244.1.0/24");
    Masquerade::new(network.parse().unwrap(), subnet.parse().unwrap(), settings).unwrap()
}

fn request(nodes: &[u8]) -> Request {
    Request { masquerade: vec![masquerade(nodes)], accept_forwarded: true }
}

/// A filter table as iptables makes it, with a stranger's rule in FORWARD.
fn filter(engine: Engine, policy: Policy) -> Table {
    let base = Base {
        kind: "filter".to_owned(),
        hook: Hook::Forward,
        priority: 0,
        policy,
        devices: Vec::new(),
    };
    let stranger =
        Rule { handle: Some(7), ..Rule::new(vec![Match::Protocol(6)], Action::Drop, "somebody's") };
    Table {
        engine,
        family: Family::Ip,
        name: "filter".to_owned(),
        sets: Vec::new(),
        chains: vec![Chain { name: "FORWARD".to_owned(), base: Some(base), rules: vec![stranger] }],
    }
}

fn chain_mut<'a>(
    tables: &'a mut [Table],
    engine: Engine,
    table: &str,
    chain: &str,
) -> &'a mut Chain {
    let table = tables.iter_mut().find(|it| it.engine == engine && it.name == table).unwrap();
    table.chains.iter_mut().find(|it| it.name == chain).unwrap()
}

/// What the kernel would do.
fn carry_out(tables: &mut Vec<Table>, plan: &Plan) {
    for edit in plan.nft.clone() {
        match edit {
            nft::Edit::PutTable(table) => {
                tables.retain(|it| (it.family, &it.name) != (table.family, &table.name));
                tables.push(table);
            }
            nft::Edit::RemoveTable { family, name } => {
                tables.retain(|it| (it.family, &it.name) != (family, &name));
            }
            nft::Edit::Elements { table, add, remove, .. } => {
                let table = tables.iter_mut().find(|it| it.name == table).unwrap();
                let elements = &mut table.sets[0].elements;
                elements.retain(|one| !remove.contains(one));
                elements.extend(add);
                elements.sort_unstable();
            }
            nft::Edit::AppendRule { table, chain, rule, .. } => {
                let chain = chain_mut(tables, Engine::NfTables, &table, &chain);
                let handle = Some(100 + chain.rules.len() as u64);
                chain.rules.push(Rule { handle, ..rule });
            }
            nft::Edit::DeleteRule { table, chain, handle, .. } => {
                let chain = chain_mut(tables, Engine::NfTables, &table, &chain);
                chain.rules.retain(|rule| rule.handle != Some(handle));
            }
            nft::Edit::DeleteChain { .. } => panic!("nobody asked for that"),
        }
    }
    for ((_, table), edits) in &plan.xtables {
        for edit in edits.clone() {
            carry_out_xtables(tables, table, edit);
        }
    }
}

fn carry_out_xtables(tables: &mut [Table], table: &str, edit: xtables::Edit) {
    match edit {
        xtables::Edit::PutChain { chain, rules } => {
            let table = tables.iter_mut().find(|it| it.name == table).unwrap();
            table.chains.retain(|it| it.name != chain);
            table.chains.push(Chain { name: chain, base: None, rules });
        }
        xtables::Edit::AppendRule { chain, rule } => {
            chain_mut(tables, Engine::Xtables, table, &chain).rules.push(rule);
        }
        xtables::Edit::DeleteRule { chain, rule } => {
            let chain = chain_mut(tables, Engine::Xtables, table, &chain);
            chain.rules.retain(|one| !one.says_the_same(&rule));
        }
        xtables::Edit::DeleteChain { .. } => panic!("nobody asked for that"),
    }
}

/// Carries out what is planned, and makes sure that nothing is left to do.
fn settle(tables: &mut Vec<Table>, request: &Request, engine: Engine) -> Plan {
    let plan = Plan::new(tables, request, engine);
    carry_out(tables, &plan);
    let next = Plan::new(tables, request, engine);
    assert!(next.is_empty(), "{next:?}");
    plan
}

fn comments(tables: &mut [Table], engine: Engine) -> Vec<String> {
    chain_mut(tables, engine, "filter", "FORWARD").rules.iter().map(|r| r.comment.clone()).collect()
}

#[test]
fn the_first_plan_writes_one_table_and_the_second_nothing() {
    let mut tables = Vec::new();
    let plan = settle(&mut tables, &request(&[1, 2]), Engine::NfTables);
    assert!(matches!(&plan.nft[..], [nft::Edit::PutTable(_)]), "{plan:?}");
}

#[test]
fn a_node_that_comes_changes_an_element_and_no_rule() {
    let mut tables = Vec::new();
    settle(&mut tables, &request(&[1, 2]), Engine::NfTables);
    let plan = settle(&mut tables, &request(&[2, 3]), Engine::NfTables);
    let [nft::Edit::Elements { add, remove, .. }] = &plan.nft[..] else { panic!("{plan:?}") };
    assert_eq!(
        (&add[..], &remove[..]),
        (&["172.30.0.3".parse().unwrap()][..], &["172.30.0.1".parse().unwrap()][..])
    );
}

#[test]
fn any_rule_chain_or_set_that_is_lost_comes_back() {
    let mut whole = Vec::new();
    settle(&mut whole, &request(&[1]), Engine::NfTables);
    for chain in 0..whole[0].chains.len() {
        for rule in 0..whole[0].chains[chain].rules.len() {
            let mut tables = whole.clone();
            tables[0].chains[chain].rules.remove(rule);
            assert!(!settle(&mut tables, &request(&[1]), Engine::NfTables).is_empty());
        }
        let mut tables = whole.clone();
        tables[0].chains.remove(chain);
        assert!(!settle(&mut tables, &request(&[1]), Engine::NfTables).is_empty());
    }
    let mut tables = whole.clone();
    tables[0].sets.clear();
    assert!(!settle(&mut tables, &request(&[1]), Engine::NfTables).is_empty());
}

#[test]
fn forwarding_that_is_dropped_by_policy_is_allowed_behind_everybody() {
    for engine in [Engine::NfTables, Engine::Xtables] {
        let mut tables = vec![filter(engine, Policy::Drop)];
        settle(&mut tables, &request(&[]), Engine::NfTables);
        let said = comments(&mut tables, engine);
        assert_eq!(said, ["somebody's", FORWARD_COMMENT, FORWARD_COMMENT]);
    }
}

#[test]
fn forwarding_that_is_accepted_by_policy_needs_nothing_of_ours() {
    for engine in [Engine::NfTables, Engine::Xtables] {
        let mut tables = vec![filter(engine, Policy::Accept)];
        settle(&mut tables, &request(&[]), Engine::NfTables);
        assert_eq!(comments(&mut tables, engine), ["somebody's"]);
    }
}

#[test]
fn what_allowed_forwarding_goes_when_nobody_asks_for_it_any_more() {
    for engine in [Engine::NfTables, Engine::Xtables] {
        let mut tables = vec![filter(engine, Policy::Drop)];
        settle(&mut tables, &request(&[]), Engine::NfTables);
        let unasked = Request { accept_forwarded: false, ..request(&[]) };
        settle(&mut tables, &unasked, Engine::NfTables);
        assert_eq!(comments(&mut tables, engine), ["somebody's"]);
    }
}

#[test]
fn a_family_that_pods_no_longer_have_loses_its_table() {
    let mut tables = Vec::new();
    settle(&mut tables, &request(&[1]), Engine::NfTables);
    let nothing = Request { masquerade: Vec::new(), accept_forwarded: true };
    settle(&mut tables, &nothing, Engine::NfTables);
    assert!(tables.is_empty());
}

#[test]
fn without_nf_tables_our_chains_are_made_and_mended_in_xtables() {
    let mut nat = filter(Engine::Xtables, Policy::Accept);
    "nat".clone_into(&mut nat.name);
    "POSTROUTING".clone_into(&mut nat.chains[0].name);
    let mut mangle = filter(Engine::Xtables, Policy::Accept);
    "mangle".clone_into(&mut mangle.name);
    let mut tables = vec![nat, filter(Engine::Xtables, Policy::Accept), mangle];
    assert!(!settle(&mut tables, &request(&[]), Engine::Xtables).is_empty());
    let jumps = &mut chain_mut(&mut tables, Engine::Xtables, "nat", "POSTROUTING").rules;
    assert_eq!(jumps.len(), 2);
    jumps.clear();
    assert!(!settle(&mut tables, &request(&[]), Engine::Xtables).is_empty());
    chain_mut(&mut tables, Engine::Xtables, "nat", wanted::POSTRTG).rules.pop();
    assert!(!settle(&mut tables, &request(&[]), Engine::Xtables).is_empty());
}
