//! The older tables, through socket options (`include/uapi/linux/netfilter_ipv4/ip_tables.h`).
//!
//! Needs CAP_NET_ADMIN in the network namespace of the calling thread, which is the one that is
//! looked at. There are no events: compare [`stamp`]s, which see rules come and go, but not one
//! replaced by another of the same length.

mod blob;
mod build;
mod bytes;
mod change;
mod decode;
mod encode;
mod extension;
mod header;
mod layout;
mod lock;
mod socket;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use tartan_core::netfilter::model::{Family, Rule, Table};

use self::blob::{Content, HOOKS};
use self::build::Built;
use self::change::Step;
use self::layout::Layout;
use self::lock::Lock;
use self::socket::{Replaced, Socket};
use crate::NetfilterError;

/// How often a table is tried again that somebody else changes at the same moment.
const TRIES: u32 = 5;

/// One step of a change to a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// The user chain shall hold exactly these rules; it is made if it is not there.
    PutChain {
        /// Its name.
        chain: String,
        /// Its rules.
        rules: Vec<Rule>,
    },
    /// A rule at the end of a chain.
    AppendRule {
        /// The chain's name.
        chain: String,
        /// The rule.
        rule: Rule,
    },
    /// Every rule of the chain that says the same as this one; nothing happens without the chain.
    DeleteRule {
        /// The chain's name.
        chain: String,
        /// The rule.
        rule: Rule,
    },
    /// A user chain that nothing jumps to, with all of its rules; nothing happens if it is not there.
    DeleteChain {
        /// Its name.
        chain: String,
    },
}

/// What tells cheaply that a table may have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// Bytes of all entries.
    pub size: u32,
    /// Number of entries.
    pub entries: u32,
    /// Where the chains begin, and where they end.
    pub hooks: [u32; 10],
}

/// The tables that are there: asking for one that is not would make it.
///
/// # Errors
/// When the list cannot be read.
pub fn tables(family: Family) -> Result<Vec<String>, NetfilterError> {
    let names = Layout::of(family)?.names;
    match fs::read_to_string(names) {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
        // The kernel has no xtables, or no part of them is loaded.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(NetfilterError::Io { what: format!("read {names}"), source }),
    }
}

/// The stamp of a table that is there.
///
/// # Errors
/// When the table is not there, or the kernel refuses.
pub fn stamp(family: Family, table: &str) -> Result<Stamp, NetfilterError> {
    check_there(family, table)?;
    let info = Socket::open(Layout::of(family)?)?.info(table)?;
    let mut hooks = [0; 2 * HOOKS];
    for (place, number) in hooks.iter_mut().zip(info.entry.into_iter().chain(info.underflow)) {
        *place = number;
    }
    Ok(Stamp { size: info.size, entries: info.count, hooks })
}

/// A table that is there. `nat` has chains of kind `nat`, all others of kind `filter`.
///
/// # Errors
/// When the table is not there, the kernel refuses, or its answer cannot be understood.
pub fn read(family: Family, table: &str) -> Result<Table, NetfilterError> {
    check_there(family, table)?;
    let socket = Socket::open(Layout::of(family)?)?;
    for _ in 0..TRIES {
        if let Some(content) = content(&socket, table)? {
            return Ok(decode::table(table, &content));
        }
    }
    Err(NetfilterError::Busy(TRIES))
}

/// Changes a table in one step, under the lock that `iptables` takes (`/run/xtables.lock`); what
/// is not named in `edits` stays byte for byte, counters included. A table that is not there is
/// made if there is something to put into it; a change that changes nothing is not made.
///
/// Blocks for up to 5 s while somebody else holds the lock. A change that somebody makes without
/// the lock is noticed when it makes the table longer or shorter, and then the edit begins anew.
///
/// # Errors
/// When a rule cannot be written ([`NetfilterError::Unwritable`]), a chain is not there, the lock
/// is not to be had, or the kernel refuses; nothing was changed, unless the error speaks of
/// counters: then the rules are as asked for, and the counters of the table begin at zero.
pub fn edit(family: Family, table: &str, edits: &[Edit]) -> Result<(), NetfilterError> {
    let layout = Layout::of(family)?;
    let steps: Vec<Step<'_>> =
        edits.iter().map(|edit| Step::new(layout, edit)).collect::<Result<_, _>>()?;
    if steps.iter().all(Step::only_deletes) && !is_there(family, table)? {
        return Ok(());
    }
    let _lock = Lock::take(Path::new(lock::PATH), lock::PATIENCE)?;
    let socket = Socket::open(layout)?;
    for _ in 0..TRIES {
        if try_edit(&socket, table, &steps)? {
            return Ok(());
        }
    }
    Err(NetfilterError::Busy(TRIES))
}

/// One attempt; false when somebody else changed the table meanwhile.
fn try_edit(socket: &Socket, table: &str, steps: &[Step<'_>]) -> Result<bool, NetfilterError> {
    let Some(mut content) = content(socket, table)? else { return Ok(false) };
    let mut changed = false;
    for step in steps {
        changed |= step.apply(&mut content)?;
    }
    if !changed {
        return Ok(true);
    }
    let built = Built::new(&content)?;
    // The kernel's new entries count from zero, whatever their bytes say: what the old ones had
    // counted when they were replaced comes back in the same call and is added.
    match socket.replace(table, &built.info, &built.bytes, content.info.count)? {
        Replaced::Stale => Ok(false),
        Replaced::Done(old) => {
            socket.add_counters(table, &built.counters(&old))?;
            Ok(true)
        }
    }
}

fn content(socket: &Socket, table: &str) -> Result<Option<Content>, NetfilterError> {
    let info = socket.info(table)?;
    let Some(bytes) = socket.entries(table, &info)? else { return Ok(None) };
    Content::parse(socket.layout(), info, &bytes).map(Some)
}

fn is_there(family: Family, table: &str) -> Result<bool, NetfilterError> {
    Ok(tables(family)?.iter().any(|name| name == table))
}

fn check_there(family: Family, table: &str) -> Result<(), NetfilterError> {
    if is_there(family, table)? {
        return Ok(());
    }
    let what = format!("read table {table} of {family} xtables; `tables` lists those there are");
    Err(NetfilterError::Io { what, source: ErrorKind::NotFound.into() })
}
