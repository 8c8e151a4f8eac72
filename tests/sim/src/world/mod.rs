//! [`World`]: one cluster from its birth to its healing, driven by one queue of events.
//!
//! | Module | Holds |
//! |---|---|
//! | `event` | the queue |
//! | `agents` | starting, driving, passing, crashing |
//! | `network` | requests and answers, lost, late and twice |
//! | `watching` | watches and what comes through them |
//! | `cluster` | what operators, kubelets and attackers do to Node objects |
//! | `faults` | what happens when, by chance |
//! | `checks` | the invariants, continuously and at the end |

mod agents;
mod checks;
mod cluster;
mod event;
mod faults;
mod network;
mod watching;

use std::net::Ipv4Addr;

use tartan_core::NetConf;

use self::event::{Event, Queue};
use crate::Ms;
use crate::agent::host::Tables;
use crate::agent::{Host, Process};
use crate::api::server::Server;
use crate::api::store::Store;
use crate::mutant::Mutant;
use crate::rng::Rng;
use crate::trace::Trace;

/// How long a healed cluster gets: a dead watch is noticed after 75 s, the longest pause is 30 s.
const QUIESCE: Ms = 200_000;

/// A promise that was not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which: I1 to I5, or another name of the module [`crate::oracle`].
    pub promise: &'static str,
    /// What was found.
    pub what: String,
    /// The event's number.
    pub step: u64,
    /// When.
    pub at: Ms,
}

/// What happened in a simulation, as figures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Events.
    pub steps: u64,
    /// Passes of agents.
    pub passes: u64,
    /// Faults that were made.
    pub faults: u64,
    /// Comparisons of a table with the API.
    pub comparisons: u64,
    /// Patches that came after a later one, because the network kept them.
    pub overtaken: u64,
    /// Entries of nodes that were still there, lost by a restart from a memory that was too old.
    pub forgotten: u64,
}

/// A node with its agent.
#[derive(Debug)]
struct Agent {
    host: Host,
    process: Option<Process>,
    /// Counts the starts: what was meant for an earlier life is dropped.
    life: u64,
    link: Link,
    /// How far its clock is ahead.
    ahead: Ms,
    watch: Option<Watch>,
    /// Since when it hears everything at once, if it does.
    contact: Option<Ms>,
    /// The number of the last patch that came to the API.
    patched: u64,
    /// Passes and requests since the last second began.
    busy: (u64, u64),
}

/// The way to the API.
#[derive(Debug, Clone, Copy)]
struct Link {
    up: bool,
    slow: bool,
    server: usize,
}

/// An open watch, as the server has it.
#[derive(Debug)]
struct Watch {
    id: u64,
    server: usize,
    /// What was sent up to now.
    cursor: u64,
    /// Lines of an earlier epoch were lost on the way.
    epoch: u64,
    /// The connection is dead and neither side knows.
    stalled: bool,
    /// The agent learned that it is open.
    opened: bool,
    /// When the last line arrives: lines do not overtake each other.
    arrives: Ms,
}

/// The whole simulation.
#[derive(Debug)]
pub struct World {
    now: Ms,
    queue: Queue,
    rng: Rng,
    store: Store,
    servers: [Server; 2],
    agents: Vec<Agent>,
    conf: NetConf,
    page_limit: u32,
    /// Node objects without an agent here: other implementations, or attackers.
    ghosts: Vec<String>,
    names: u64,
    ids: u64,
    /// Seconds that the API servers' clock is ahead or behind.
    skew: i64,
    /// Percent of requests that are answered with an error.
    errors: u64,
    calm: bool,
    /// When everything ends.
    ends: Ms,
    mutant: Option<Mutant>,
    trace: Trace,
    figures: Figures,
    violation: Option<Violation>,
}

impl World {
    /// A cluster whose fate is the seed's.
    #[must_use]
    pub fn new(seed: u64, mutant: Option<Mutant>, trace: Trace) -> Self {
        let mut rng = Rng::new(seed);
        let agents = agents_of(&mut rng);
        let page_limit = u32::try_from(rng.within(2..=9)).unwrap_or(500);
        let text = r#"{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}"#;
        let conf = NetConf::parse(text).unwrap_or_else(|error| unreachable!("{error}")).conf;
        let mut world = Self {
            now: 0,
            queue: Queue::default(),
            rng,
            store: Store::default(),
            servers: [Server::default(), Server::default()],
            agents: Vec::new(),
            conf,
            page_limit,
            ghosts: Vec::new(),
            names: 0,
            ids: 0,
            skew: 0,
            errors: 0,
            calm: false,
            ends: Ms::MAX,
            mutant,
            trace,
            figures: Figures::default(),
            violation: None,
        };
        world.populate(agents);
        world
    }

    /// Runs to the end, or to the first promise that is not kept.
    ///
    /// # Errors
    /// That promise.
    pub fn run(&mut self) -> Result<Figures, Violation> {
        while let Some((at, event)) = self.queue.pop() {
            self.now = at;
            self.figures.steps += 1;
            if matches!(event, Event::End) {
                self.check_the_end();
                break;
            }
            self.handle(event);
            if self.violation.is_some() {
                break;
            }
        }
        self.violation.clone().map_or(Ok(self.figures), Err)
    }

    /// The last lines of what happened.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    fn populate(&mut self, agents: u64) {
        for number in 0..agents {
            self.add_agent(number);
        }
        let length = self.rng.within(15_000..=90_000);
        self.queue.push(length, Event::Heal);
        self.ends = length + QUIESCE;
        self.queue.push(self.ends, Event::End);
        self.queue.push(1000, Event::Tick);
        let first = self.rng.within(1..=3000);
        self.queue.push(first, Event::Fault);
    }

    fn add_agent(&mut self, number: u64) {
        let octet = u8::try_from(number + 1).unwrap_or(u8::MAX);
        let host = Host {
            name: format!("node{number:02}"),
            address: Ipv4Addr::new(172, 30, 0, octet),
            device: None,
            last_known: None,
            tables: Tables::default(),
        };
        let link = Link { up: true, slow: false, server: self.rng.index(2) };
        self.agents.push(Agent {
            host,
            process: None,
            life: 0,
            link,
            ahead: self.rng.below(1_000_000),
            watch: None,
            contact: None,
            patched: 0,
            busy: (0, 0),
        });
        let agent = self.agents.len() - 1;
        self.register(agent);
        let at = self.rng.below(5000);
        self.queue.push(at, Event::Start { agent });
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Start { agent } => self.start(agent),
            Event::Wake { agent, life } => self.wake(agent, life),
            Event::Pass { agent, life } => self.pass_if_due(agent, life),
            Event::Arrive(request) => self.arrive(&request),
            Event::Answer(answer) => self.answered(answer),
            Event::Deliver(lines) => self.deliver(lines),
            Event::Bookmark { agent, watch } => self.bookmark(agent, watch),
            Event::CloseWatch { agent, watch } => self.close_in_order(agent, watch),
            Event::CatchUp { server, revision } => self.catch_up(server, revision),
            Event::Fault => self.make_fault(),
            Event::Later(change) => self.undo(change),
            Event::Settled { revision } => self.check_settled(revision),
            Event::Tick => self.tick(),
            Event::Heal => self.heal(),
            Event::End => {}
        }
    }

    fn violate(&mut self, promise: &'static str, what: String) {
        let (step, at) = (self.figures.steps, self.now);
        self.trace.note(at, || format!("VIOLATED {promise}: {what}"));
        self.violation.get_or_insert(Violation { promise, what, step, at });
    }

    fn next_id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }
}

/// Mostly a handful; now and then a crowd.
fn agents_of(rng: &mut Rng) -> u64 {
    match rng.below(100) {
        0 => rng.within(21..=50),
        1..=7 => rng.within(8..=20),
        _ => rng.within(3..=7),
    }
}
