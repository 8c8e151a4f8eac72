//! A transaction: the edits as messages between a beginning and an end, each with the words for
//! what it does, so that a refusal can be told.

use std::net::Ipv4Addr;

use tartan_core::netfilter::model::{Chain, Family, Policy, Rule, Table};

use super::Edit;
use super::encode::{self, Form};
use super::family;
use super::uapi::{
    ACK, APPEND, BATCH_BEGIN, BATCH_END, CREATE, EXCLUSIVE, NFNL_SUBSYS_NFTABLES, REQUEST, chain,
    data, element, message, rule, set, table,
};
use super::writer::Writer;
use crate::NetfilterError;

/// Elements in one message: a nest has at most 65535 bytes.
const ELEMENTS: usize = 2000;
/// With a size a set is a plain hash table. Without one it grows in the background, and a dump
/// meanwhile shows elements twice or not at all (`rhashtable_walk_start` in `lib/rhashtable.c`).
const SET_SIZE: u32 = 1 << 16;
/// The kernel's limit for names, with the end mark (`NFT_NAME_MAXLEN`).
const NAME: usize = 256;

/// What is to be sent, and what each message means.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) bytes: Vec<u8>,
    /// By the message's number.
    pub(super) steps: Vec<(u32, String)>,
}

/// Builds a transaction; messages are numbered by `next`.
pub(super) fn build(
    edits: &[Edit],
    next: &mut impl FnMut() -> u32,
) -> Result<Transaction, NetfilterError> {
    let mut batch = Batch { to: Writer::default(), next, steps: Vec::new(), messages: Vec::new() };
    for edit in edits {
        batch.edit(edit)?;
    }
    batch.finish()
}

/// One message that is still to be written.
struct Message {
    kind: u8,
    flags: u16,
    family: u8,
    sequence: u32,
    body: Vec<u8>,
}

struct Batch<'a, N: FnMut() -> u32> {
    to: Writer,
    next: &'a mut N,
    steps: Vec<(u32, String)>,
    messages: Vec<Message>,
}

impl<N: FnMut() -> u32> Batch<'_, N> {
    fn edit(&mut self, edit: &Edit) -> Result<(), NetfilterError> {
        match edit {
            Edit::PutTable(table) => self.put_table(table),
            Edit::RemoveTable { family, name } => self.remove_table(*family, name),
            Edit::Elements { family, table, set, add, remove } => {
                let at = At { family: *family, table };
                self.elements(at, set, message::DEL_ELEMENTS, remove)?;
                self.elements(at, set, message::NEW_ELEMENTS, add)
            }
            Edit::AppendRule { family, table, chain, rule } => {
                self.rule(At { family: *family, table }, chain, Form::Iptables, rule)
            }
            Edit::DeleteRule { family, table, chain, handle } => {
                let what = format!("delete rule {handle} of {family} {table} {chain}");
                self.step(message::DEL_RULE, 0, *family, what, |to| {
                    name(to, rule::TABLE, table)?;
                    name(to, rule::CHAIN, chain)?;
                    to.bytes(rule::HANDLE, &handle.to_be_bytes());
                    Ok(())
                })
            }
            Edit::DeleteChain { family, table, chain } => {
                self.delete_chain(At { family: *family, table }, chain)
            }
        }
    }

    /// The old table disappears and the new one takes its place when the transaction takes effect.
    fn put_table(&mut self, table: &Table) -> Result<(), NetfilterError> {
        let at = At { family: table.family, table: &table.name };
        self.remove_table(table.family, &table.name)?;
        self.make_table(at)?;
        for set in &table.sets {
            self.make_set(at, &set.name)?;
            self.elements(at, &set.name, message::NEW_ELEMENTS, &set.elements)?;
        }
        for chain in &table.chains {
            self.make_chain(at, chain)?;
        }
        for chain in &table.chains {
            for rule in &chain.rules {
                self.rule(at, &chain.name, Form::Native, rule)?;
            }
        }
        Ok(())
    }

    /// Made first, because one that is not there cannot be deleted.
    fn remove_table(&mut self, family: Family, table: &str) -> Result<(), NetfilterError> {
        self.make_table(At { family, table })?;
        let what = format!("delete table {family} {table}");
        self.step(message::DEL_TABLE, 0, family, what, |to| name(to, table::NAME, table))
    }

    fn make_table(&mut self, at: At) -> Result<(), NetfilterError> {
        let what = format!("make table {at}");
        self.step(message::NEW_TABLE, CREATE, at.family, what, |to| name(to, table::NAME, at.table))
    }

    fn make_set(&mut self, at: At, set: &str) -> Result<(), NetfilterError> {
        let id = u32::try_from(self.messages.len()).unwrap_or_default();
        let what = format!("make set {set} in {at}");
        self.step(message::NEW_SET, CREATE | EXCLUSIVE, at.family, what, |to| {
            name(to, set::TABLE, at.table)?;
            name(to, set::NAME, set)?;
            to.number(set::FLAGS, 0);
            to.number(set::KEY_TYPE, set::TYPE_IPV4);
            to.number(set::KEY_LEN, 4);
            to.number(set::ID, id);
            to.nest(set::DESCRIPTION, |to| to.number(set::SIZE, SET_SIZE));
            Ok(())
        })
    }

    fn elements(
        &mut self,
        at: At,
        set: &str,
        kind: u8,
        elements: &[Ipv4Addr],
    ) -> Result<(), NetfilterError> {
        let (verb, flags) =
            if kind == message::NEW_ELEMENTS { ("add to", CREATE) } else { ("remove from", 0) };
        for some in elements.chunks(ELEMENTS) {
            let what = format!("{verb} set {set} in {at}");
            self.step(kind, flags, at.family, what, |to| {
                name(to, element::TABLE, at.table)?;
                name(to, element::SET, set)?;
                to.nest(element::LIST, |to| some.iter().for_each(|one| element(to, *one)));
                Ok(())
            })?;
        }
        Ok(())
    }

    fn make_chain(&mut self, at: At, made: &Chain) -> Result<(), NetfilterError> {
        let what = format!("make chain {} in {at}", made.name);
        let flags = CREATE | EXCLUSIVE;
        self.step(message::NEW_CHAIN, flags, at.family, what, |to| {
            name(to, chain::TABLE, at.table)?;
            name(to, chain::NAME, &made.name)?;
            let Some(base) = &made.base else { return Ok(()) };
            let hook = family::hook_number(at.family, base.hook)
                .filter(|_| base.devices.is_empty())
                .ok_or_else(|| format!("a chain at {:?} of {}", base.hook, at.family))?;
            to.nest(chain::HOOK, |to| {
                to.number(chain::HOOK_NUMBER, hook);
                to.number(chain::HOOK_PRIORITY, base.priority.cast_unsigned());
            });
            to.number(chain::POLICY, u32::from(base.policy == Policy::Accept));
            name(to, chain::TYPE, &base.kind)
        })
    }

    fn delete_chain(&mut self, at: At, chain: &str) -> Result<(), NetfilterError> {
        let what = format!("delete the rules of {at} {chain}");
        self.step(message::DEL_RULE, 0, at.family, what, |to| {
            name(to, rule::TABLE, at.table)?;
            name(to, rule::CHAIN, chain)
        })?;
        let what = format!("delete chain {at} {chain}");
        self.step(message::DEL_CHAIN, 0, at.family, what, |to| {
            name(to, chain::TABLE, at.table)?;
            name(to, chain::NAME, chain)
        })
    }

    fn rule(
        &mut self,
        at: At,
        chain: &str,
        form: Form,
        added: &Rule,
    ) -> Result<(), NetfilterError> {
        let what = format!("append the rule `{added}` to {at} {chain}");
        self.step(message::NEW_RULE, CREATE | APPEND, at.family, what, |to| {
            name(to, rule::TABLE, at.table)?;
            name(to, rule::CHAIN, chain)?;
            encode::rule(to, at.family, form, added)
        })
    }

    fn step(
        &mut self,
        kind: u8,
        flags: u16,
        family: Family,
        what: String,
        body: impl FnOnce(&mut Writer) -> Result<(), String>,
    ) -> Result<(), NetfilterError> {
        let mut to = Writer::default();
        let written = body(&mut to);
        let body = written.and_then(|()| to.finish().ok_or_else(|| "it is too long".to_owned()));
        let body = body.map_err(|why| NetfilterError::Unwritable { what: what.clone(), why })?;
        let sequence = (self.next)();
        self.steps.push((sequence, what));
        let family = family::number(family);
        self.messages.push(Message { kind, flags, family, sequence, body });
        Ok(())
    }

    /// The last message asks for an answer: without one there would be none to a transaction that
    /// the kernel likes.
    fn finish(mut self) -> Result<Transaction, NetfilterError> {
        let resource = u16::from(NFNL_SUBSYS_NFTABLES);
        let (begin, end) = ((self.next)(), (self.next)());
        self.to.framed(BATCH_BEGIN, REQUEST, begin, 0, resource, |_| {});
        let last = self.messages.len().saturating_sub(1);
        for (index, one) in self.messages.iter().enumerate() {
            let flags = REQUEST | one.flags | if index == last { ACK } else { 0 };
            self.to.message(one.kind, flags, one.sequence, one.family, |to| to.append(&one.body));
        }
        self.to.framed(BATCH_END, REQUEST, end, 0, resource, |_| {});
        let bytes = self
            .to
            .finish()
            .ok_or_else(|| NetfilterError::Malformed("a transaction is too long".into()))?;
        Ok(Transaction { bytes, steps: self.steps })
    }
}

/// A table, for reading.
#[derive(Debug, Clone, Copy)]
struct At<'a> {
    family: Family,
    table: &'a str,
}

impl std::fmt::Display for At<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.family, self.table)
    }
}

fn name(to: &mut Writer, kind: u16, value: &str) -> Result<(), String> {
    if value.is_empty() || value.len() >= NAME || value.contains('\0') {
        return Err(format!("{value:?} is not a name"));
    }
    to.text(kind, value);
    Ok(())
}

fn element(to: &mut Writer, address: Ipv4Addr) {
    to.nest(data::ELEMENT, |to| to.value(element::KEY, &address.octets()));
}
