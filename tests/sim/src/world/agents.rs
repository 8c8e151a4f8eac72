//! Agents: starting, asking the mirror what to do, passing, crashing.

use std::time::Duration;

use tartan_core::reflector::{Failure, Next};

use super::World;
use super::event::{Ask, Event};
use crate::Ms;
use crate::agent::Process;
use crate::agent::host::Tables;
use crate::mutant::Mutant;
use crate::oracle::tables;

/// Events come in swarms: the pass starts when they have settled.
const SETTLE: Ms = 20;

impl World {
    pub(super) fn start(&mut self, agent: usize) {
        let seed = self.rng.number();
        let this = &mut self.agents[agent];
        if this.process.is_some() {
            return;
        }
        this.life += 1;
        this.process = Some(Process::start(&this.host, self.page_limit, seed));
        let with = if this.host.last_known.is_some() { "a memory" } else { "no memory" };
        self.note(agent, || format!("starts with {with}"));
        self.pass_soon(agent, 1);
        self.drive(agent);
    }

    /// Kills the agent; a pass that was due is left half done.
    pub(super) fn crash(&mut self, agent: usize, reboot: bool) {
        let most = self.rng.index(6);
        let is_due = self.agents[agent].process.as_ref().is_some_and(|it| it.pass_at.is_some());
        if is_due && self.rng.percent(50) {
            self.pass(agent, most);
        }
        let this = &mut self.agents[agent];
        this.process = None;
        this.watch = None;
        if reboot {
            this.host.tables = Tables::default();
            this.host.device = None;
        }
        self.note(agent, || if reboot { "reboots" } else { "is killed" });
        self.refresh_contact(agent);
    }

    pub(super) fn local(&self, agent: usize) -> Duration {
        Duration::from_millis(self.now + self.agents[agent].ahead)
    }

    /// Does what the mirror asks for.
    pub(super) fn drive(&mut self, agent: usize) {
        let local = self.local(agent);
        let Some(process) = &mut self.agents[agent].process else { return };
        if process.request.is_some() {
            return;
        }
        match process.mirror.next(local) {
            Next::List(mut request) => {
                if self.mutant == Some(Mutant::AcceptStaleLists) {
                    request.not_older_than = None;
                }
                self.ask(agent, Ask::List(request));
            }
            Next::Watch { from } => {
                let from = from.to_string().parse().unwrap_or_default();
                self.ask(agent, Ask::Watch { from });
            }
            Next::Follow { until } | Next::Wait { until } => self.wake_at(agent, until),
        }
    }

    fn wake_at(&mut self, agent: usize, until: Duration) {
        let this = &mut self.agents[agent];
        let until = u64::try_from(until.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        let at = until.saturating_sub(this.ahead).max(self.now + 1);
        let life = this.life;
        let Some(process) = &mut this.process else { return };
        if process.wake_at.is_none_or(|planned| planned > at) {
            process.wake_at = Some(at);
            self.queue.push(at, Event::Wake { agent, life });
        }
    }

    pub(super) fn wake(&mut self, agent: usize, life: u64) {
        let local = self.local(agent);
        let this = &mut self.agents[agent];
        let Some(process) = this.process.as_mut().filter(|_| this.life == life) else { return };
        process.wake_at = None;
        if let Next::Follow { until } = process.mirror.next(local)
            && local >= until
        {
            this.watch = None;
            self.note(agent, || "gives up a silent watch");
            self.fail(agent, &Failure::Stalled);
        }
        self.drive(agent);
    }

    /// Tells the mirror of a failure.
    pub(super) fn fail(&mut self, agent: usize, failure: &Failure) {
        let local = self.local(agent);
        let this = &mut self.agents[agent];
        let Some(process) = &mut this.process else { return };
        process.failed(local, failure);
        if self.mutant == Some(Mutant::FlushWithoutConnection) && !failure.is_an_answer() {
            this.host.tables = Tables::default();
        }
        self.note(agent, || format!("sees a failure: {failure}"));
        self.after_mirror(agent);
    }

    /// The mirror was told something: there may be something to do.
    pub(super) fn after_mirror(&mut self, agent: usize) {
        let Some(process) = &mut self.agents[agent].process else { return };
        if process.passed.is_none_or(|passed| passed != process.mirror.generation()) {
            if let Err(what) = process.view.look(&process.mirror, &self.store) {
                self.violate("the view never goes back", format!("agent {agent}: {what}"));
            }
            self.pass_soon(agent, SETTLE);
        }
        self.refresh_contact(agent);
        self.drive(agent);
    }

    pub(super) fn pass_soon(&mut self, agent: usize, after: Ms) {
        let at = self.now + after;
        let this = &mut self.agents[agent];
        let life = this.life;
        let Some(process) = &mut this.process else { return };
        if process.pass_at.is_none_or(|planned| planned > at) {
            process.pass_at = Some(at);
            self.queue.push(at, Event::Pass { agent, life });
        }
    }

    pub(super) fn pass_if_due(&mut self, agent: usize, life: u64) {
        let this = &self.agents[agent];
        let planned = this.process.as_ref().and_then(|process| process.pass_at);
        if this.life == life && planned.is_some_and(|at| at <= self.now) {
            self.pass(agent, usize::MAX);
            self.check_tables(agent);
        }
    }

    /// A pass, of which `most` steps are written to the tables.
    fn pass(&mut self, agent: usize, most: usize) {
        self.figures.passes += 1;
        let this = &mut self.agents[agent];
        this.busy.0 += 1;
        let Some(process) = &mut this.process else { return };
        let before = (!process.mirror.is_synced()).then(|| this.host.tables.clone());
        let outcome = process.pass(&mut this.host, &self.conf, self.now, self.mutant);
        if let Some((desired, owners)) = &outcome.desired {
            this.host.tables.apply(desired, owners, most, self.mutant);
        }
        process.pass_at = None;
        process.programmed = Some(this.host.tables.peers.keys().copied().collect());
        if let Some(before) = before {
            let forgotten = tables::lost_though_valid(&before, &this.host.tables, &self.store);
            self.figures.forgotten += u64::try_from(forgotten).unwrap_or_default();
        }
        let next = process.next_look(self.now) - self.now;
        let peers = this.host.tables.peers.len();
        self.note(agent, || format!("passes: {peers} peers"));
        if let Some(body) = outcome.patch {
            self.send_patch(agent, body);
        }
        self.pass_soon(agent, next);
    }

    fn send_patch(&mut self, agent: usize, body: String) {
        let mut name = self.agents[agent].host.name.clone();
        if self.mutant == Some(Mutant::PatchAnotherNode) {
            let other = (agent + 1) % self.agents.len();
            name.clone_from(&self.agents[other].host.name);
        }
        self.note(agent, || format!("patches {name}: {body}"));
        let id = self.send(agent, Ask::Patch { name, body });
        if let Some(process) = &mut self.agents[agent].process {
            process.publisher.sent(id);
        }
    }

    fn check_tables(&mut self, agent: usize) {
        let this = &self.agents[agent];
        let Some(held) = this.process.as_ref().and_then(|process| process.held.as_ref()) else {
            return;
        };
        if let Err(what) = tables::one_owner_each(&this.host.tables, held.subnet) {
            let name = this.host.name.clone();
            self.violate("I2 one owner for a prefix", format!("{name}: {what}"));
        }
    }

    pub(super) fn note<T: std::fmt::Display>(&mut self, agent: usize, text: impl FnOnce() -> T) {
        self.trace.note(self.now, || format!("node{agent:02} {}", text()));
    }
}
