//! nf_tables over netlink: a transaction happens whole or not at all, and what is read is of one
//! moment.
//!
//! Numbers and attributes: `include/uapi/linux/netfilter/nf_tables.h`.

mod attributes;
mod batch;
mod comparison;
mod compat;
mod decode;
mod encode;
mod events;
mod family;
mod registers;
mod ruleset;
mod socket;
mod statement;
#[cfg(test)]
mod tests;
mod text;
mod uapi;
mod writer;

use std::io;
use std::net::Ipv4Addr;

pub use events::NftEvents;
use socket::{Answer, NetfilterSocket};

use tartan_core::netfilter::model::{Family, Rule, Table};

use crate::NetfilterError;

/// One step of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// The table shall be exactly this, whatever was there. A set has room for 65,536 elements.
    PutTable(Table),
    /// The table shall not be there; nothing happens if it is not.
    RemoveTable {
        /// Its family.
        family: Family,
        /// Its name.
        name: String,
    },
    /// Elements of a set of our own table.
    Elements {
        /// The table's family.
        family: Family,
        /// The table's name.
        table: String,
        /// The set's name.
        set: String,
        /// To be added.
        add: Vec<Ipv4Addr>,
        /// To be removed; each must be there.
        remove: Vec<Ipv4Addr>,
    },
    /// A rule at the end of a chain, in the form that `iptables-nft` lists.
    AppendRule {
        /// The table's family.
        family: Family,
        /// The table's name.
        table: String,
        /// The chain's name.
        chain: String,
        /// The rule.
        rule: Rule,
    },
    /// A rule by its handle.
    DeleteRule {
        /// The table's family.
        family: Family,
        /// The table's name.
        table: String,
        /// The chain's name.
        chain: String,
        /// The rule's handle.
        handle: u64,
    },
    /// An unreferenced chain, with all of its rules.
    DeleteChain {
        /// The table's family.
        family: Family,
        /// The table's name.
        table: String,
        /// The chain's name.
        chain: String,
    },
}

/// nf_tables of the namespace that the process runs in.
#[derive(Debug)]
pub struct Nft {
    socket: NetfilterSocket,
}

impl Nft {
    /// Opens a socket. It stays in the network namespace of the thread that opens it.
    ///
    /// # Errors
    /// [`NetfilterError::Unsupported`] where the kernel has no nf_tables.
    pub fn open() -> Result<Self, NetfilterError> {
        let mut socket = NetfilterSocket::open()?;
        socket::generation(&mut socket)?;
        Ok(Self { socket })
    }

    /// The number of the ruleset in force: it changes with every transaction of anybody.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn generation(&mut self) -> Result<u32, NetfilterError> {
        socket::generation(&mut self.socket)
    }

    /// Every table of every family, all of one generation. Sets are read of tables named `own`.
    /// The chains of a dormant table have no [`base`](tartan_core::netfilter::model::Chain::base):
    /// no packet enters them.
    ///
    /// # Errors
    /// [`NetfilterError::Busy`] when somebody changes the rules without a pause.
    pub fn ruleset(&mut self, own: &str) -> Result<Vec<Table>, NetfilterError> {
        ruleset::read(&mut self.socket, own)
    }

    /// All of it, or nothing.
    ///
    /// # Errors
    /// [`NetfilterError::Refused`] names the step that the kernel refused,
    /// [`NetfilterError::Unwritable`] the one that was not even sent.
    pub fn apply(&mut self, edits: &[Edit]) -> Result<(), NetfilterError> {
        let transaction = batch::build(edits, &mut || self.socket.next())?;
        if transaction.steps.is_empty() {
            return Ok(());
        }
        let answers = self.socket.batch(&transaction.bytes)?;
        verdict(&answers, &transaction.steps)
    }
}

/// The first error of the answers; an answer to no step is one to the whole.
fn verdict(answers: &[Answer], steps: &[(u32, String)]) -> Result<(), NetfilterError> {
    if answers.is_empty() {
        return Err(NetfilterError::Malformed("no answer to a transaction".into()));
    }
    let Some(error) = answers.iter().find(|answer| answer.errno != 0) else { return Ok(()) };
    let step = steps.iter().find(|(sequence, _)| *sequence == error.sequence);
    let source = io::Error::from_raw_os_error(error.errno);
    match step {
        Some((_, what)) => Err(NetfilterError::Refused { what: what.clone(), source }),
        None => Err(NetfilterError::Refused { what: "put it all into force".into(), source }),
    }
}
