//! Chains of entries as the bytes that replace a table: every place is computed anew.

use std::collections::HashMap;

use super::blob::{Content, Entry, HOOKS, Info, Lead, Start};
use super::bytes::put;
use super::encode::unwritable;
use super::layout::{COUNTER, EXTENSION};
use crate::NetfilterError;

/// A table to be written.
#[derive(Debug)]
pub(super) struct Built {
    /// Its outline.
    pub(super) info: Info,
    /// Its entries.
    pub(super) bytes: Vec<u8>,
    /// For each entry, the number of the old one that it is.
    pub(super) origins: Vec<Option<usize>>,
}

impl Built {
    /// Lays the chains out.
    pub(super) fn new(content: &Content) -> Result<Self, NetfilterError> {
        let starts = starts(content);
        let mut built = Self {
            info: Info { entry: [0; HOOKS], underflow: [0; HOOKS], ..content.info },
            bytes: Vec::with_capacity(content.info.size as usize),
            origins: Vec::new(),
        };
        for chain in &content.chains {
            match &chain.start {
                Start::Hook(hook) => built.info.entry[*hook] = place(built.bytes.len())?,
                Start::Head(head) => built.push(content, &starts, &chain.name, head)?,
            }
            for entry in &chain.rules {
                built.push(content, &starts, &chain.name, entry)?;
            }
            if let Start::Hook(hook) = chain.start {
                built.info.underflow[hook] = place(built.bytes.len())?;
            }
            built.push(content, &starts, &chain.name, &chain.tail)?;
        }
        built.push(content, &starts, "", &content.end)?;
        built.info.size = place(built.bytes.len())?;
        built.info.count = place(built.origins.len())?;
        Ok(built)
    }

    fn push(
        &mut self,
        content: &Content,
        starts: &HashMap<&str, usize>,
        chain: &str,
        entry: &Entry,
    ) -> Result<(), NetfilterError> {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&entry.bytes);
        self.origins.push(entry.origin);
        let to = match &entry.lead {
            Lead::Target | Lead::Verdict(_) => return Ok(()),
            Lead::Next => self.bytes.len(),
            Lead::Chain(name) => *starts.get(name.as_str()).ok_or_else(|| {
                let what = format!("jump from chain {chain} to {name}");
                unwritable(what, "that chain is not there; put it in the same edit")
            })?,
        };
        let verdict = at + entry.target(content.layout) + EXTENSION;
        put(&mut self.bytes, verdict, &place(to)?.to_ne_bytes());
        Ok(())
    }

    /// The counters of the new entries, out of those of the old ones.
    pub(super) fn counters(&self, old: &[u8]) -> Vec<u8> {
        let mut counters = vec![0; self.origins.len() * COUNTER];
        for (place, origin) in counters.chunks_exact_mut(COUNTER).zip(&self.origins) {
            let found = origin.and_then(|origin| old.chunks_exact(COUNTER).nth(origin));
            put(place, 0, found.unwrap_or_default());
        }
        counters
    }
}

/// Where the first rule of each chain will be.
fn starts(content: &Content) -> HashMap<&str, usize> {
    let mut at = 0;
    let mut starts = HashMap::new();
    for chain in &content.chains {
        if let Start::Head(head) = &chain.start {
            at += head.bytes.len();
        }
        starts.insert(chain.name.as_str(), at);
        at += chain.rules.iter().map(|entry| entry.bytes.len()).sum::<usize>();
        at += chain.tail.bytes.len();
    }
    starts
}

/// A place as the kernel writes it: jumps are signed numbers of 32 bits.
fn place(at: usize) -> Result<u32, NetfilterError> {
    u32::try_from(at)
        .ok()
        .filter(|at| i32::try_from(*at).is_ok())
        .ok_or_else(|| unwritable("write the table".into(), "it has more than 2 GiB"))
}
