//! Nodes and pods as the API server knows them, for `status`.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::report::{Condition, Pod};
use super::sources::AGENTS;
use crate::api::Client;

/// A server that does not answer within this is one of the things that `status` reports.
const PATIENCE: Duration = Duration::from_secs(2);

/// The node of pods that nobody has placed yet.
pub(super) const NOWHERE: &str = "";

/// What the API server said.
#[derive(Debug, Default)]
pub(super) struct Observed {
    /// Kubernetes' version.
    pub(super) version: String,
    nodes: Vec<Value>,
    pods: Vec<Value>,
}

impl Observed {
    fn ask(admin: &Client) -> Result<Self> {
        let admin = admin.clone().with_patience(PATIENCE);
        let version = admin.get("/version")?;
        Ok(Self {
            version: text(&version["gitVersion"]),
            nodes: admin.list("/api/v1/nodes")?,
            pods: admin.list("/api/v1/pods")?,
        })
    }

    fn node(&self, name: &str) -> Option<&Value> {
        self.nodes.iter().find(|node| node["metadata"]["name"] == name)
    }

    /// Whether and why a node is Ready.
    pub(super) fn ready(&self, name: &str) -> Option<Condition> {
        let conditions = self.node(name)?["status"]["conditions"].as_array()?;
        let ready = conditions.iter().find(|condition| condition["type"] == "Ready")?;
        Some(Condition {
            status: text(&ready["status"]),
            reason: text(&ready["reason"]),
            message: text(&ready["message"]),
        })
    }

    /// A node's part of the pod network.
    pub(super) fn pod_cidr(&self, name: &str) -> Option<String> {
        Some(self.node(name)?["spec"]["podCIDR"].as_str()?.to_owned())
    }

    /// The version of a node's container runtime, `containerd://2.3.4`.
    pub(super) fn runtime(&self) -> Option<(String, String)> {
        let said = |node: &Value| {
            let said = node["status"]["nodeInfo"]["containerRuntimeVersion"].as_str()?;
            let (name, version) = said.split_once("://")?;
            Some((name.to_owned(), version.to_owned()))
        };
        self.nodes.iter().find_map(said)
    }

    /// The name and tag of the agents' image.
    pub(super) fn agent(&self) -> Option<(String, String)> {
        let is_agent =
            |pod: &&Value| AGENTS.iter().any(|name| pod["metadata"]["namespace"] == *name);
        let pod = self.pods.iter().find(is_agent)?;
        let image = pod["spec"]["containers"][0]["image"].as_str()?;
        let (name, tag) = image.rsplit('/').next()?.split_once(':')?;
        Some((name.to_owned(), tag.to_owned()))
    }

    /// The pods of a node.
    pub(super) fn pods(&self, node: &str) -> Vec<Pod> {
        let here = |pod: &&Value| pod["spec"]["nodeName"].as_str().unwrap_or_default() == node;
        self.pods.iter().filter(here).map(pod).collect()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn pod(pod: &Value) -> Pod {
    let containers = containers(pod);
    let phase = text(&pod["status"]["phase"]);
    let (held_by, trouble) = match trouble(pod, &containers) {
        Some((reason, message)) => (Some(reason), Some(message)),
        None => (None, None),
    };
    Pod {
        namespace: text(&pod["metadata"]["namespace"]),
        name: text(&pod["metadata"]["name"]),
        phase: held_by.unwrap_or(phase),
        ip: pod["status"]["podIP"].as_str().map(str::to_owned),
        restarts: restarts(pod),
        trouble,
    }
}

fn containers(pod: &Value) -> Vec<&Value> {
    let lists = ["initContainerStatuses", "containerStatuses"];
    lists.iter().filter_map(|list| pod["status"][list].as_array()).flatten().collect()
}

/// As kubectl counts them: those that initialise are not among them.
fn restarts(pod: &Value) -> u64 {
    let containers = pod["status"]["containerStatuses"].as_array();
    containers.into_iter().flatten().filter_map(|one| one["restartCount"].as_u64()).sum()
}

/// What holds a pod up: a word and a sentence.
fn trouble(pod: &Value, containers: &[&Value]) -> Option<(String, String)> {
    let normal = ["ContainerCreating", "PodInitializing"];
    let waiting = containers.iter().map(|one| &one["state"]["waiting"]);
    let stuck = waiting
        .filter_map(|waiting| Some((waiting["reason"].as_str()?, text(&waiting["message"]))))
        .find(|(reason, _)| !normal.contains(reason));
    if let Some((reason, message)) = stuck {
        return Some((reason.to_owned(), message));
    }
    let conditions = pod["status"]["conditions"].as_array()?;
    if let Some(refused) = conditions.iter().find(|one| one["reason"] == "Unschedulable") {
        return Some(("Unschedulable".to_owned(), text(&refused["message"])));
    }
    let unready = conditions.iter().any(|one| one["reason"] == "ContainersNotReady");
    let runs = pod["status"]["phase"] == "Running";
    (runs && unready).then(|| ("Running".to_owned(), "not all its containers are ready".to_owned()))
}

/// Asks the API server everything.
///
/// # Errors
/// When it does not answer in time.
pub(super) fn observe(admin: &Client) -> Result<Observed> {
    Observed::ask(admin).context("the API server does not answer")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_whose_image_is_missing_says_so() {
        let object = json!({
            "metadata": { "namespace": "default", "name": "web" },
            "spec": { "nodeName": "node1" },
            "status": { "phase": "Pending", "containerStatuses": [{
                "restartCount": 2,
                "state": { "waiting": { "reason": "ImagePullBackOff", "message": "no such" } },
            }]},
        });
        let seen = pod(&object);
        assert_eq!((seen.phase.as_str(), seen.restarts), ("ImagePullBackOff", 2));
        assert_eq!(seen.trouble.as_deref(), Some("no such"));
    }

    #[test]
    fn a_pod_that_is_being_made_is_in_no_trouble() {
        let object = json!({ "status": { "phase": "Pending", "containerStatuses": [
            { "state": { "waiting": { "reason": "ContainerCreating" } } },
        ]}});
        let seen = pod(&object);
        assert_eq!((seen.phase.as_str(), seen.trouble), ("Pending", None));
    }

    #[test]
    fn a_pod_whose_probe_fails_is_not_called_in_order() {
        let object = json!({ "status": { "phase": "Running", "conditions": [
            { "type": "Ready", "status": "False", "reason": "ContainersNotReady" },
        ]}});
        assert_eq!(pod(&object).trouble.as_deref(), Some("not all its containers are ready"));
    }

    #[test]
    fn a_pod_that_fits_nowhere_says_why() {
        let object = json!({ "status": { "phase": "Pending", "conditions": [
            { "type": "PodScheduled", "reason": "Unschedulable", "message": "0/3 nodes" },
        ]}});
        assert_eq!(pod(&object).trouble.as_deref(), Some("0/3 nodes"));
    }
}
