//! A table as the kernel keeps it, taken apart into chains of entries: every byte of an entry is
//! kept, and only what depends on its place (where a jump leads) is understood.

use std::collections::HashMap;

use super::bytes::{i32_at, put, text_at, u16_at, u32_at};
use super::layout::{
    CHAIN_NAME, DEVICE_NAME, ERROR, ERROR_TARGET, EXTENSION, EXTENSION_NAME, EXTENSION_NAME_LENGTH,
    Layout, STANDARD_TARGET, TABLE_NAME, verdict,
};
use crate::NetfilterError;

/// How many hooks there are.
pub(super) const HOOKS: usize = 5;
/// `iptables`' names of the hooks, by the kernel's number.
pub(super) const HOOK_NAMES: [&str; HOOKS] =
    ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];

/// A table's outline (`struct ipt_getinfo`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Info {
    /// A bit for each hook that the table has.
    pub(super) valid_hooks: u32,
    /// Where each hook's chain begins.
    pub(super) entry: [u32; HOOKS],
    /// Where each hook's policy is.
    pub(super) underflow: [u32; HOOKS],
    /// How many entries there are.
    pub(super) count: u32,
    /// How many bytes they have.
    pub(super) size: u32,
}

impl Info {
    /// Out of the kernel's answer.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let number = |index: usize| u32_at(bytes, TABLE_NAME + 4 * index);
        let mut info = Self {
            valid_hooks: number(0)?,
            entry: [0; HOOKS],
            underflow: [0; HOOKS],
            count: number(2 * HOOKS + 1)?,
            size: number(2 * HOOKS + 2)?,
        };
        for hook in 0..HOOKS {
            info.entry[hook] = number(1 + hook)?;
            info.underflow[hook] = number(1 + HOOKS + hook)?;
        }
        Some(info)
    }

    /// Into the head of `struct ipt_replace`.
    pub(super) fn write_replace(&self, head: &mut [u8], old: u32) {
        let numbers = [self.valid_hooks, self.count, self.size].into_iter();
        let numbers = numbers.chain(self.entry).chain(self.underflow).chain([old]);
        for (index, number) in numbers.enumerate() {
            put(head, TABLE_NAME + 4 * index, &number.to_ne_bytes());
        }
    }

    /// Whether the table has a hook.
    pub(super) fn has(&self, hook: usize) -> bool {
        self.valid_hooks & (1 << hook) != 0
    }
}

/// Where an entry leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lead {
    /// Its target is no verdict.
    Target,
    /// A verdict.
    Verdict(i32),
    /// The next entry.
    Next,
    /// A chain.
    Chain(String),
}

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// All of its bytes.
    pub(super) bytes: Vec<u8>,
    /// Where it leads; the bytes of the verdict do not count.
    pub(super) lead: Lead,
    /// Its number in the kernel's list, if it came from there.
    pub(super) origin: Option<usize>,
}

impl Entry {
    /// Where its target begins.
    pub(super) fn target(&self, layout: &Layout) -> usize {
        u16_at(&self.bytes, layout.target).map_or(layout.entry, usize::from)
    }

    /// Its target's name.
    pub(super) fn target_name(&self, layout: &Layout) -> String {
        let at = self.target(layout) + EXTENSION_NAME;
        text_at(&self.bytes, at, EXTENSION_NAME_LENGTH).unwrap_or_default()
    }

    /// Whether every packet gets to its target.
    fn is_for_all(&self, layout: &Layout) -> bool {
        // Bytes of a name under a mask of zeros do not count.
        let address = layout.address;
        let masks = layout.devices + 2 * DEVICE_NAME;
        let zero = |from: usize, to: usize| {
            self.bytes.get(from..to).is_some_and(|field| field.iter().all(|byte| *byte == 0))
        };
        self.target(layout) == layout.entry
            && zero(0, 4 * address)
            && zero(masks, layout.inversions + 1)
    }
}

/// A chain of entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chain {
    /// Its name.
    pub(super) name: String,
    /// What it begins with.
    pub(super) start: Start,
    /// Its rules.
    pub(super) rules: Vec<Entry>,
    /// What follows the last rule: the policy, or the way back.
    pub(super) tail: Entry,
}

/// What a chain begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Start {
    /// Nothing: packets of this hook enter at its first rule.
    Hook(usize),
    /// The entry with its name.
    Head(Entry),
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    /// Its family's structures.
    pub(super) layout: &'static Layout,
    /// The kernel's outline of it.
    pub(super) info: Info,
    /// Its chains.
    pub(super) chains: Vec<Chain>,
    /// The last entry.
    pub(super) end: Entry,
}

/// A chain while its entries come in.
struct Open {
    name: String,
    start: Start,
    rules: Vec<Entry>,
    /// Where the entry is that came in last.
    last: usize,
}

impl Content {
    /// Takes the kernel's bytes apart.
    pub(super) fn parse(
        layout: &'static Layout,
        info: Info,
        bytes: &[u8],
    ) -> Result<Self, NetfilterError> {
        let mut entries = split(layout, &info, bytes)?;
        let (_, end) = entries.pop().ok_or_else(|| malformed("a table without entries", 0))?;
        if end.target_name(layout) != ERROR {
            return Err(malformed("a table without an end", info.size as usize));
        }
        let starts = starts(layout, &info, &entries);
        let mut chains = Vec::new();
        let mut open = None;
        for (at, mut entry) in entries {
            resolve(layout, &starts, at, &mut entry)?;
            if let Some(hook) = (0..HOOKS).find(|hook| begins(&info, *hook, at)) {
                close(layout, &info, open.take(), &mut chains)?;
                let (name, start) = (HOOK_NAMES[hook].to_owned(), Start::Hook(hook));
                open = Some(Open { name, start, rules: vec![entry], last: at });
            } else if entry.target_name(layout) == ERROR {
                close(layout, &info, open.take(), &mut chains)?;
                let name = chain_name(layout, &entry);
                open = Some(Open { name, start: Start::Head(entry), rules: Vec::new(), last: at });
            } else {
                let open = open.as_mut().ok_or_else(|| malformed("an entry of no chain", at))?;
                open.rules.push(entry);
                open.last = at;
            }
        }
        close(layout, &info, open, &mut chains)?;
        check_hooks(&info, &chains)?;
        Ok(Self { layout, info, chains, end })
    }
}

pub(super) fn malformed(what: &str, at: usize) -> NetfilterError {
    NetfilterError::Malformed(format!("{what}, at byte {at} of an xtables table"))
}

fn begins(info: &Info, hook: usize, at: usize) -> bool {
    info.has(hook) && info.entry[hook] as usize == at
}

/// The entries with their places.
fn split(
    layout: &Layout,
    info: &Info,
    bytes: &[u8],
) -> Result<Vec<(usize, Entry)>, NetfilterError> {
    let mut entries = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let bytes = entry_at(layout, bytes, at).ok_or_else(|| malformed("a broken entry", at))?;
        let origin = Some(entries.len());
        let length = bytes.len();
        entries.push((at, Entry { bytes: bytes.to_vec(), lead: Lead::Target, origin }));
        at += length;
    }
    if entries.len() != info.count as usize {
        return Err(malformed("another number of entries than announced", at));
    }
    Ok(entries)
}

/// The bytes of an entry whose lengths fit into each other.
fn entry_at<'bytes>(layout: &Layout, bytes: &'bytes [u8], at: usize) -> Option<&'bytes [u8]> {
    let rest = bytes.get(at..)?;
    let target = usize::from(u16_at(rest, layout.target)?);
    let next = usize::from(u16_at(rest, layout.next)?);
    let target_length = usize::from(u16_at(rest, target)?);
    let fits =
        target >= layout.entry && target_length >= EXTENSION && target + target_length == next;
    let entry = rest.get(..next).filter(|_| fits)?;
    matches_fit(layout, entry, target).then_some(entry)
}

fn matches_fit(layout: &Layout, entry: &[u8], target: usize) -> bool {
    let mut at = layout.entry;
    while at < target {
        let length = u16_at(entry, at).map_or(0, usize::from);
        if length < EXTENSION {
            return false;
        }
        at += length;
    }
    at == target
}

/// The chains by the place of their first rule.
fn starts(layout: &Layout, info: &Info, entries: &[(usize, Entry)]) -> HashMap<usize, String> {
    let hooks = (0..HOOKS).filter(|hook| info.has(*hook));
    let hooks = hooks.map(|hook| (info.entry[hook] as usize, HOOK_NAMES[hook].to_owned()));
    let heads = entries.iter().filter(|(_, entry)| entry.target_name(layout) == ERROR);
    let heads = heads.map(|(at, entry)| (at + entry.bytes.len(), chain_name(layout, entry)));
    hooks.chain(heads).collect()
}

fn chain_name(layout: &Layout, head: &Entry) -> String {
    text_at(&head.bytes, head.target(layout) + EXTENSION, CHAIN_NAME).unwrap_or_default()
}

/// Finds out where an entry leads.
fn resolve(
    layout: &Layout,
    starts: &HashMap<usize, String>,
    at: usize,
    entry: &mut Entry,
) -> Result<(), NetfilterError> {
    let target = entry.target(layout);
    let length = entry.bytes.len() - target;
    let name = entry.target_name(layout);
    if name == ERROR && length < ERROR_TARGET || name.is_empty() && length < STANDARD_TARGET {
        return Err(malformed("a target that is too short", at));
    }
    if !name.is_empty() {
        return Ok(());
    }
    let verdict = i32_at(&entry.bytes, target + EXTENSION).unwrap_or_default();
    entry.lead = match usize::try_from(verdict) {
        Err(_) => Lead::Verdict(verdict),
        Ok(to) if to == at + entry.bytes.len() => Lead::Next,
        Ok(to) => match starts.get(&to) {
            Some(chain) => Lead::Chain(chain.clone()),
            None => return Err(malformed("a jump to no chain", at)),
        },
    };
    Ok(())
}

/// Ends a chain: its last entry is the policy or the way back.
fn close(
    layout: &Layout,
    info: &Info,
    open: Option<Open>,
    chains: &mut Vec<Chain>,
) -> Result<(), NetfilterError> {
    let Some(Open { name, start, mut rules, last }) = open else { return Ok(()) };
    let is_end = |lead: &Lead| match start {
        Start::Hook(hook) => {
            let policies = [Lead::Verdict(verdict::ACCEPT), Lead::Verdict(verdict::DROP)];
            policies.contains(lead) && info.underflow[hook] as usize == last
        }
        Start::Head(_) => *lead == Lead::Verdict(verdict::RETURN),
    };
    let tail = rules.pop().filter(|tail| is_end(&tail.lead) && tail.is_for_all(layout));
    let tail = tail.ok_or_else(|| NetfilterError::Malformed(format!("chain {name} has no end")))?;
    chains.push(Chain { name, start, rules, tail });
    Ok(())
}

/// Every hook has its chain, and none has a name twice.
fn check_hooks(info: &Info, chains: &[Chain]) -> Result<(), NetfilterError> {
    let mut names: Vec<&str> = chains.iter().map(|chain| chain.name.as_str()).collect();
    names.sort_unstable();
    let mut pairs = names.iter().zip(names.iter().skip(1));
    if let Some((twice, _)) = pairs.find(|(one, other)| one == other) {
        return Err(NetfilterError::Malformed(format!("two chains are called {twice}")));
    }
    let bases = chains.iter().filter(|chain| matches!(chain.start, Start::Hook(_))).count();
    let hooks = (0..HOOKS).filter(|hook| info.has(*hook)).count();
    if bases != hooks || info.valid_hooks >> HOOKS != 0 {
        return Err(NetfilterError::Malformed(format!("{bases} chains for {hooks} hooks")));
    }
    Ok(())
}
