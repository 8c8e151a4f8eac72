//! Whatever table can be written is read back the same.

#![expect(clippy::expect_used, reason = "a test's scaffolding fails its test")]

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tartan_core::netfilter::model::{
    Action, Base, Chain, Engine, Family, Hook, Match, Policy, Rule, Set, Table,
};
use tartan_netfilter::nft::Nft;

use crate::support::{namespace, put};

fn network(family: Family) -> BoxedStrategy<IpNet> {
    if family == Family::Ip {
        let v4 = |(address, prefix): (u32, u8)| Ipv4Net::new(Ipv4Addr::from(address), prefix);
        (any::<u32>(), 0..=32_u8)
            .prop_map(move |it| IpNet::from(v4(it).expect("a prefix").trunc()))
            .boxed()
    } else {
        let v6 = |(address, prefix): (u128, u8)| Ipv6Net::new(Ipv6Addr::from(address), prefix);
        (any::<u128>(), 0..=128_u8)
            .prop_map(move |it| IpNet::from(v6(it).expect("a prefix").trunc()))
            .boxed()
    }
}

fn device() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9.-]{0,13}[a-z+]"
}

fn condition(family: Family) -> BoxedStrategy<Match> {
    let mut of_all = prop_oneof![
        (network(family), any::<bool>()).prop_map(|(net, negated)| Match::Source { net, negated }),
        (network(family), any::<bool>())
            .prop_map(|(net, negated)| Match::Destination { net, negated }),
        (device(), any::<bool>()).prop_map(|(name, negated)| Match::InDevice { name, negated }),
        (device(), any::<bool>()).prop_map(|(name, negated)| Match::OutDevice { name, negated }),
        (any::<u32>(), prop_oneof![any::<u32>(), Just(u32::MAX)], any::<bool>())
            .prop_map(|(value, mask, negated)| Match::Mark { value, mask, negated }),
        Just(Match::DestinationTranslated),
        Just(Match::ConntrackInvalid),
    ]
    .boxed();
    if family == Family::Ip {
        of_all = prop_oneof![of_all, Just(Match::DestinationIn("nodes".into()))].boxed();
    }
    of_all
}

/// With a protocol, some rules look at a port too.
fn matches(family: Family) -> impl Strategy<Value = Vec<Match>> {
    let transport = prop_oneof![
        Just(vec![]),
        any::<u8>().prop_map(|number| vec![Match::Protocol(number)]),
        (prop_oneof![Just(6), Just(17), Just(132)], any::<u16>())
            .prop_map(|(number, port)| vec![Match::Protocol(number), Match::DestinationPort(port)]),
        (1..=u8::MAX).prop_map(|mask| vec![Match::Protocol(6), Match::TcpFlagsAny(mask)]),
    ];
    (transport, prop::collection::vec(condition(family), 0..5)).prop_map(|(mut all, more)| {
        all.extend(more);
        all
    })
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        Just(Action::Continue),
        Just(Action::Accept),
        Just(Action::Drop),
        Just(Action::Return),
        Just(Action::Jump("side".into())),
        Just(Action::Goto("side".into())),
        Just(Action::NoTrack),
        (any::<bool>(), prop::option::of((1..100_u16, 100..u16::MAX)))
            .prop_map(|(random_fully, ports)| Action::Masquerade { random_fully, ports }),
    ]
}

fn rule(family: Family) -> impl Strategy<Value = Rule> {
    (matches(family), action(), "[ -~]{0,60}").prop_map(|(mut matches, action, comment)| {
        if let Action::Masquerade { ports: Some(_), .. } = action {
            matches.insert(0, Match::Protocol(17));
        }
        Rule::new(matches, action, comment)
    })
}

fn table() -> impl Strategy<Value = Table> {
    prop_oneof![Just(Family::Ip), Just(Family::Ip6)].prop_flat_map(|family| {
        let rules = prop::collection::vec(rule(family), 0..12);
        let nodes = prop::collection::btree_set(any::<u32>(), 0..50);
        (rules, nodes, -300..300_i32).prop_map(move |(rules, nodes, priority)| {
            let elements = nodes.into_iter().map(Ipv4Addr::from).collect();
            let base = Base {
                kind: "nat".into(),
                hook: Hook::Postrouting,
                // The kernel's own place for NAT is before this.
                priority: priority.max(-199),
                policy: Policy::Accept,
                devices: Vec::new(),
            };
            Table {
                engine: Engine::NfTables,
                family,
                name: "tartan".into(),
                sets: vec![Set { name: "nodes".into(), elements }],
                chains: vec![
                    Chain { name: "side".into(), base: None, rules: Vec::new() },
                    Chain { name: "postrouting".into(), base: Some(base), rules },
                ],
            }
        })
    })
}

#[test]
fn any_table_that_can_be_written_is_read_back_the_same() {
    namespace(|| {
        let outcome = TestRunner::default().run(&table(), |wanted| {
            let mut kernel = Nft::open().expect("nf_tables");
            put(&mut kernel, &wanted);
            let found = kernel.ruleset("tartan").expect("read");
            let ours = found.iter().find(|table| table.family == wanted.family).expect("there");
            prop_assert!(wanted.says_the_same(ours), "{wanted:#?}\n{ours:#?}");
            Ok(())
        });
        outcome.expect("the same");
    });
}
