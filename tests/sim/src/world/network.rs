//! Requests and answers: lost, late, refused, cut off, and sometimes answered.

use std::time::Duration;

use tartan_core::annotations::AnnotationPrefix;
use tartan_core::reflector::{Failure, Version, WatchItem, parse_page, parse_status};

use super::event::{Answer, Ask, Event, Reply, Request};
use super::{Watch, World};
use crate::Ms;
use crate::api::patch;
use crate::api::server::Refusal;
use crate::mutant::Mutant;

/// An agent waits no longer for an answer.
const REQUEST_TIMEOUT: Ms = 15_000;

impl World {
    /// Sends a list or a watch, of which there is one at a time.
    pub(super) fn ask(&mut self, agent: usize, ask: Ask) {
        if self.rng.percent(20) && !self.calm {
            self.agents[agent].link.server = self.rng.index(2);
        }
        self.note(agent, || format!("asks for {ask:?}"));
        let id = self.send(agent, ask);
        if let Some(process) = &mut self.agents[agent].process {
            process.request = Some(id);
        }
    }

    pub(super) fn send(&mut self, agent: usize, ask: Ask) -> u64 {
        let id = self.next_id();
        self.agents[agent].busy.1 += 1;
        let life = self.agents[agent].life;
        let to_patch = matches!(ask, Ask::Patch { .. });
        let reply = Reply::Failed { failure: Failure::Timeout, to_patch };
        self.queue
            .push(self.now + REQUEST_TIMEOUT, Event::Answer(Answer { agent, life, id, reply }));
        if !self.agents[agent].link.up {
            if self.rng.percent(50) {
                let failure = Failure::Connection("no route to host".to_owned());
                let reply = Reply::Failed { failure, to_patch };
                self.queue.push(self.now + 5, Event::Answer(Answer { agent, life, id, reply }));
            }
            return id;
        }
        let request = Request { agent, life, id, ask };
        let mut at = self.now + self.latency(agent);
        if to_patch && !self.calm {
            // A proxy may hold a request back, and may send it twice.
            if self.rng.percent(3) {
                at += self.rng.below(25_000);
            }
            if self.rng.percent(3) {
                let again = at + self.rng.below(3000);
                self.queue.push(again, Event::Arrive(request.clone()));
            }
        }
        self.queue.push(at, Event::Arrive(request));
        id
    }

    pub(super) fn latency(&mut self, agent: usize) -> Ms {
        let slow = self.agents[agent].link.slow;
        self.rng.within(if slow { 500..=6000 } else { 1..=40 })
    }

    /// The server's side.
    pub(super) fn arrive(&mut self, request: &Request) {
        if self.rng.percent(self.errors) {
            let refusal = self.any_error();
            return self.refuse(request, &refusal);
        }
        let server = self.agents[request.agent].link.server;
        match &request.ask {
            Ask::List(list) => match self.servers[server].list(&self.store, list) {
                Ok(page) => {
                    let page = self.maybe_cut(page);
                    self.reply(request, Reply::Page(page));
                }
                Err(refusal) => self.refuse(request, &refusal),
            },
            Ask::Watch { from } => self.open_watch(request, *from, server),
            Ask::Patch { name, body } => {
                let (name, body) = (name.clone(), body.clone());
                self.patch(request, &name, &body);
            }
        }
    }

    fn any_error(&mut self) -> Refusal {
        match self.rng.below(4) {
            0 => Refusal::new(429, "TooManyRequests", "please try again later"),
            1 => Refusal::new(500, "InternalError", "etcdserver: request timed out"),
            2 => Refusal::new(401, "Unauthorized", "Unauthorized"),
            _ => Refusal::new(503, "ServiceUnavailable", "the server is starting"),
        }
    }

    fn maybe_cut(&mut self, mut page: String) -> String {
        if self.rng.percent(self.errors) {
            page.truncate(self.rng.index(page.len()));
        }
        page
    }

    fn open_watch(&mut self, request: &Request, from: u64, server: usize) {
        let agent = request.agent;
        let patient = self.rng.percent(50);
        if let Err(refusal) = self.servers[server].watch(&self.store, from, patient) {
            return self.refuse(request, &refusal);
        }
        let is_current = self.agents[agent].life == request.life;
        if is_current {
            let id = request.id;
            let arrives = self.now;
            self.agents[agent].watch = Some(Watch {
                id,
                server,
                cursor: from,
                epoch: 0,
                stalled: false,
                opened: false,
                arrives,
            });
            let (closes, marks) =
                (self.rng.within(20_000..=100_000), self.rng.within(500..=60_000));
            self.queue.push(self.now + closes, Event::CloseWatch { agent, watch: id });
            self.queue.push(self.now + marks, Event::Bookmark { agent, watch: id });
        }
        self.reply(request, Reply::Opened);
    }

    fn patch(&mut self, request: &Request, name: &str, body: &str) {
        let own = self.agents[request.agent].host.name.clone();
        let changes = match patch::read(body) {
            Ok(changes) if name == own => changes,
            Ok(_) => return self.violate("I5 only the own Node", format!("{own} patches {name}")),
            Err(what) => return self.violate("I5 only our annotations", format!("{own}: {what}")),
        };
        let is_late = request.id < self.agents[request.agent].patched;
        let Some(object) = self.store.get(name).cloned() else {
            return self.refuse(request, &Refusal::new(404, "NotFound", "no such node"));
        };
        if let Some(changed) = patch::apply(&object, &changes) {
            self.figures.overtaken += u64::from(is_late);
            self.note(request.agent, || "is patched");
            self.put(changed);
        }
        let patched = &mut self.agents[request.agent].patched;
        *patched = (*patched).max(request.id);
        self.reply(request, Reply::Patched);
    }

    fn refuse(&mut self, request: &Request, refusal: &Refusal) {
        let retry_after =
            (refusal.code == 429).then(|| Duration::from_secs(self.rng.within(1..=40)));
        let failure = parse_status(refusal.body.as_bytes(), refusal.code, retry_after);
        let to_patch = matches!(request.ask, Ask::Patch { .. });
        self.reply(request, Reply::Failed { failure, to_patch });
    }

    fn reply(&mut self, request: &Request, reply: Reply) {
        let Request { agent, life, id, .. } = *request;
        if !self.agents[agent].link.up {
            return;
        }
        let mut at = self.now + self.latency(agent);
        if let Some(watch) = self.agents[agent].watch.as_mut().filter(|watch| watch.id == id) {
            at = at.max(watch.arrives);
            watch.arrives = at;
        }
        self.queue.push(at, Event::Answer(Answer { agent, life, id, reply }));
    }

    /// The agent's side.
    pub(super) fn answered(&mut self, answer: Answer) {
        let Answer { agent, life, id, reply } = answer;
        let (local, now, mutant) = (self.local(agent), self.now, self.mutant);
        let this = &mut self.agents[agent];
        let Some(process) = this.process.as_mut().filter(|_| this.life == life) else { return };
        match reply {
            Reply::Patched | Reply::Failed { to_patch: true, .. } => {
                return process.publisher.answered(now, id);
            }
            Reply::Page(_) | Reply::Opened | Reply::Failed { .. } => {}
        }
        if process.request != Some(id) {
            return;
        }
        process.request = None;
        match reply {
            Reply::Page(text) => match parse_page(text.as_bytes(), &AnnotationPrefix::default()) {
                Ok(page) => {
                    process.page(local, page, mutant);
                    self.note(agent, || "gets a page");
                    self.after_mirror(agent);
                }
                Err(error) => self.fail(agent, &Failure::Malformed(error.to_string())),
            },
            Reply::Opened => {
                process.mirror.watch_opened(local);
                if let Some(watch) = this.watch.as_mut().filter(|watch| watch.id == id) {
                    watch.opened = true;
                }
                self.note(agent, || "has a watch");
                self.pump(agent);
                self.after_mirror(agent);
            }
            Reply::Failed { failure, .. } => {
                if self.skip_ahead_if_mutant(agent, &failure) {
                    self.after_mirror(agent);
                } else {
                    self.fail(agent, &failure);
                }
            }
            Reply::Patched => {}
        }
    }

    fn skip_ahead_if_mutant(&mut self, agent: usize, failure: &Failure) -> bool {
        if self.mutant != Some(Mutant::SkipAheadAfterGone) || *failure != Failure::Gone {
            return false;
        }
        let local = self.local(agent);
        let newest = Version::from_number(self.store.revision());
        let Some(process) = &mut self.agents[agent].process else { return false };
        if process.mirror.is_synced() {
            process.mirror.watch_opened(local);
            process.mirror.heard(local, WatchItem::Bookmark(newest));
            process.mirror.ended(local);
        }
        process.mirror.is_synced()
    }
}
