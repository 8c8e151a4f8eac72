//! What goes wrong, and when: scripted before a request comes, or struck at watches under way.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// Which requests a rule is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// GET of a collection.
    List,
    /// GET of a collection with `watch=true`.
    Watch,
    /// GET of one object.
    Get,
    /// POST.
    Create,
    /// PATCH.
    Patch,
    /// DELETE.
    Delete,
    /// All of them.
    Any,
}

impl Verb {
    fn covers(self, other: Self) -> bool {
        self == Self::Any || self == other
    }
}

/// One thing that goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The answer is this HTTP code with a `Status`; the store is not touched.
    Answer {
        /// For instance 429, 500 or 503.
        code: u16,
        /// The `Retry-After` header, in seconds.
        retry_after: Option<u64>,
    },
    /// The write happens, but its answer is this HTTP code.
    AnswerLost {
        /// For instance 504.
        code: u16,
    },
    /// No answer ever comes.
    Silence,
    /// The connection is cut in place of an answer.
    Reset,
    /// The body ends in good order after this many bytes: truncated JSON.
    Truncate(usize),
    /// The connection is cut after this many bytes of the body, inside a chunk.
    CutAfter(usize),
    /// The body comes in pieces of this many bytes.
    Chop(usize),
    /// Of a watch: it stays open and says nothing more.
    Stall,
    /// Of a watch: nothing but bookmarks for so long, then what was held back.
    BookmarksOnly(Duration),
    /// Of a watch: the last events, at most so many, come a second time.
    Duplicate(usize),
    /// Of a watch: so many events are lost, and then an ERROR event forces a new list.
    Omit(usize),
    /// Of a watch: the ERROR event of a compacted revision, then its end.
    Gone,
    /// Of a watch: an ERROR event with this code, then its end.
    ErrorEvent(u16),
    /// Of a watch: a line that is not JSON.
    Garbage,
    /// Of a watch: an empty line.
    Blank,
    /// Of a watch: it ends in good order.
    Close,
}

/// The script of one server.
#[derive(Debug)]
pub(crate) struct Faults {
    rules: Mutex<VecDeque<(Verb, Fault)>>,
    /// Number and kind of the last blow at the watches under way.
    strike: watch::Sender<(u64, Option<Fault>)>,
}

impl Faults {
    pub(crate) fn new() -> Self {
        Self { rules: Mutex::default(), strike: watch::Sender::new((0, None)) }
    }

    fn rules(&self) -> MutexGuard<'_, VecDeque<(Verb, Fault)>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next `times` requests of this kind meet the fault.
    pub(crate) fn script(&self, verb: Verb, times: usize, fault: &Fault) {
        self.rules().extend(std::iter::repeat_n((verb, fault.clone()), times));
    }

    /// Every watch under way meets the fault now.
    pub(crate) fn strike(&self, fault: Fault) {
        self.strike.send_modify(|(number, last)| {
            *number += 1;
            *last = Some(fault);
        });
    }

    /// Word of the blows.
    pub(crate) fn strikes(&self) -> watch::Receiver<(u64, Option<Fault>)> {
        self.strike.subscribe()
    }

    /// Nothing more goes wrong by the script.
    pub(crate) fn clear(&self) {
        self.rules().clear();
    }

    /// What a request of this kind meets.
    pub(crate) fn take(&self, verb: Verb) -> Option<Fault> {
        let mut rules = self.rules();
        let place = rules.iter().position(|(rule, _)| rule.covers(verb))?;
        rules.remove(place).map(|(_, fault)| fault)
    }
}
