//! The queue of events: by time, then in the order in which they were put in.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use tartan_core::reflector::{Failure, ListRequest};

use super::cluster::NewNode;
use crate::Ms;

/// Something that happens.
#[derive(Debug)]
pub(super) enum Event {
    /// An agent starts, if it does not run.
    Start { agent: usize },
    /// An agent looks at its clock.
    Wake { agent: usize, life: u64 },
    /// An agent's pass is due.
    Pass { agent: usize, life: u64 },
    /// A request reaches its server.
    Arrive(Request),
    /// An agent gets an answer, or gives up waiting for it.
    Answer(Answer),
    /// Lines of a watch reach the agent.
    Deliver(Lines),
    /// A server sends a bookmark.
    Bookmark { agent: usize, watch: u64 },
    /// A server ends a watch.
    CloseWatch { agent: usize, watch: u64 },
    /// A server sees the store up to a revision.
    CatchUp { server: usize, revision: u64 },
    /// The next fault.
    Fault,
    /// The end of a fault.
    Later(Change),
    /// The API may have been left alone for two seconds.
    Settled { revision: u64 },
    /// A second has gone by.
    Tick,
    /// All faults end.
    Heal,
    /// The end.
    End,
}

/// The end of a fault, or the second half of it.
#[derive(Debug, Clone)]
pub(super) enum Change {
    /// A link is as it should be.
    Connect { agent: usize },
    /// A link is fast again.
    Hasten { agent: usize },
    /// A server sees the store again.
    Thaw { server: usize },
    /// Servers answer again.
    Behave,
    /// A Node is made.
    Create(NewNode),
    /// A Node is deleted.
    Delete { name: String },
}

/// A request on its way.
#[derive(Debug, Clone)]
pub(super) struct Request {
    /// Who sent it.
    pub(super) agent: usize,
    /// In which life.
    pub(super) life: u64,
    /// Its number; patches are sent in the order of their numbers.
    pub(super) id: u64,
    /// What is asked for.
    pub(super) ask: Ask,
}

/// What can be asked of an API server.
#[derive(Debug, Clone)]
pub(super) enum Ask {
    /// A page of a list.
    List(ListRequest),
    /// A watch.
    Watch { from: u64 },
    /// A merge patch of a Node.
    Patch { name: String, body: String },
}

/// What comes back.
#[derive(Debug)]
pub(super) struct Answer {
    /// For whom.
    pub(super) agent: usize,
    /// In which life.
    pub(super) life: u64,
    /// To which request.
    pub(super) id: u64,
    /// What.
    pub(super) reply: Reply,
}

/// The answers.
#[derive(Debug)]
pub(super) enum Reply {
    /// A page, as bytes.
    Page(String),
    /// The watch is open.
    Opened,
    /// The patch is in.
    Patched,
    /// Nothing usable.
    Failed { failure: Failure, to_patch: bool },
}

/// Lines of a watch on their way.
#[derive(Debug)]
pub(super) struct Lines {
    /// For whom.
    pub(super) agent: usize,
    /// Of which watch.
    pub(super) watch: u64,
    /// In which epoch of it.
    pub(super) epoch: u64,
    /// The watch goes on from here if they are lost.
    pub(super) from: u64,
    /// The lines.
    pub(super) texts: Vec<String>,
}

/// Events in their order.
#[derive(Debug, Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Reverse<Entry>>,
    pushed: u64,
}

#[derive(Debug)]
struct Entry {
    at: Ms,
    number: u64,
    event: Event,
}

impl Queue {
    /// Something will happen then.
    pub(super) fn push(&mut self, at: Ms, event: Event) {
        self.pushed += 1;
        self.heap.push(Reverse(Entry { at, number: self.pushed, event }));
    }

    /// What happens next, and when.
    pub(super) fn pop(&mut self) -> Option<(Ms, Event)> {
        self.heap.pop().map(|Reverse(entry)| (entry.at, entry.event))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Entry {}
