//! A table as somebody reads it. What is not understood is named, never left out.

use tartan_core::netfilter::model::{
    Action, Base, Chain, Engine, Family, Hook, Match, Policy, Rule, Table,
};

use super::blob::{self, Content, Entry, Lead, Start};
use super::bytes::{be16_at, text_at, u8_at, u16_at, u32_at};
use super::extension;
use super::header;
use super::layout::{
    EXTENSION, EXTENSION_NAME, EXTENSION_NAME_LENGTH, EXTENSION_REVISION, Layout, verdict,
};

/// Ports of `struct nf_nat_range` and its older form.
const RANGE_PORTS: u32 = 0x02;
const RANGE_RANDOM_FULLY: u32 = 0x10;

/// A whole table.
pub(super) fn table(name: &str, content: &Content) -> Table {
    let chain = |chain: &blob::Chain| Chain {
        name: chain.name.clone(),
        base: base(name, chain),
        rules: chain.rules.iter().map(|entry| rule(content.layout, entry)).collect(),
    };
    Table {
        engine: Engine::Xtables,
        family: content.layout.family,
        name: name.to_owned(),
        sets: Vec::new(),
        chains: content.chains.iter().map(chain).collect(),
    }
}

fn base(table: &str, chain: &blob::Chain) -> Option<Base> {
    let number = match &chain.start {
        Start::Hook(number) => *number,
        Start::Head(_) => return None,
    };
    let drops = chain.tail.lead == Lead::Verdict(verdict::DROP);
    Some(Base {
        kind: if table == "nat" { "nat" } else { "filter" }.to_owned(),
        hook: hook(number),
        priority: priority(table, number),
        policy: if drops { Policy::Drop } else { Policy::Accept },
        devices: Vec::new(),
    })
}

fn hook(number: usize) -> Hook {
    match number {
        0 => Hook::Prerouting,
        1 => Hook::Input,
        2 => Hook::Forward,
        3 => Hook::Output,
        4 => Hook::Postrouting,
        other => Hook::Other(u32::try_from(other).unwrap_or(u32::MAX)),
    }
}

/// `enum nf_ip_hook_priorities`.
fn priority(table: &str, hook: usize) -> i32 {
    match (table, hook) {
        ("raw", _) => -300,
        ("mangle", _) => -150,
        ("nat", 0 | 3) => -100,
        ("nat", _) => 100,
        ("security", _) => 50,
        _ => 0,
    }
}

/// One rule.
pub(super) fn rule(layout: &Layout, entry: &Entry) -> Rule {
    let mut rule = Rule::new(header::decode(layout, &entry.bytes), action(layout, entry), "");
    let target = entry.target(layout);
    let mut at = layout.entry;
    while at < target {
        let length = u16_at(&entry.bytes, at).map_or(0, usize::from).max(EXTENSION);
        let end = (at + length).min(target);
        let found = Extension::parse(entry.bytes.get(at..end).unwrap_or_default());
        match extension::comment(&found) {
            Some(text) if rule.comment.is_empty() => rule.comment = text,
            Some(text) => rule.matches.push(Match::Other(format!("-m comment --comment {text:?}"))),
            None => rule.matches.push(extension::decode(&found)),
        }
        at = end;
    }
    rule
}

/// A match or a target.
#[derive(Debug)]
pub(super) struct Extension<'bytes> {
    /// Its name.
    pub(super) name: String,
    /// Its revision.
    pub(super) revision: u8,
    /// What it holds.
    pub(super) data: &'bytes [u8],
}

impl<'bytes> Extension<'bytes> {
    fn parse(bytes: &'bytes [u8]) -> Self {
        Self {
            name: text_at(bytes, EXTENSION_NAME, EXTENSION_NAME_LENGTH).unwrap_or_default(),
            revision: u8_at(bytes, EXTENSION_REVISION).unwrap_or_default(),
            data: bytes.get(EXTENSION..).unwrap_or_default(),
        }
    }
}

fn action(layout: &Layout, entry: &Entry) -> Action {
    let flags = u8_at(&entry.bytes, layout.flags).unwrap_or_default();
    let is_goto = flags & layout.goto != 0;
    match &entry.lead {
        Lead::Next => Action::Continue,
        Lead::Chain(name) if is_goto => Action::Goto(name.clone()),
        Lead::Chain(name) => Action::Jump(name.clone()),
        Lead::Verdict(verdict::ACCEPT) => Action::Accept,
        Lead::Verdict(verdict::DROP) => Action::Drop,
        Lead::Verdict(verdict::RETURN) => Action::Return,
        Lead::Verdict(verdict::QUEUE) => Action::Other("-j QUEUE".into()),
        Lead::Verdict(number) => Action::Other(format!("verdict {number}")),
        Lead::Target => {
            let bytes = entry.bytes.get(entry.target(layout)..).unwrap_or_default();
            let target = Extension::parse(bytes);
            masquerade(layout, &target)
                .unwrap_or_else(|| Action::Other(format!("-j {}", target.name)))
        }
    }
}

/// Where the flags and the ports of a masquerade are: IPv4 keeps the older range, behind a number
/// of ranges that is always one.
pub(super) fn masquerade_places(layout: &Layout) -> (usize, usize) {
    if layout.family == Family::Ip { (4, 16) } else { (0, 36) }
}

fn masquerade(layout: &Layout, target: &Extension<'_>) -> Option<Action> {
    if target.name != "MASQUERADE" || target.revision != 0 {
        return None;
    }
    let (flags_at, ports_at) = masquerade_places(layout);
    let flags = u32_at(target.data, flags_at)?;
    let first = be16_at(target.data, ports_at)?;
    let last = be16_at(target.data, ports_at + 2)?;
    if flags & !(RANGE_PORTS | RANGE_RANDOM_FULLY) != 0 {
        return Some(Action::Other(format!("-j MASQUERADE (flags {flags:#x})")));
    }
    Some(Action::Masquerade {
        random_fully: flags & RANGE_RANDOM_FULLY != 0,
        ports: (flags & RANGE_PORTS != 0).then_some((first, last)),
    })
}

/// The flags of a masquerade.
pub(super) fn masquerade_flags(random_fully: bool, with_ports: bool) -> u32 {
    let random = if random_fully { RANGE_RANDOM_FULLY } else { 0 };
    random | if with_ports { RANGE_PORTS } else { 0 }
}
