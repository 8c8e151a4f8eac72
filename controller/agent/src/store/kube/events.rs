//! Events about the own Node: few, none twice, and never in anybody's way.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;
use tartan_core::Timestamp;
use tokio::sync::Notify;
use tokio::time::sleep;
use tracing::{debug, warn};

use super::request;
use super::shared::{Shared, lock};
use crate::store::Notice;

/// Notices that wait at most; what comes when the queue is full is dropped.
const LONGEST_QUEUE: usize = 64;
/// Kubernetes takes messages of 1024 bytes.
const LONGEST_MESSAGE: usize = 1024;
/// What a Node's name may take of an Event's name of 253 bytes.
const LONGEST_NAME: usize = 220;
/// Where the kubelet puts the Events of Nodes, which have no namespace.
const NAMESPACE: &str = "default";
const COMPONENT: &str = "tartand";
/// Tells the tasks' pauses apart.
const TASK: u64 = 3;

/// Notices on their way.
pub(super) struct Outbox {
    state: Mutex<State>,
    filled: Notify,
    repeat: Duration,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Notice>,
    /// When each was taken last.
    taken: HashMap<Notice, Instant>,
    overflowed: bool,
}

impl Outbox {
    /// `repeat`: the same notice is not taken again for so long.
    pub(super) fn new(repeat: Duration) -> Self {
        Self { state: Mutex::default(), filled: Notify::new(), repeat }
    }

    /// Takes the notice, unless it was taken not long ago or too many wait.
    pub(super) fn put(&self, notice: Notice) {
        let mut state = lock(&self.state);
        let now = Instant::now();
        state.taken.retain(|_, taken| now.duration_since(*taken) < self.repeat);
        if state.taken.contains_key(&notice) {
            return;
        }
        if state.queue.len() >= LONGEST_QUEUE {
            if !std::mem::replace(&mut state.overflowed, true) {
                warn!("too many Events at once: some are not sent, the log has all of them");
            }
            return;
        }
        state.overflowed = false;
        state.taken.insert(notice.clone(), now);
        state.queue.push_back(notice);
        self.filled.notify_one();
    }

    fn take(&self) -> Option<Notice> {
        lock(&self.state).queue.pop_front()
    }

    fn put_back(&self, notice: Notice) {
        lock(&self.state).queue.push_front(notice);
    }
}

/// Sends for ever.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut backoff = shared.backoff(TASK);
    let mut told = false;
    loop {
        let Some(notice) = shared.outbox.take() else {
            shared.outbox.filled.notified().await;
            continue;
        };
        let body = event(&shared.options.node_name, &notice);
        match shared.transport.answer(request::create_event(NAMESPACE, body)).await {
            Ok(_) => {
                told = false;
                backoff.reset();
                sleep(shared.options.timing.event_spacing).await;
            }
            Err(failure) => {
                if !std::mem::replace(&mut told, true) {
                    warn!(%failure, "cannot write Events about this node; the log has all of them");
                }
                debug!(%failure, text = notice.text, "an Event was not sent");
                // What an API server refused once it refuses again.
                if !failure.is_an_answer() {
                    shared.outbox.put_back(notice);
                }
                sleep(backoff.pause()).await;
            }
        }
    }
}

/// An Event as the kubelet makes them: the Node's uid is its name, or `kubectl describe node`
/// would not show it.
fn event(node: &str, notice: &Notice) -> String {
    let now = Timestamp::now();
    let kind = if notice.kind.is_warning() { "Warning" } else { "Normal" };
    let name = &node[..node.floor_char_boundary(LONGEST_NAME)];
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": { "name": format!("{name}.{}", unique()), "namespace": NAMESPACE },
        "involvedObject": { "kind": "Node", "name": node, "uid": node },
        "reason": notice.kind.reason(),
        "message": &notice.text[..notice.text.floor_char_boundary(LONGEST_MESSAGE)],
        "type": kind,
        "source": { "component": COMPONENT, "host": node },
        "reportingComponent": COMPONENT,
        "reportingInstance": node,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    })
    .to_string()
}

/// The time in nanoseconds and a count, as others name their Events.
fn unique() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("{time:x}{:02x}", COUNT.fetch_add(1, Ordering::Relaxed) % 256)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::NoticeKind;

    fn notice(text: &str) -> Notice {
        Notice { kind: NoticeKind::PodCidrMissing, text: text.to_owned() }
    }

    #[test]
    fn the_same_notice_is_taken_once_and_another_one_too() {
        let outbox = Outbox::new(Duration::from_mins(10));
        for text in ["a", "a", "b", "a"] {
            outbox.put(notice(text));
        }
        assert_eq!(outbox.take(), Some(notice("a")));
        assert_eq!(outbox.take(), Some(notice("b")));
        assert_eq!(outbox.take(), None);
        outbox.put(notice("a"));
        assert_eq!(outbox.take(), None);
    }

    #[test]
    fn a_notice_comes_again_after_its_time() {
        let outbox = Outbox::new(Duration::ZERO);
        outbox.put(notice("a"));
        outbox.put(notice("a"));
        assert_eq!(lock(&outbox.state).queue.len(), 2);
    }

    #[test]
    fn the_queue_is_bounded() {
        let outbox = Outbox::new(Duration::from_mins(10));
        for number in 0..1000 {
            outbox.put(notice(&number.to_string()));
        }
        let state = lock(&outbox.state);
        assert_eq!((state.queue.len(), state.taken.len()), (LONGEST_QUEUE, LONGEST_QUEUE));
    }

    #[test]
    fn an_event_names_the_node_as_the_kubelet_does() {
        let long = notice(&"ä".repeat(2000));
        let event: serde_json::Value = serde_json::from_str(&event("node1", &long)).unwrap();
        assert_eq!(event["involvedObject"]["uid"], "node1");
        assert_eq!(
            (&event["type"], &event["reason"]),
            (&"Warning".into(), &"PodCIDRMissing".into())
        );
        assert_eq!(event["message"].as_str().unwrap().len(), LONGEST_MESSAGE);
        assert_eq!(event["metadata"]["namespace"], NAMESPACE);
    }
}
