//! Edits in short, and rules of every kind that can be written.

#![expect(clippy::expect_used, reason = "a test's scaffolding fails its test")]

use ipnet::IpNet;
use tartan_core::netfilter::model::{Action, Family, Match, Rule};
use tartan_netfilter::xtables::Edit;

/// The families that have xtables.
pub(crate) const BOTH: [Family; 2] = [Family::Ip, Family::Ip6];

fn net(family: Family, index: u8) -> IpNet {
    let six = format!("fd00:{index}::/64");
    let text = if family == Family::Ip6 { six } else { format!("10.244.{index}.0/24") };
    text.parse().expect("a network")
}

/// Traffic from the network of this number.
pub(crate) fn source(family: Family, index: u8) -> Match {
    Match::Source { net: net(family, index), negated: false }
}

/// Traffic to the network of this number.
pub(crate) fn destination(family: Family, index: u8, negated: bool) -> Match {
    Match::Destination { net: net(family, index), negated }
}

/// [`Edit::PutChain`].
pub(crate) fn put(chain: &str, rules: Vec<Rule>) -> Edit {
    Edit::PutChain { chain: chain.into(), rules }
}

/// [`Edit::AppendRule`].
pub(crate) fn append(chain: &str, rule: Rule) -> Edit {
    Edit::AppendRule { chain: chain.into(), rule }
}

/// [`Edit::DeleteRule`].
pub(crate) fn delete(chain: &str, rule: Rule) -> Edit {
    Edit::DeleteRule { chain: chain.into(), rule }
}

/// One rule of every kind that can be written, in the order in which the kernel shows matches.
pub(crate) fn every_kind(family: Family) -> Vec<Rule> {
    let mark = |negated| Match::Mark { value: 0x4000, mask: 0x4000, negated };
    let device = |name: &str| name.to_owned();
    let masquerade = |random_fully, ports| Action::Masquerade { random_fully, ports };
    vec![
        Rule::new(vec![source(family, 1), destination(family, 2, true)], Action::Accept, "a b"),
        Rule::new(
            vec![Match::InDevice { name: device("eth0"), negated: false }],
            Action::Return,
            "",
        ),
        Rule::new(
            vec![Match::OutDevice { name: device("veth+"), negated: true }],
            Action::Return,
            "",
        ),
        Rule::new(vec![mark(false)], Action::Return, "marked"),
        Rule::new(vec![mark(true)], Action::Continue, ""),
        Rule::new(vec![Match::Protocol(6), Match::DestinationPort(80)], Action::Accept, ""),
        Rule::new(vec![Match::Protocol(17), Match::DestinationPort(8472)], Action::Accept, ""),
        Rule::new(vec![Match::Protocol(132)], Action::Continue, "counted"),
        Rule::new(vec![Match::DestinationTranslated], Action::Jump("TARTAN-B".into()), ""),
        Rule::new(vec![], Action::Goto("TARTAN-B".into()), ""),
        Rule::new(vec![], masquerade(false, None), ""),
        Rule::new(vec![], masquerade(true, None), "tartan"),
        Rule::new(vec![Match::Protocol(6)], masquerade(true, Some((1024, 2048))), ""),
    ]
}
