//! Bytes of rules: what `iptables-nft` was seen to send, what is odd, and what is broken.

use proptest::prelude::*;
use tartan_core::netfilter::model::{Action, Family, Match, Rule};

use super::attributes::Attributes;
use super::decode::{self, Place};
use super::encode::{self, Form};
use super::uapi::{expression, rule};
use super::writer::Writer;

fn read(family: Family, attributes: &[u8]) -> Result<Rule, crate::NetfilterError> {
    let sets = [String::from("nodes")];
    decode::rule(Place { family, sets: &sets }, &Attributes::parse(attributes)?)
}

/// A rule of the expressions that `body` writes.
fn of(family: Family, body: impl FnOnce(&mut Writer)) -> Rule {
    let mut to = Writer::default();
    to.nest(rule::EXPRESSIONS, body);
    read(family, &to.finish().expect("short")).expect("understood")
}

fn load(to: &mut Writer, key: u32) {
    to.expression("meta", |to| {
        to.number(expression::META_DREG, 1);
        to.number(expression::META_KEY, key);
    });
}

fn accept(to: &mut Writer) {
    to.append(
        b"\x30\x00\x01\x80\x0e\x00\x01\x00immediate\x00\x00\x00\x1c\x00\x02\x80\x08\x00\x01\x00\
          \x00\x00\x00\x00\x10\x00\x02\x80\x0c\x00\x02\x80\x08\x00\x01\x00\x00\x00\x00\x01",
    );
}

/// `-s 10.0.0.0/8`, as iptables-nft 1.8.9 sends it.
const SOURCE: &[u8] = b"\x34\x00\x01\x80\x0c\x00\x01\x00payload\x00\x24\x00\x02\x80\
    \x08\x00\x01\x00\x00\x00\x00\x01\x08\x00\x02\x00\x00\x00\x00\x01\
    \x08\x00\x03\x00\x00\x00\x00\x0c\x08\x00\x04\x00\x00\x00\x00\x01\
    \x2c\x00\x01\x80\x08\x00\x01\x00cmp\x00\x20\x00\x02\x80\x08\x00\x01\x00\x00\x00\x00\x01\
    \x08\x00\x02\x00\x00\x00\x00\x00\x0c\x00\x03\x80\x05\x00\x01\x00\x0a\x00\x00\x00";

#[test]
fn an_appended_rule_has_the_bytes_that_iptables_sends() {
    let wanted = Rule::new(
        vec![Match::Source { net: "10.0.0.0/8".parse().expect("a network"), negated: false }],
        Action::Accept,
        "tartan forward",
    );
    let mut to = Writer::default();
    encode::rule(&mut to, Family::Ip, Form::Iptables, &wanted).expect("written");
    let bytes = to.finish().expect("short");
    let comment = b"\x2c\x01\x01\x80\x0a\x00\x01\x00match\x00\x00\x00\x1c\x01\x02\x80\
        \x0c\x00\x01\x00comment\x00\x08\x00\x02\x00\x00\x00\x00\x00\x04\x01\x03\x00tartan forward";
    assert_eq!(&bytes[4..4 + SOURCE.len()], SOURCE);
    assert_eq!(&bytes[4 + SOURCE.len()..][..comment.len()], comment);
    let mut end = Writer::default();
    accept(&mut end);
    assert!(bytes.ends_with(&end.finish().expect("short")));
    assert!(read(Family::Ip, &bytes).expect("understood").says_the_same(&wanted));
}

#[test]
fn an_unknown_expression_is_an_action_nobody_takes_for_harmless() {
    let found = of(Family::Ip, |to| {
        to.expression("teleport", |to| to.number(1, 7));
        accept(to);
    });
    assert_eq!(found.action, Action::Other("teleport -j ACCEPT".into()));
}

#[test]
fn bytes_that_are_only_loaded_are_a_condition() {
    let found = of(Family::Ip, |to| {
        load(to, expression::META_OIFNAME);
        load(to, expression::META_MARK);
        accept(to);
    });
    let there = |what: &str| Match::Other(format!("meta {what} exists"));
    assert_eq!(found.matches, [there("oifname"), there("mark")]);
    assert_eq!(found.action, Action::Accept);
}

#[test]
fn a_register_under_a_longer_one_is_not_taken_for_what_it_was() {
    let found = of(Family::Ip6, |to| {
        to.expression("meta", |to| {
            to.number(expression::META_DREG, 9);
            to.number(expression::META_KEY, expression::META_MARK);
        });
        to.expression("payload", |to| {
            for (number, value) in [(1, 1), (2, 1), (3, 8), (4, 16)] {
                to.number(number, value);
            }
        });
        to.expression("cmp", |to| {
            to.number(expression::CMP_SREG, 9);
            to.number(expression::CMP_OP, 0);
            to.value(expression::CMP_DATA, &[1, 2, 3, 4]);
        });
    });
    assert_eq!(found.to_string(), "meta mark exists register 9 == 0x01020304 ip6 saddr exists ");
}

#[test]
fn what_stands_behind_a_verdict_does_not_change_it() {
    let found = of(Family::Ip, |to| {
        accept(to);
        to.expression("immediate", |to| to.number(expression::IMMEDIATE_DREG, 0));
    });
    assert_eq!(found.action, Action::Accept);
}

#[test]
fn a_comparison_with_host_bits_or_a_torn_mask_is_no_network() {
    for (mask, right) in [([255, 0, 255, 0], [10, 0, 1, 0]), ([255, 0, 0, 0], [10, 1, 0, 0])] {
        let found = of(Family::Ip, |to| {
            to.expression("payload", |to| {
                for (number, value) in [(1, 1), (2, 1), (3, 12), (4, 4)] {
                    to.number(number, value);
                }
            });
            to.expression("bitwise", |to| {
                to.number(expression::BITWISE_SREG, 1);
                to.number(expression::BITWISE_DREG, 1);
                to.number(expression::BITWISE_LEN, 4);
                to.value(expression::BITWISE_MASK, &mask);
                to.value(expression::BITWISE_XOR, &[0; 4]);
            });
            to.expression("cmp", |to| {
                to.number(expression::CMP_SREG, 1);
                to.number(expression::CMP_OP, 0);
                to.value(expression::CMP_DATA, &right);
            });
        });
        assert!(matches!(found.matches[..], [Match::Other(_)]), "{found}");
    }
}

#[test]
fn an_address_of_the_other_family_is_not_guessed() {
    let unknown = of(Family::Inet, |to| to.append(SOURCE));
    assert_eq!(unknown.matches, [Match::Other("@nh,96,8 == 0x0a".into())]);
    let sixth = of(Family::Ip6, |to| to.append(SOURCE));
    assert_eq!(sixth.matches, [Match::Other("@nh,96,8 == 0x0a".into())]);
}

#[test]
fn cut_off_attributes_are_told() {
    let mut to = Writer::default();
    to.nest(rule::EXPRESSIONS, |to| to.append(&[200, 0, 1, 0, 1]));
    assert!(read(Family::Ip, &to.finish().expect("short")).is_err());
}

#[test]
fn a_comment_is_found_among_other_user_data() {
    for (userdata, comment) in [
        (&b"\x01\x04\0\0\0\x01\x00\x03hi\0"[..], "hi"),
        (b"\x00\x02hi", "hi"),
        (b"\x00\xffhi", "hi"),
        (b"\x01", ""),
        (b"", ""),
    ] {
        let mut to = Writer::default();
        to.bytes(rule::USERDATA, userdata);
        let found = read(Family::Ip, &to.finish().expect("short")).expect("understood");
        assert_eq!(found.comment, comment, "{userdata:?}");
    }
}

const NAMES: [&str; 18] = [
    "payload",
    "meta",
    "ct",
    "bitwise",
    "cmp",
    "range",
    "lookup",
    "immediate",
    "masq",
    "match",
    "target",
    "fib",
    "exthdr",
    "nat",
    "limit",
    "counter",
    "byteorder",
    "odd",
];

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for family in [Family::Ip, Family::Ip6, Family::Inet, Family::Netdev] {
            let _ = read(family, &bytes);
        }
    }

    #[test]
    fn every_expression_but_a_counter_leaves_a_trace(
        index in 0..NAMES.len(),
        fields in prop::collection::vec((1..9_u16, prop::collection::vec(any::<u8>(), 0..40)), 0..6),
    ) {
        let name = NAMES[index];
        let mut to = Writer::default();
        to.nest(rule::EXPRESSIONS, |to| to.expression(name, |to| {
            for (number, value) in &fields {
                to.bytes(*number, value);
            }
        }));
        let Ok(found) = read(Family::Ip, &to.finish().expect("short")) else { return Ok(()) };
        let traceless = found.matches.is_empty() && found.action == Action::Continue;
        let harmless = matches!(name, "counter" | "immediate" | "match");
        prop_assert!(harmless || !traceless, "{name} {fields:?}");
    }
}
