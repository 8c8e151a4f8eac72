//! Clears the Node's condition NetworkUnavailable, once the node is in service.

use std::sync::Arc;

use serde_json::json;
use tartan_core::Timestamp;
use tokio::time::sleep;
use tracing::info;

use super::publish::least_pause;
use super::request;
use super::shared::Shared;

/// Tells the tasks' pauses apart.
const TASK: u64 = 2;

/// Announces for ever: once per call and per Node object, as often as it takes.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut work = shared.subscribe_work();
    let mut backoff = shared.backoff(TASK);
    let mut done = None;
    loop {
        work.mark_unchanged();
        let due = shared.announcement_due().filter(|due| done.as_ref() != Some(due));
        let Some(due) = due else {
            let _ = work.changed().await;
            continue;
        };
        let body = condition(Timestamp::now());
        let request = request::patch_conditions(&shared.options.node_name, body);
        match shared.transport.answer(request).await {
            Ok(_) => {
                info!("set the condition NetworkUnavailable of this node to False");
                shared.announcing.succeeded();
                backoff.reset();
                done = Some(due);
            }
            Err(failure) => {
                shared.announcing.failed(&failure.to_string());
                sleep(backoff.pause().max(least_pause(&failure))).await;
            }
        }
    }
}

impl Shared {
    /// Which call it is, and the Node object it is for.
    fn announcement_due(&self) -> Option<(u64, String)> {
        let calls = self.announcements();
        let own = self.own().ok().filter(|_| calls > 0)?;
        Some((calls, own.uid.clone()))
    }
}

/// The strategic merge patch with flannel's words; conditions are merged by their type.
fn condition(now: Timestamp) -> String {
    json!({ "status": { "conditions": [{
        "type": "NetworkUnavailable",
        "status": "False",
        "reason": "FlannelIsUp",
        "message": "Flannel is running on this node",
        "lastTransitionTime": now,
        "lastHeartbeatTime": now,
    }] } })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_condition_has_flannels_words() {
        let body: serde_json::Value =
            serde_json::from_str(&condition(Timestamp::from_unix_seconds(0))).unwrap();
        let condition = &body["status"]["conditions"][0];
        assert_eq!(condition["type"], "NetworkUnavailable");
        assert_eq!(condition["status"], "False");
        assert_eq!(condition["reason"], "FlannelIsUp");
        assert_eq!(condition["message"], "Flannel is running on this node");
        assert_eq!(condition["lastHeartbeatTime"], "1970-01-01T00:00:00Z");
    }
}
