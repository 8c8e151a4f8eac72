//! Tables in bytes, without a kernel: nothing gets lost, and nothing that the kernel could say
//! makes us panic.

use proptest::prelude::*;
use tartan_core::netfilter::model::{Action, Family, Match, Rule};

use super::Edit;
use super::blob::{Chain, Content, Entry, HOOK_NAMES, Info, Start};
use super::build::Built;
use super::change::Step;
use super::layout::{COUNTER, Layout};
use super::{decode, encode};

/// Input, forward and output.
const FILTER_HOOKS: u32 = 0b0_1110;

fn layout(family: Family) -> &'static Layout {
    Layout::of(family).expect("a family of xtables")
}

fn entry(layout: &Layout, matches: Vec<Match>, action: Action, comment: &str) -> Entry {
    encode::rule(layout, &Rule::new(matches, action, comment)).expect("can be written")
}

fn user_chain(layout: &Layout, name: &str, rules: Vec<Entry>) -> Chain {
    let (head, tail) = encode::chain_ends(layout, name).expect("a name");
    Chain { name: name.into(), start: Start::Head(head), rules, tail }
}

/// A table `filter` with a little of everything.
fn table(family: Family) -> Content {
    let layout = layout(family);
    let text = if family == Family::Ip { "10.0.0.0/8" } else { "fd00::/16" };
    let source = || Match::Source { net: text.parse().expect("a network"), negated: true };
    let device = || Match::InDevice { name: "eth+".into(), negated: false };
    let port = || vec![Match::Protocol(6), Match::DestinationPort(80)];
    let base = |hook: usize| Chain {
        name: HOOK_NAMES[hook].into(),
        start: Start::Hook(hook),
        rules: vec![
            entry(layout, vec![source(), device()], Action::Jump("B".into()), "one"),
            entry(layout, port(), Action::Continue, ""),
            entry(layout, vec![Match::DestinationTranslated], Action::Goto("D".into()), ""),
        ],
        tail: entry(layout, vec![], if hook == 2 { Action::Drop } else { Action::Accept }, ""),
    };
    let masquerade = Action::Masquerade { random_fully: true, ports: Some((1, 2)) };
    let mark = Match::Mark { value: 1, mask: 3, negated: true };
    let mut chains = vec![base(1), base(2), base(3)];
    chains.push(user_chain(layout, "B", vec![entry(layout, vec![mark], Action::Return, "b")]));
    chains.push(user_chain(layout, "D", vec![entry(layout, port(), masquerade, "")]));
    let info =
        Info { valid_hooks: FILTER_HOOKS, entry: [0; 5], underflow: [0; 5], count: 0, size: 0 };
    let (end, _) = encode::chain_ends(layout, "end").expect("a name");
    let mut content = Content { layout, info, chains, end };
    let built = Built::new(&content).expect("all chains are there");
    content.info = built.info;
    Content::parse(layout, built.info, &built.bytes).expect("well-formed")
}

fn names(content: &Content) -> Vec<&str> {
    content.chains.iter().map(|chain| chain.name.as_str()).collect()
}

fn edit(content: &mut Content, edit: &Edit) -> bool {
    let step = Step::new(content.layout, edit).expect("can be written");
    step.apply(content).expect("fits the table")
}

#[test]
fn a_table_that_nobody_edits_is_built_byte_for_byte() {
    for family in [Family::Ip, Family::Ip6] {
        let content = table(family);
        let built = Built::new(&content).expect("built");
        assert_eq!(built.info, content.info);
        let again = Content::parse(content.layout, built.info, &built.bytes).expect("parsed");
        assert_eq!(again, content);
        let numbers: Vec<_> = (0..built.origins.len()).map(Some).collect();
        assert_eq!(built.origins, numbers);
    }
}

#[test]
fn rules_and_policies_are_read_as_they_were_written() {
    let read = decode::table("filter", &table(Family::Ip6));
    let forward = read.chain("FORWARD").expect("there");
    let lines: Vec<String> = forward.rules.iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["! -s fd00::/16 -i eth+ -j B", "-p tcp --dport 80 ", "--ctstate DNAT -g D"]);
    let policies = read.chains.iter().filter_map(|chain| Some(chain.base.as_ref()?.policy));
    assert_eq!(format!("{:?}", policies.collect::<Vec<_>>()), "[Accept, Drop, Accept]");
}

#[test]
fn a_new_chain_stands_where_its_name_belongs_and_jumps_follow() {
    let mut content = table(Family::Ip);
    let rules = vec![Rule::new(vec![], Action::Jump("D".into()), "")];
    assert!(edit(&mut content, &Edit::PutChain { chain: "C".into(), rules: rules.clone() }));
    assert!(!edit(&mut content, &Edit::PutChain { chain: "C".into(), rules }));
    assert_eq!(names(&content), ["INPUT", "FORWARD", "OUTPUT", "B", "C", "D"]);
    let built = Built::new(&content).expect("built");
    let again = Content::parse(content.layout, built.info, &built.bytes).expect("parsed");
    let read = decode::table("filter", &again);
    assert_eq!(read.chain("C").map(|chain| chain.rules[0].to_string()), Some("-j D".into()));
    assert_eq!(read.chain("FORWARD").map(|chain| chain.rules[2].to_string()), {
        Some("--ctstate DNAT -g D".into())
    });
}

#[test]
fn counters_follow_their_entries() {
    let mut content = table(Family::Ip);
    let old: Vec<u8> = (0..content.info.count)
        .flat_map(|number| [u64::from(number).to_ne_bytes(), [7; 8]].concat())
        .collect();
    let rule = || Rule::new(vec![Match::Protocol(17)], Action::Accept, "new");
    edit(&mut content, &Edit::AppendRule { chain: "INPUT".into(), rule: rule() });
    let counters = Built::new(&content).expect("built").counters(&old);
    let packets: Vec<u64> = counters
        .chunks(COUNTER)
        .map(|pair| u64::from_ne_bytes(pair[..8].try_into().expect("eight bytes")))
        .collect();
    assert_eq!(packets[..6], [0, 1, 2, 0, 3, 4]);
    assert_eq!(counters.len(), old.len() + COUNTER);
    assert!(edit(&mut content, &Edit::DeleteRule { chain: "INPUT".into(), rule: rule() }));
    assert_eq!(Built::new(&content).expect("built").counters(&old), old);
}

#[test]
fn a_deleted_chain_that_is_still_jumped_to_is_named() {
    let mut content = table(Family::Ip);
    edit(&mut content, &Edit::DeleteChain { chain: "B".into() });
    let error = Built::new(&content).expect_err("INPUT jumps to it").to_string();
    assert!(error.contains("from chain INPUT to B"), "{error}");
}

#[test]
fn a_rule_is_found_whatever_the_order_of_its_matches() {
    let mut content = table(Family::Ip);
    let net = "10.0.0.0/8".parse().expect("a network");
    let matches = vec![
        Match::InDevice { name: "eth+".into(), negated: false },
        Match::Source { net, negated: true },
    ];
    let rule = Rule::new(matches, Action::Jump("B".into()), "one");
    assert!(edit(&mut content, &Edit::DeleteRule { chain: "INPUT".into(), rule: rule.clone() }));
    assert!(!edit(&mut content, &Edit::DeleteRule { chain: "INPUT".into(), rule }));
}

#[test]
fn no_flag_and_no_inversion_of_nothing_is_left_out() {
    let everything = [
        (Family::Ip, 0x08, 0x00, "flags 0x8, inverted 0x0 "),
        (Family::Ip, 0x00, 0x20, "flags 0x0, inverted 0x20 "),
        (Family::Ip, 0x01, 0x20, "! -f "),
        (Family::Ip, 0x00, 0x01, "! -i + "),
        (Family::Ip, 0x00, 0x08, "! -s 0.0.0.0/0 "),
        (Family::Ip6, 0x02, 0x84, "! --tos 0x0 flags 0x0, inverted 0x80 "),
        (Family::Ip6, 0x01, 0x40, "! -p 0 "),
    ];
    for (family, flags, inverted, text) in everything {
        let layout = layout(family);
        let mut entry = entry(layout, vec![], Action::Continue, "");
        entry.bytes[layout.flags] = flags;
        entry.bytes[layout.inversions] = inverted;
        assert_eq!(decode::rule(layout, &entry).to_string(), text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Either an error, or a table of which no byte is lost.
    #[test]
    fn a_mutated_table_never_panics_and_never_loses_bytes(
        six: bool,
        bytes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        lengths in prop::collection::vec((any::<prop::sample::Index>(), 0_u16..400), 0..2),
        outline in prop::option::of((0_usize..10, 0_u32..4000)),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let content = table(if six { Family::Ip6 } else { Family::Ip });
        let layout = content.layout;
        let Built { mut info, bytes: mut blob, .. } = Built::new(&content).expect("built");
        for (at, byte) in bytes {
            blob[at.index(content.info.size as usize)] = byte;
        }
        for (at, length) in lengths {
            let at = at.index(blob.len() / 2 - 1) * 2;
            blob[at..at + 2].copy_from_slice(&length.to_ne_bytes());
        }
        match outline {
            Some((0, bits)) => info.valid_hooks = bits,
            Some((hook @ 1..=5, to)) => info.entry[hook - 1] = to,
            Some((hook, to)) => info.underflow[hook - 5] = to,
            None => {}
        }
        if let Some(cut) = cut {
            blob.truncate(cut.index(blob.len()));
        }
        if let Ok(content) = Content::parse(layout, info, &blob) {
            let read = decode::table("filter", &content);
            let rules: usize = read.chains.iter().map(|chain| chain.rules.len()).sum();
            let heads = read.chains.iter().filter(|chain| chain.base.is_none()).count();
            prop_assert_eq!(rules + heads + read.chains.len() + 1, info.count as usize);
            prop_assert_eq!(Built::new(&content).expect("all chains are there").bytes, blob);
        }
    }

    #[test]
    fn any_bytes_are_refused_or_read(bytes: Vec<u8>, info in prop::array::uniform21(any::<u8>())) {
        let mut outline = vec![0; 32];
        outline.extend(info.iter().cycle().take(52));
        let info = Info::parse(&outline).expect("long enough");
        if let Ok(content) = Content::parse(layout(Family::Ip), info, &bytes) {
            decode::table("filter", &content);
        }
    }
}
