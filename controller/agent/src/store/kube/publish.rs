//! Keeps the own Node's annotations as they should be, whoever changes them.

use std::sync::Arc;
use std::time::Duration;

use tartan_core::annotations::{Key, NodeRecord, difference, merge_patch, wanted};
use tartan_core::reflector::{Failure, Version};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::request;
use super::shared::Shared;

/// Annotations that nobody touched for so long are settled: the next repair is quick again.
const SETTLED_AFTER: Duration = Duration::from_secs(10);
/// Until the mirror must have shown what was written.
const MIRROR_LAG: Duration = Duration::from_secs(2);
/// Tells the tasks' pauses apart.
const TASK: u64 = 1;

/// What the API server confirmed last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Confirmed {
    uid: String,
    version: Version,
    wanted: Vec<(Key, String)>,
}

/// What is to be done now.
#[derive(Debug, PartialEq, Eq)]
enum Due {
    /// There is nothing to publish yet, or nowhere to.
    Nothing,
    /// All is there.
    Done,
    /// It was confirmed; the mirror has not seen it yet.
    Seen,
    /// These keys differ.
    Patch { difference: Vec<(Key, String)>, wanted: Vec<(Key, String)> },
}

/// Publishes for ever.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut work = shared.subscribe_work();
    let mut backoff = shared.backoff(TASK);
    let mut tried = Vec::new();
    loop {
        work.mark_unchanged();
        match shared.due() {
            Due::Patch { difference, wanted } => {
                // Only a dispute about the same texts is to slow down, not a new wish.
                if tried != wanted {
                    backoff.reset();
                    tried.clone_from(&wanted);
                }
                let least = shared.publish(&difference, wanted).await;
                sleep(backoff.pause().max(least)).await;
            }
            Due::Done => {
                if timeout(SETTLED_AFTER, work.changed()).await.is_err() {
                    backoff.reset();
                    let _ = work.changed().await;
                }
            }
            Due::Seen => {
                let _ = timeout(MIRROR_LAG, work.changed()).await;
            }
            Due::Nothing => {
                let _ = work.changed().await;
            }
        }
    }
}

impl Shared {
    pub(super) fn is_published(&self) -> bool {
        match self.due() {
            Due::Done | Due::Seen => true,
            Due::Nothing | Due::Patch { .. } => false,
        }
    }

    fn due(&self) -> Due {
        let Some(publication) = self.publication().clone() else {
            return Due::Nothing;
        };
        let reflector = self.reflector();
        let name = &self.options.node_name;
        let (Some(record), Some(version)) = (reflector.get(name), reflector.version_of(name))
        else {
            return Due::Nothing;
        };
        due(record, version, wanted(&publication, record), self.confirmed().as_ref())
    }

    /// Writes what differs; returns how long to leave the API server alone at least.
    async fn publish(&self, difference: &[(Key, String)], wanted: Vec<(Key, String)>) -> Duration {
        let body = merge_patch(&self.options.prefix, difference);
        let request = request::patch_annotations(&self.options.node_name, body);
        let answer = self.transport.answer(request).await;
        match answer.and_then(|body| self.confirm(&body, wanted)) {
            Ok(()) => {
                self.publishing.succeeded();
                let keys: Vec<&str> = difference.iter().map(|(key, _)| key.name()).collect();
                info!(keys = keys.join(" "), "published this node's annotations");
                self.tell_change();
                Duration::ZERO
            }
            Err(failure) => {
                self.publishing.failed(&failure.to_string());
                least_pause(&failure)
            }
        }
    }

    /// The answer to a patch is the Node as it is now.
    fn confirm(&self, body: &[u8], wanted: Vec<(Key, String)>) -> Result<(), Failure> {
        let malformed = |what: &dyn ToString| Failure::Malformed(what.to_string());
        let text = std::str::from_utf8(body).map_err(|error| malformed(&error))?;
        let seen =
            NodeRecord::from_json(text, &self.options.prefix).map_err(|error| malformed(&error))?;
        if !difference(&seen.record, wanted.clone()).is_empty() {
            warn!("the API server did not take all annotations of this node");
            return Ok(());
        }
        let confirmed = Confirmed { uid: seen.record.uid, version: seen.version, wanted };
        *self.confirmed() = Some(confirmed);
        Ok(())
    }
}

fn due(
    record: &NodeRecord,
    version: &Version,
    wanted: Vec<(Key, String)>,
    confirmed: Option<&Confirmed>,
) -> Due {
    let difference = difference(record, wanted.clone());
    if difference.is_empty() {
        return Due::Done;
    }
    let is_ahead = |confirmed: &Confirmed| {
        confirmed.uid == record.uid
            && confirmed.wanted == wanted
            && version.is_older_than(&confirmed.version)
    };
    if confirmed.is_some_and(is_ahead) {
        return Due::Seen;
    }
    Due::Patch { difference, wanted }
}

/// A server's Retry-After, as far as it is reasonable.
pub(super) fn least_pause(failure: &Failure) -> Duration {
    match failure {
        Failure::Busy { retry_after, .. } => (*retry_after).min(Duration::from_secs(30)),
        Failure::Gone
        | Failure::Behind
        | Failure::Status { .. }
        | Failure::Malformed(_)
        | Failure::Timeout
        | Failure::Stalled
        | Failure::Connection(_) => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use tartan_core::Timestamp;

    use super::*;

    fn record(public_ip: &str) -> NodeRecord {
        let mut record = NodeRecord::bare("n", "u1", Timestamp::default());
        record.annotate(Key::PublicIp, public_ip);
        record
    }

    fn ours() -> Vec<(Key, String)> {
        vec![(Key::PublicIp, "192.0.2.1".to_owned())]
    }

    fn at(number: u64) -> Version {
        Version::from_number(number)
    }

    #[test]
    fn only_what_differs_is_written_and_only_while_it_differs() {
        assert_eq!(due(&record("192.0.2.1"), &at(7), ours(), None), Due::Done);
        let patch = Due::Patch { difference: ours(), wanted: ours() };
        assert_eq!(due(&record("192.0.2.9"), &at(7), ours(), None), patch);
    }

    #[test]
    fn a_mirror_that_lags_behind_the_answer_is_waited_for_and_a_later_change_is_repaired() {
        let confirmed = Confirmed { uid: "u1".to_owned(), version: at(9), wanted: ours() };
        let due = |version, confirmed: &Confirmed| {
            due(&record("192.0.2.9"), &at(version), ours(), Some(confirmed))
        };
        assert_eq!(due(8, &confirmed), Due::Seen);
        assert!(matches!(due(10, &confirmed), Due::Patch { .. }));
        let of_another_node = Confirmed { uid: "u0".to_owned(), ..confirmed };
        assert!(matches!(due(8, &of_another_node), Due::Patch { .. }));
    }
}
