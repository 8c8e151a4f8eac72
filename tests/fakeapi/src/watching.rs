//! One watch under way: events in the order of their revisions, bookmarks, its end, and whatever
//! the script wants to go wrong with it.

use std::collections::VecDeque;
use std::io;

use hyper::body::Bytes;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::etcd::{Change, Compacted};
use crate::fault::Fault;
use crate::registry::Resource;
use crate::status::Failure;
use crate::view::View;

/// How many of the last lines are kept, to be told twice.
const RECENT: usize = 32;

/// What a watch is about.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    pub(crate) resource: Resource,
    pub(crate) prefix: String,
    pub(crate) name: Option<String>,
}

impl Scope {
    pub(crate) fn covers(&self, key: &str) -> bool {
        let rest = key.strip_prefix(&self.prefix);
        rest.is_some_and(|rest| self.name.as_deref().is_none_or(|name| name == rest))
    }
}

/// How a watch ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    InOrder,
    Broken,
}

/// The server's side of one watch.
pub(crate) struct Watching {
    view: View,
    scope: Scope,
    /// Everything up to this revision was told.
    after: u64,
    lines: VecDeque<Line>,
    recent: VecDeque<Bytes>,
    bookmarks: bool,
    next_bookmark: Instant,
    ends_at: Instant,
    end: End,
    fault: Option<Fault>,
    silent_until: Option<Instant>,
    omit: usize,
    revisions: watch::Receiver<u64>,
    strikes: watch::Receiver<(u64, Option<Fault>)>,
}

/// One line of the answer.
enum Line {
    Event(Change, Bytes),
    Text(Bytes),
}

/// When a watch tells something without a cause, and when it ends.
pub(crate) struct Timetable {
    pub(crate) bookmarks: bool,
    pub(crate) ends_at: Instant,
}

impl Watching {
    /// A watch of what happens after a revision.
    pub(crate) fn new(
        view: View,
        scope: Scope,
        after: u64,
        timetable: &Timetable,
        strikes: watch::Receiver<(u64, Option<Fault>)>,
    ) -> Self {
        Self {
            after,
            lines: VecDeque::new(),
            recent: VecDeque::new(),
            bookmarks: timetable.bookmarks,
            next_bookmark: Instant::now() + view.shared.timings().bookmark_every,
            ends_at: timetable.ends_at,
            end: End::Open,
            fault: None,
            silent_until: None,
            omit: 0,
            revisions: view.shared.revisions(),
            strikes,
            view,
            scope,
        }
    }

    /// Begins with these objects, and says so at their end where it was asked for.
    pub(crate) fn begin_with(&mut self, objects: Vec<Bytes>, announce_end: bool) {
        self.lines.extend(objects.into_iter().map(|object| Line::Event(Change::Added, object)));
        if announce_end {
            self.push_bookmark(true);
        }
    }

    /// What goes wrong with it.
    pub(crate) fn meets(&mut self, fault: Option<Fault>) {
        self.fault = fault;
    }

    /// The next piece of the answer; `None` is its end.
    pub(crate) async fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Some(Ok(self.tell(line)));
            }
            match self.end {
                End::Open => self.step().await,
                End::InOrder => return None,
                End::Broken => return Some(Err(io::ErrorKind::ConnectionReset.into())),
            }
        }
    }

    fn tell(&mut self, line: Line) -> Bytes {
        match line {
            Line::Event(change, object) => {
                let line = event(change, self.scope.resource, &object);
                self.recent.push_back(line.clone());
                if self.recent.len() > RECENT {
                    self.recent.pop_front();
                }
                line
            }
            Line::Text(text) => text,
        }
    }

    async fn step(&mut self) {
        if let Some(fault) = self.fault.take() {
            self.meet(fault).await;
            return;
        }
        if self.silent_until.is_some_and(|until| until <= Instant::now()) {
            self.silent_until = None;
        }
        if self.silent_until.is_none() {
            self.collect();
        }
        if self.lines.is_empty() && self.end == End::Open {
            self.wait().await;
        }
    }

    fn collect(&mut self) {
        let seen = self.view.seen();
        let scope = self.scope.clone();
        let changes = self.view.shared.etcd().changes(
            |key| scope.covers(key),
            self.after,
            seen.max(self.after),
        );
        match changes {
            Err(Compacted(oldest)) => self.fail(&Failure::too_old(self.after, oldest)),
            Ok(changes) => {
                let news = changes.into_iter().map(|happened| (happened.change, happened.value));
                self.take_in(news.collect());
                self.after = self.after.max(seen);
            }
        }
    }

    fn take_in(&mut self, changes: Vec<(Change, Bytes)>) {
        let lost = self.omit.min(changes.len());
        let kept = changes.into_iter().skip(lost);
        self.lines.extend(kept.map(|(change, object)| Line::Event(change, object)));
        if lost > 0 {
            // What was lost must be read again, or the script would ask for the impossible.
            self.lines.clear();
            self.fail(&Failure::of_code(410, None));
        }
    }

    async fn wait(&mut self) {
        let now = Instant::now();
        if now >= self.ends_at {
            self.push_bookmark(false);
            self.end = End::InOrder;
            return;
        }
        let next = self.silent_until.unwrap_or(self.ends_at).min(self.ends_at);
        let next = if self.bookmarks { next.min(self.next_bookmark) } else { next };
        let strike = tokio::select! {
            () = self.view.moved(&mut self.revisions) => false,
            () = sleep_until(next) => false,
            struck = self.strikes.changed() => struck.is_ok(),
        };
        if strike {
            self.fault.clone_from(&self.strikes.borrow_and_update().1);
        } else if self.bookmarks && Instant::now() >= self.next_bookmark {
            self.next_bookmark = Instant::now() + self.view.shared.timings().bookmark_every;
            self.push_bookmark(false);
        }
    }

    async fn meet(&mut self, fault: Fault) {
        match fault {
            Fault::Stall | Fault::Silence => std::future::pending().await,
            Fault::BookmarksOnly(time) => self.silent_until = Some(Instant::now() + time),
            Fault::Duplicate(count) => {
                let from = self.recent.len().saturating_sub(count);
                self.lines.extend(self.recent.range(from..).cloned().map(Line::Text));
            }
            Fault::Omit(count) => self.omit = count,
            Fault::Gone => self.fail(&Failure::too_old(self.after, self.after + 1)),
            Fault::ErrorEvent(code) => self.fail(&Failure::of_code(code, None)),
            Fault::Garbage => self.push_text("<html>not what you expect</html>\n".to_owned()),
            Fault::Blank => self.push_text("\n".to_owned()),
            Fault::Close => self.end = End::InOrder,
            Fault::Reset => self.end = End::Broken,
            // Those of requests and bodies are met elsewhere.
            Fault::Answer { .. }
            | Fault::AnswerLost { .. }
            | Fault::Truncate(_)
            | Fault::CutAfter(_)
            | Fault::Chop(_) => {}
        }
    }

    fn fail(&mut self, failure: &Failure) {
        let event = json!({ "type": "ERROR", "object": failure.to_json() });
        self.push_text(format!("{event}\n"));
        self.end = End::InOrder;
    }

    fn push_text(&mut self, text: String) {
        self.lines.push_back(Line::Text(text.into()));
    }

    fn push_bookmark(&mut self, end_of_initial: bool) {
        if self.bookmarks {
            let object = bookmark(self.scope.resource, self.after, end_of_initial);
            let event = json!({ "type": "BOOKMARK", "object": object });
            self.push_text(format!("{event}\n"));
        }
    }
}

fn event(change: Change, resource: Resource, object: &[u8]) -> Bytes {
    let kind = resource.kind();
    let word = match change {
        Change::Added => "ADDED",
        Change::Modified => "MODIFIED",
        Change::Deleted => "DELETED",
    };
    let head = format!(r#"{{"type":"{word}","object":{{"kind":"{kind}","apiVersion":"v1","#);
    // What is stored begins with a brace, and never with the two members above.
    let body = object.get(1..).unwrap_or_default();
    [head.as_bytes(), body, b"}\n"].concat().into()
}

fn bookmark(resource: Resource, revision: u64, end_of_initial: bool) -> Value {
    let mut object = json!({
        "kind": resource.kind(),
        "apiVersion": "v1",
        "metadata": { "resourceVersion": revision.to_string() },
        "spec": {},
        "status": {},
    });
    if resource == Resource::Nodes {
        let info = [
            "architecture",
            "bootID",
            "containerRuntimeVersion",
            "kernelVersion",
            "kubeProxyVersion",
            "kubeletVersion",
            "machineID",
            "operatingSystem",
            "osImage",
            "systemUUID",
        ];
        let info: serde_json::Map<_, _> =
            info.into_iter().map(|key| (key.to_owned(), json!(""))).collect();
        let endpoints = json!({ "kubeletEndpoint": { "Port": 0 } });
        object["status"] = json!({ "daemonEndpoints": endpoints, "nodeInfo": info });
    }
    if end_of_initial {
        object["metadata"]["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
    }
    object
}
