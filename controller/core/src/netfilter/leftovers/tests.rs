//! All of flannel's and of ours goes, in an order that works, and nothing of anybody else.

use proptest::prelude::*;

use super::*;
use crate::netfilter::model::{Base, Hook, Policy};
use crate::netfilter::testing::{iptables, nft};

const NAT: &str = "*nat
    :PREROUTING ACCEPT
    :POSTROUTING ACCEPT
    :FLANNEL-POSTRTG -
    :FLANNEL-FWD -
    :TARTAN-POSTRTG -
    :KUBE-POSTROUTING -
    -A POSTROUTING -j KUBE-POSTROUTING
    -A POSTROUTING --comment flanneld_masq -j FLANNEL-POSTRTG
    -A POSTROUTING -s 172.17.0.0/16 -j MASQUERADE
    -A POSTROUTING --comment flanneld_masq -j FLANNEL-POSTRTG
    -A POSTROUTING -s 10.244.0.0/16 --comment flanneld_masq -j MASQUERADE
    -A POSTROUTING --comment tartan_masq -j TARTAN-POSTRTG
    -A FLANNEL-POSTRTG -s 10.244.0.0/16 --comment flanneld_masq -j MASQUERADE
    -A TARTAN-POSTRTG -s 10.244.0.0/16 --comment tartan_masq:_x -j MASQUERADE";

const FILTER: &str = "*filter
    :INPUT ACCEPT
    :FORWARD DROP
    :FLANNEL-FWD -
    -A INPUT -p tcp --dport 22 -j ACCEPT
    -A FORWARD --comment flanneld_forward -j FLANNEL-FWD
    -A FORWARD -s 10.9.0.0/16 -j ACCEPT
    -A FORWARD -s 10.244.0.0/16 --comment tartan_forward -j ACCEPT
    -A FORWARD -d 10.244.0.0/16 --comment tartan_forward -j ACCEPT
    -A FLANNEL-FWD -s 10.244.0.0/16 --comment flanneld_forward -j ACCEPT";

const MANGLE: &str = "*mangle
    :FORWARD ACCEPT
    :TARTAN-FWD -
    -A FORWARD -p tcp --comment clamp -j TCPMSS
    -A FORWARD -j TARTAN-FWD
    -A TARTAN-FWD -s 10.244.0.0/16 -j DROP";

fn empty(family: Family, name: &str) -> Table {
    let (engine, name) = (Engine::NfTables, name.to_owned());
    Table { engine, family, name, sets: vec![], chains: vec![] }
}

fn host() -> Vec<Table> {
    let mut tables = Vec::new();
    for engine in [Engine::NfTables, Engine::Xtables] {
        for family in [Family::Ip, Family::Ip6] {
            tables.extend(
                [NAT, FILTER, MANGLE].map(|text| Table { family, ..iptables(engine, text) }),
            );
        }
    }
    for name in ["flannel-ipv4", "flannel-ipv6", "tartan", "kube-proxy"] {
        tables.extend([Family::Ip, Family::Ip6, Family::Inet].map(|family| empty(family, name)));
    }
    tables
}

/// Does what is asked, as the kernel would: a chain that is needed cannot go.
fn apply(tables: &mut Vec<Table>, removal: &Removal) {
    let find = |tables: &mut Vec<Table>, engine, family, name: &str| {
        let is =
            |table: &Table| (table.engine, table.family) == (engine, family) && table.name == name;
        tables.iter().position(is).unwrap()
    };
    match removal {
        Removal::Table { family, table } => {
            let index = find(tables, Engine::NfTables, *family, table);
            tables.remove(index);
        }
        Removal::Rule { engine, family, table, chain, rule } => {
            let index = find(tables, *engine, *family, table);
            let chain = tables[index].chains.iter_mut().find(|one| one.name == *chain).unwrap();
            let before = chain.rules.len();
            match engine {
                Engine::NfTables => {
                    let index = chain.rules.iter().position(|one| one == rule).unwrap();
                    chain.rules.remove(index);
                }
                Engine::Xtables => chain.rules.retain(|one| !one.says_the_same(rule)),
            }
            assert!(chain.rules.len() < before, "{rule} was not there");
        }
        Removal::Chain { engine, family, table, chain } => {
            let index = find(tables, *engine, *family, table);
            let chains = &mut tables[index].chains;
            let needed = |rule: &Rule| target(rule) == Some(chain);
            assert!(!chains.iter().any(|one| one.rules.iter().any(needed)), "{chain} is needed");
            chains.retain(|one| one.name != *chain);
        }
    }
}

fn without(text: &str, words: &[&str]) -> String {
    let lines = text.lines().filter(|line| !words.iter().any(|word| line.contains(word)));
    lines.collect::<Vec<_>>().join("\n")
}

/// What is left of the iptables tables, and the names of the others.
fn check(removals: fn(&[Table]) -> Vec<Removal>, gone: &[&str], others: &[(Family, &str)]) {
    let mut tables = host();
    for removal in removals(&tables) {
        apply(&mut tables, &removal);
    }
    for engine in [Engine::NfTables, Engine::Xtables] {
        for family in [Family::Ip, Family::Ip6] {
            for text in [NAT, FILTER] {
                let table = Table { family, ..iptables(engine, &without(text, gone)) };
                assert!(tables.contains(&table), "{engine:?} {family} {}", table.name);
            }
        }
    }
    let left = tables.iter().filter(|table| table.chains.is_empty());
    let left: Vec<_> = left.map(|table| (table.family, table.name.as_str())).collect();
    let is_gone = |table: &Table| others.contains(&(table.family, table.name.as_str()));
    let wanted = host().into_iter().filter(|table| table.chains.is_empty() && !is_gone(table));
    let wanted: Vec<_> = wanted.map(|table| (table.family, table.name)).collect();
    assert_eq!(left, wanted.iter().map(|(f, n)| (*f, n.as_str())).collect::<Vec<_>>());
    assert_eq!(removals(&tables), [], "done twice");
}

#[test]
fn all_of_flannel_goes_and_nothing_else() {
    let tables = [(Family::Ip, "flannel-ipv4"), (Family::Ip6, "flannel-ipv6")];
    check(flannel, &["FLANNEL-", "flanneld"], &tables);
}

#[test]
fn all_of_ours_goes_and_nothing_else() {
    let tables = [(Family::Ip, "tartan"), (Family::Ip6, "tartan")];
    check(ours, &["TARTAN-", "tartan_"], &tables);
}

#[test]
fn what_we_write_ourselves_is_found_again() {
    let settings = wanted::Settings { ip_masq: true, ..wanted::Settings::default() };
    let [network, subnet] = ["10.244.0.0/16", "10.244.1.0/24"].map(|net| net.parse().unwrap());
    let masquerade = wanted::Masquerade::new(network, subnet, settings).unwrap();
    assert_eq!(ours(&[wanted::table(&masquerade)]).len(), 1);
    for hooked in wanted::xtables(&masquerade) {
        let mut table =
            iptables(Engine::Xtables, &format!("*{}\n:{} -", hooked.table, hooked.base));
        table.chains[0].rules = vec![hooked.jump];
        table.chains[0].rules.extend(wanted::forward_rules(network));
        table.chains.push(hooked.chain);
        let expected = if hooked.table == "filter" { 4 } else { 2 };
        assert_eq!(ours(&[table]).len(), expected, "{}", hooked.table);
    }
}

#[test]
fn a_chain_that_a_stranger_jumps_to_stays() {
    let table = nft("*filter
        :FORWARD ACCEPT
        :MINE -
        :FLANNEL-FWD -
        -A FORWARD -j MINE
        -A FORWARD -j FLANNEL-FWD
        -A MINE -j FLANNEL-FWD");
    let removals = flannel(&[table]);
    assert!(matches!(removals.as_slice(), [Removal::Rule { chain, .. }] if chain == "FORWARD"));
}

/// Names that are nearly, but not quite, one of those that are known.
fn near_miss() -> impl Strategy<Value = String> {
    let known = ["FLANNEL-POSTRTG", "FLANNEL-FWD", "TARTAN-POSTRTG", "TARTAN-FWD", "tartan"];
    let more =
        ["flannel-ipv4", "flannel-ipv6", "flanneld masq", "flanneld forward", "tartan forward"];
    let names = known.into_iter().chain(more).collect::<Vec<_>>();
    (prop::sample::select(names), 0..6_u8, any::<prop::sample::Index>()).prop_map(
        |(name, how, index)| match how {
            0 => format!("{name}2"),
            1 => format!("x{name}"),
            2 if name.chars().any(char::is_uppercase) => name.to_lowercase(),
            2 => name.to_uppercase(),
            3 => format!("{name} "),
            4 => format!("cali-{name}"),
            _ => {
                let gone = index.index(name.len());
                name.char_indices().filter(|(at, _)| *at != gone).map(|(_, c)| c).collect()
            }
        },
    )
}

fn family() -> impl Strategy<Value = Family> {
    prop::sample::select(vec![Family::Ip, Family::Ip6, Family::Inet, Family::Bridge])
}

fn stranger() -> impl Strategy<Value = Table> {
    let table = prop_oneof![Just("nat".to_owned()), Just("filter".to_owned()), near_miss()];
    let base = prop::sample::select(vec!["POSTROUTING", "FORWARD", "INPUT"]);
    let engine = prop::sample::select(vec![Engine::NfTables, Engine::Xtables]);
    (engine, family(), table, base, near_miss(), near_miss()).prop_map(
        |(engine, family, name, base, chain, comment)| {
            let kind = "filter".to_owned();
            let (hook, policy) = (Hook::Forward, Policy::Accept);
            let hooked = Base { kind, hook, priority: 0, policy, devices: vec![] };
            let rules = vec![Rule::new(vec![], Action::Jump(chain.clone()), comment)];
            let base = Chain { name: base.to_owned(), base: Some(hooked), rules };
            let user = Chain { name: chain, base: None, rules: vec![] };
            Table { engine, family, name, sets: vec![], chains: vec![base, user] }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn a_name_that_is_nearly_known_is_a_strangers(table in stranger()) {
        prop_assert_eq!(flannel(std::slice::from_ref(&table)), vec![]);
        prop_assert_eq!(ours(&[table]), vec![]);
    }

    #[test]
    fn a_known_name_in_another_place_is_a_strangers(
        family in prop::sample::select(vec![Family::Inet, Family::Bridge, Family::Netdev]),
    ) {
        let tables: Vec<_> = host().into_iter().map(|table| Table { family, ..table }).collect();
        prop_assert_eq!(flannel(&tables), vec![]);
        prop_assert_eq!(ours(&tables), vec![]);
    }
}
