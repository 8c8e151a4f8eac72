//! Watches: what servers send, and how it arrives.

use tartan_core::annotations::AnnotationPrefix;
use tartan_core::reflector::{Failure, parse_event};

use super::World;
use super::event::{Event, Lines};
use crate::Ms;
use crate::api::object::Object;
use crate::api::server::{bookmark, gone_line, line};

/// Lines that arrive later were sent over a slow link.
const SOON: Ms = 50;

impl World {
    /// Writes an object, and lets the servers see it.
    pub(super) fn put(&mut self, object: Object) {
        self.trace.note(self.now, || format!("api    {object:?}"));
        self.store.put(self.now, object);
        self.written();
    }

    /// Deletes an object, and lets the servers see it.
    pub(super) fn delete(&mut self, name: &str) {
        if self.store.delete(self.now, name) {
            self.trace.note(self.now, || format!("api    {name} is deleted"));
            self.written();
        }
    }

    fn written(&mut self) {
        let revision = self.store.revision();
        for server in 0..self.servers.len() {
            let lag = if server == 0 { 0 } else { self.rng.within(0..=300) };
            self.queue.push(self.now + lag, Event::CatchUp { server, revision });
        }
        self.queue.push(self.now + 2500, Event::Settled { revision });
    }

    pub(super) fn catch_up(&mut self, server: usize, revision: u64) {
        let this = &mut self.servers[server];
        if this.frozen || this.seen >= revision {
            return;
        }
        this.seen = revision;
        for agent in 0..self.agents.len() {
            self.pump(agent);
        }
    }

    /// Sends everything that the agent's watch has not sent yet.
    pub(super) fn pump(&mut self, agent: usize) {
        let latency = self.latency(agent);
        let this = &mut self.agents[agent];
        let Some(watch) = &mut this.watch else { return };
        let seen = self.servers[watch.server].seen;
        if watch.stalled || !watch.opened || !this.link.up || watch.cursor >= seen {
            return;
        }
        let news = self.store.between(watch.cursor, seen);
        let lines: Vec<String> = news.iter().map(|version| line(version)).collect();
        let from = watch.cursor;
        watch.cursor = seen;
        watch.arrives = watch.arrives.max(self.now + latency);
        let (at, epoch, id) = (watch.arrives, watch.epoch, watch.id);
        let texts = self.disturbed(lines, from);
        self.queue.push(at, Event::Deliver(Lines { agent, watch: id, epoch, from, texts }));
    }

    /// Some lines come twice, some late again, and neighbours change places.
    fn disturbed(&mut self, mut lines: Vec<String>, from: u64) -> Vec<String> {
        if self.calm || lines.is_empty() {
            return lines;
        }
        if self.rng.percent(5) {
            let back = self.rng.within(1..=20);
            let old = self.store.between(from.saturating_sub(back), from);
            let old: Vec<String> = old.iter().map(|version| line(version)).collect();
            if let Some(again) = self.rng.pick(&old) {
                lines.push(again.clone());
            }
        }
        if self.rng.percent(5) {
            let twice = self.rng.index(lines.len());
            lines.insert(twice, lines[twice].clone());
        }
        if self.rng.percent(5) {
            let place = self.rng.index(lines.len());
            let other = (place + 1) % lines.len();
            lines.swap(place, other);
        }
        lines
    }

    pub(super) fn bookmark(&mut self, agent: usize, watch: u64) {
        let again = self.now + self.rng.within(20_000..=60_000);
        let this = &mut self.agents[agent];
        let Some(open) = this.watch.as_mut().filter(|open| open.id == watch) else { return };
        let seen = self.servers[open.server].seen;
        let can_send = !open.stalled && open.opened && this.link.up && open.cursor <= seen;
        let lost_from = open.cursor;
        let (epoch, at) = (open.epoch, open.arrives.max(self.now + 1));
        self.queue.push(again, Event::Bookmark { agent, watch });
        if can_send {
            let texts = vec![bookmark(lost_from)];
            self.queue
                .push(at, Event::Deliver(Lines { agent, watch, epoch, from: lost_from, texts }));
        }
    }

    /// A 410 in the middle of a watch.
    pub(super) fn expire_watch(&mut self, agent: usize) {
        let Some(open) = self.agents[agent].watch.as_ref().filter(|open| open.opened) else {
            return;
        };
        let (watch, epoch, from) = (open.id, open.epoch, open.cursor);
        let at = open.arrives.max(self.now + 1);
        let texts = vec![gone_line()];
        self.queue.push(at, Event::Deliver(Lines { agent, watch, epoch, from, texts }));
    }

    /// The agent's side.
    pub(super) fn deliver(&mut self, batch: Lines) {
        let Lines { agent, watch, epoch, from, texts } = batch;
        let link_up = self.agents[agent].link.up;
        let same = |open: &&mut super::Watch| open.id == watch && open.epoch == epoch;
        let Some(open) = self.agents[agent].watch.as_mut().filter(same) else { return };
        if !link_up || open.stalled {
            // TCP sends it again as soon as it can.
            open.epoch += 1;
            open.cursor = open.cursor.min(from);
            return;
        }
        let cut = self.rng.percent(self.errors / 4);
        for text in texts {
            let text = if cut { &text[..text.len() / 2] } else { &text[..] };
            if !self.hear(agent, text) {
                self.agents[agent].watch = None;
                break;
            }
        }
        self.after_mirror(agent);
    }

    /// Says whether the watch goes on.
    fn hear(&mut self, agent: usize, text: &str) -> bool {
        let (local, mutant) = (self.local(agent), self.mutant);
        let Some(process) = &mut self.agents[agent].process else { return false };
        match parse_event(text.as_bytes(), &AnnotationPrefix::default()) {
            Ok(item) => {
                let goes_on = process.heard(local, item, mutant);
                self.note(agent, || format!("hears {}", &text[..text.len().min(100)]));
                goes_on
            }
            Err(error) => {
                self.agents[agent].watch = None;
                self.fail(agent, &Failure::Malformed(error.to_string()));
                false
            }
        }
    }

    pub(super) fn close_in_order(&mut self, agent: usize, watch: u64) {
        let local = self.local(agent);
        let this = &mut self.agents[agent];
        let is_it = this.watch.as_ref().is_some_and(|open| {
            open.id == watch && open.opened && !open.stalled && open.arrives <= self.now
        });
        // The last look must not fall between two watches.
        if !is_it || !this.link.up || self.now + 5000 > self.ends {
            return;
        }
        this.watch = None;
        if let Some(process) = &mut this.process {
            process.mirror.ended(local);
        }
        self.note(agent, || "is told that the watch ends");
        self.after_mirror(agent);
    }

    /// The connection breaks, and the agent notices.
    pub(super) fn reset_watch(&mut self, agent: usize) {
        if self.agents[agent].watch.take().is_some() {
            let failure = Failure::Connection("connection reset by peer".to_owned());
            self.fail(agent, &failure);
        }
    }

    /// Whether the agent hears everything at once, and since when.
    pub(super) fn refresh_contact(&mut self, agent: usize) {
        let this = &mut self.agents[agent];
        let now = self.now;
        let is_live = |watch: &super::Watch| {
            let server = &self.servers[watch.server];
            let is_sound = watch.opened && !watch.stalled && watch.arrives <= now + SOON;
            is_sound && !server.frozen && server.seen >= watch.cursor
        };
        let well = this.process.is_some()
            && this.link.up
            && !this.link.slow
            && this.watch.as_ref().is_some_and(is_live);
        this.contact = if well { this.contact.or(Some(self.now)) } else { None };
    }
}
