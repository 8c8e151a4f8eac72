//! Waiting for what controllers and kubelets do. Each wait polls ten times a second: the control
//! plane shares the machine with what it manages.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::cluster::Cluster;
use super::places::PodView;
use crate::holder::BOOT_ID;
use crate::process::eventually_every;

/// How long a node or a rollout may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// As [`eventually`](crate::process::eventually), ten times a second.
pub(super) fn poll(
    what: &str,
    timeout: Duration,
    question: impl FnMut() -> Result<bool>,
) -> Result<()> {
    eventually_every(Duration::from_millis(100), what, timeout, question)
}

impl Cluster {
    /// Whether the Node of this name says that it is ready.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub fn is_ready(&self, node: &str) -> Result<bool> {
        let object = self.admin().get(&format!("/api/v1/nodes/{node}"))?;
        Ok(condition(&object, "Ready") == Some("True"))
    }

    /// Waits until every node is ready.
    ///
    /// # Errors
    /// When one is not within 90 s: what it says.
    pub fn wait_nodes_ready(&self) -> Result<()> {
        let mut last = Vec::new();
        poll("every node is Ready", PATIENCE, || {
            last = self.admin().list("/api/v1/nodes")?;
            let ready = |node: &&Value| condition(node, "Ready") == Some("True");
            Ok(last.iter().filter(ready).count() >= self.nodes.len())
        })
        .with_context(|| last.iter().map(why_not_ready).collect::<Vec<_>>().join("\n"))
    }

    /// Waits until the kubelet has reported the machine's latest boot, and says that the node is
    /// ready. What the API server shows before that is from before the boot.
    ///
    /// # Errors
    /// When it is not so within 90 s.
    pub fn wait_booted(&self, name: &str) -> Result<()> {
        let id = self.node(name)?.node().read(BOOT_ID)?;
        poll(&format!("{name} is Ready after its boot"), PATIENCE, || {
            let object = self.admin().get(&format!("/api/v1/nodes/{name}"))?;
            let reported = &object["status"]["nodeInfo"]["bootID"];
            Ok(*reported == id.trim() && condition(&object, "Ready") == Some("True"))
        })
    }

    /// Waits until this pod is ready with more restarts than it had then.
    ///
    /// # Errors
    /// When it is not within 90 s: the state of the pods.
    pub fn wait_restarted(&self, before: &PodView) -> Result<PodView> {
        let mut found = None;
        poll(&format!("{} is ready after a restart", before.name), PATIENCE, || {
            let now = self.pod(&before.namespace, &before.name)?;
            let done = now.ready && now.restarts > before.restarts;
            found = done.then_some(now);
            Ok(done)
        })
        .with_context(|| self.explain(&before.namespace))?;
        found.context("no such pod")
    }

    /// Waits until a DaemonSet or Deployment (`daemonset/NAME`) runs its latest version only, with
    /// every pod ready.
    ///
    /// # Errors
    /// When it does not within 90 s: the state of its pods.
    pub fn wait_rollout(&self, namespace: &str, what: &str) -> Result<()> {
        let (kind, name) = what.split_once('/').context("not KIND/NAME")?;
        let path = format!("/apis/apps/v1/namespaces/{namespace}/{kind}s/{name}");
        let rolled_out = match kind {
            "daemonset" => daemon_set_is_out,
            "deployment" => deployment_is_out,
            _ => bail!("{kind} is neither daemonset nor deployment"),
        };
        poll(&format!("{what} is rolled out"), PATIENCE, || {
            Ok(rolled_out(&self.admin().get(&path)?))
        })
        .with_context(|| self.explain(namespace))
    }

    /// Waits until there are as many ready pods with this label (`app=web`): the pods.
    ///
    /// # Errors
    /// When there are not within `timeout`: the state of the pods.
    pub fn wait_pods(
        &self,
        namespace: &str,
        label: &str,
        count: usize,
        timeout: Duration,
    ) -> Result<Vec<PodView>> {
        let mut pods = Vec::new();
        poll(&format!("{count} pods {label} are ready"), timeout, || {
            pods = self.pods(namespace, label)?;
            pods.retain(|pod| pod.ready && !pod.terminating);
            Ok(pods.len() == count)
        })
        .with_context(|| self.explain(namespace))?;
        Ok(pods)
    }

    /// Waits until no pod has this label.
    ///
    /// # Errors
    /// When there is one after `timeout`.
    pub fn wait_no_pods(&self, namespace: &str, label: &str, timeout: Duration) -> Result<()> {
        let what = format!("no pod {label} is left");
        poll(&what, timeout, || Ok(self.pods(namespace, label)?.is_empty()))
    }

    /// What a person would look at: pods and Events.
    #[must_use]
    pub fn explain(&self, namespace: &str) -> String {
        let ask = |line: String| self.kubectl(&line).unwrap_or_else(|error| format!("{error:#}"));
        let pods = ask(format!("get pods -o wide -n {namespace}"));
        let events = ask(format!("get events -n {namespace} --sort-by=.lastTimestamp"));
        format!("{pods}\n{}", crate::scenario::tail(&events, 15))
    }

    /// Fails unless this many nodes are registered and none is ready: nothing but a pod network
    /// is missing.
    ///
    /// # Errors
    /// As said.
    pub fn ensure_none_ready(&self) -> Result<()> {
        let nodes = self.admin().list("/api/v1/nodes")?;
        let ready = nodes.iter().filter(|node| condition(node, "Ready") == Some("True")).count();
        ensure!(ready == 0 && nodes.len() == self.nodes.len(), "{ready} of {} ready", nodes.len());
        Ok(())
    }
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a str> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions.iter().find(|one| one["type"] == kind)?["status"].as_str()
}

fn why_not_ready(node: &Value) -> String {
    let conditions = node["status"]["conditions"].as_array();
    let ready = conditions.into_iter().flatten().find(|one| one["type"] == "Ready");
    let message = ready.map_or(&Value::Null, |ready| &ready["message"]);
    format!("{}: {message}", node["metadata"]["name"])
}

fn number(object: &Value, field: &str) -> u64 {
    object["status"][field].as_u64().unwrap_or(0)
}

fn is_observed(object: &Value) -> bool {
    object["status"]["observedGeneration"] == object["metadata"]["generation"]
}

fn daemon_set_is_out(object: &Value) -> bool {
    let wanted = number(object, "desiredNumberScheduled");
    let fields = ["updatedNumberScheduled", "numberAvailable", "currentNumberScheduled"];
    is_observed(object) && wanted > 0 && fields.iter().all(|field| number(object, field) == wanted)
}

fn deployment_is_out(object: &Value) -> bool {
    let wanted = object["spec"]["replicas"].as_u64().unwrap_or(1);
    let fields = ["updatedReplicas", "availableReplicas", "replicas"];
    is_observed(object) && fields.iter().all(|field| number(object, field) == wanted)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_daemon_set_is_out_when_every_pod_is_new_and_available() {
        let status = |available: u64, observed: u64| {
            json!({
                "metadata": { "generation": 2 },
                "status": {
                    "observedGeneration": observed, "desiredNumberScheduled": 3,
                    "updatedNumberScheduled": 3, "currentNumberScheduled": 3,
                    "numberAvailable": available,
                },
            })
        };
        assert!(daemon_set_is_out(&status(3, 2)));
        assert!(!daemon_set_is_out(&status(2, 2)));
        assert!(!daemon_set_is_out(&status(3, 1)));
    }
}
