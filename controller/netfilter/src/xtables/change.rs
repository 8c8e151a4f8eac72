//! Edits, applied to a table that was taken apart. Foreign entries are moved, never touched.

use tartan_core::netfilter::model::Rule;

use super::Edit;
use super::blob::{Chain, Content, Entry, Start};
use super::layout::Layout;
use super::{decode, encode};
use crate::NetfilterError;

/// An edit whose rules can be written.
#[derive(Debug)]
pub(super) enum Step<'edit> {
    Put { chain: &'edit str, entries: Vec<Entry>, ends: (Entry, Entry) },
    Append { chain: &'edit str, entry: Entry },
    DeleteRule { chain: &'edit str, rule: Rule },
    DeleteChain { chain: &'edit str },
}

impl<'edit> Step<'edit> {
    /// Refuses what cannot be written, before anything is touched.
    pub(super) fn new(layout: &Layout, edit: &'edit Edit) -> Result<Self, NetfilterError> {
        Ok(match edit {
            Edit::PutChain { chain, rules } => Self::Put {
                chain,
                entries: rules
                    .iter()
                    .map(|rule| encode::rule(layout, rule))
                    .collect::<Result<_, _>>()?,
                ends: encode::chain_ends(layout, chain)?,
            },
            Edit::AppendRule { chain, rule } => {
                Self::Append { chain, entry: encode::rule(layout, rule)? }
            }
            // As it would be read back: the order of the matches is the kernel's.
            Edit::DeleteRule { chain, rule } => {
                Self::DeleteRule { chain, rule: decode::rule(layout, &encode::rule(layout, rule)?) }
            }
            Edit::DeleteChain { chain } => Self::DeleteChain { chain },
        })
    }

    /// Whether it can only take away.
    pub(super) fn only_deletes(&self) -> bool {
        match self {
            Self::Put { .. } | Self::Append { .. } => false,
            Self::DeleteRule { .. } | Self::DeleteChain { .. } => true,
        }
    }

    /// Applies it; whether that changed anything.
    pub(super) fn apply(&self, content: &mut Content) -> Result<bool, NetfilterError> {
        let layout = content.layout;
        match self {
            Self::Put { chain, entries, ends } => put(content, chain, entries, ends),
            Self::Append { chain, entry } => {
                find(content, chain)
                    .ok_or_else(|| {
                        let what = format!("append a rule to chain {chain}");
                        encode::unwritable(what, "it is not there; put it first")
                    })?
                    .rules
                    .push(entry.clone());
                Ok(true)
            }
            Self::DeleteRule { chain, rule } => {
                let Some(chain) = find(content, chain) else { return Ok(false) };
                let before = chain.rules.len();
                chain.rules.retain(|entry| !decode::rule(layout, entry).says_the_same(rule));
                Ok(chain.rules.len() != before)
            }
            Self::DeleteChain { chain } => delete(content, chain),
        }
    }
}

fn find<'content>(content: &'content mut Content, name: &str) -> Option<&'content mut Chain> {
    content.chains.iter_mut().find(|chain| chain.name == name)
}

fn base_chain(name: &str) -> NetfilterError {
    let what = format!("put or delete chain {name}");
    encode::unwritable(what, "packets enter there; append or delete single rules")
}

fn put(
    content: &mut Content,
    name: &str,
    entries: &[Entry],
    (head, tail): &(Entry, Entry),
) -> Result<bool, NetfilterError> {
    let layout = content.layout;
    let Some(chain) = find(content, name) else {
        let (name, start) = (name.to_owned(), Start::Head(head.clone()));
        let new = Chain { name, start, rules: entries.to_vec(), tail: tail.clone() };
        // Where `iptables` would put it: user chains stand in the order of their names.
        let is_later = |chain: &Chain| match chain.start {
            Start::Hook(_) => false,
            Start::Head(_) => chain.name > new.name,
        };
        let place = content.chains.iter().position(is_later).unwrap_or(content.chains.len());
        content.chains.insert(place, new);
        return Ok(true);
    };
    if matches!(chain.start, Start::Hook(_)) {
        return Err(base_chain(name));
    }
    let same = |(old, new): (&Entry, &Entry)| {
        decode::rule(layout, old).says_the_same(&decode::rule(layout, new))
    };
    if chain.rules.len() == entries.len() && chain.rules.iter().zip(entries).all(same) {
        return Ok(false);
    }
    chain.rules = entries.to_vec();
    Ok(true)
}

fn delete(content: &mut Content, name: &str) -> Result<bool, NetfilterError> {
    let Some(place) = content.chains.iter().position(|chain| chain.name == name) else {
        return Ok(false);
    };
    if matches!(content.chains.get(place).map(|chain| &chain.start), Some(Start::Hook(_))) {
        return Err(base_chain(name));
    }
    content.chains.remove(place);
    Ok(true)
}
