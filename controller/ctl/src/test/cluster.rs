//! [`Cluster`]: the little of a cluster that the test needs, so that all of it runs without one.

use std::fmt::Write as _;

use serde_json::Value;
use thiserror::Error;

/// A kind of objects, in a namespace where it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Collection {
    Namespaces,
    Nodes,
    /// Of all namespaces.
    DaemonSets,
    Pods(String),
    Services(String),
    Events(String),
    NetworkPolicies(String),
}

impl Collection {
    /// Its path at the API server.
    pub(crate) fn path(&self) -> String {
        let core = |namespace: &str, kind| format!("/api/v1/namespaces/{namespace}/{kind}");
        match self {
            Self::Namespaces => "/api/v1/namespaces".to_owned(),
            Self::Nodes => "/api/v1/nodes".to_owned(),
            Self::DaemonSets => "/apis/apps/v1/daemonsets".to_owned(),
            Self::Pods(namespace) => core(namespace, "pods"),
            Self::Services(namespace) => core(namespace, "services"),
            Self::Events(namespace) => core(namespace, "events"),
            Self::NetworkPolicies(namespace) => {
                format!("/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies")
            }
        }
    }

    /// As people call it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Namespaces => "namespaces",
            Self::Nodes => "nodes",
            Self::DaemonSets => "daemonsets",
            Self::Pods(_) => "pods",
            Self::Services(_) => "services",
            Self::Events(_) => "events",
            Self::NetworkPolicies(_) => "networkpolicies",
        }
    }
}

/// Which objects of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Select {
    All,
    /// By labels: `a=b,c=d`.
    Labels(String),
    /// By fields.
    Fields(String),
}

/// A container to run something in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Container {
    pub(crate) namespace: String,
    pub(crate) pod: String,
    /// The container's name in the pod.
    pub(crate) name: String,
}

/// What a command left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// Whether it ended with exit code 0.
    pub(crate) success: bool,
}

/// Why the cluster did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum ClusterError {
    /// The API server said no.
    #[error("the API server refuses to {what}: {message} (code {code}){}", remedy(*.code))]
    Refused { what: String, code: u16, message: String },
    /// It did not say anything.
    #[error("cannot {what}: {why}; check the kubeconfig and the way to the API server")]
    Unreachable { what: String, why: String },
}

impl ClusterError {
    /// Whether there is no such object.
    pub(crate) fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }

    /// Whether it was forbidden.
    pub(crate) fn is_forbidden(&self) -> bool {
        self.code() == Some(403)
    }

    fn code(&self) -> Option<u16> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::Unreachable { .. } => None,
        }
    }
}

fn remedy(code: u16) -> &'static str {
    match code {
        401 => "; log in again, or choose another --context",
        403 => "; docs/SELFTEST.md lists the rights that the test needs",
        _ => "",
    }
}

/// The cluster.
pub(crate) trait Cluster {
    /// Objects of a kind.
    async fn list(&self, of: &Collection, select: &Select) -> Result<Vec<Value>, ClusterError>;

    /// Makes an object, and returns it as it is then.
    async fn create(&self, of: &Collection, object: &Value) -> Result<Value, ClusterError>;

    /// Deletes an object; the deletion may go on after the answer.
    async fn delete(&self, of: &Collection, name: &str) -> Result<(), ClusterError>;

    /// Runs a command in a container.
    async fn exec(&self, at: &Container, command: &[String]) -> Result<Output, ClusterError>;
}

/// A string somewhere in an object, empty where there is none.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The elements of a list somewhere in an object.
pub(crate) fn items<'a>(
    object: &'a Value,
    pointer: &str,
) -> impl Iterator<Item = &'a Value> + use<'a> {
    object.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// The object's name.
pub(crate) fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

/// Whether a condition of an object is true.
pub(crate) fn condition(object: &Value, kind: &str) -> bool {
    items(object, "/status/conditions")
        .any(|one| text(one, "/type") == kind && text(one, "/status") == "True")
}

/// `matchLabels` as a selector.
pub(crate) fn selector(labels: &Value) -> String {
    let mut text = String::new();
    for (key, value) in labels.as_object().into_iter().flatten() {
        let separator = if text.is_empty() { "" } else { "," };
        let _ = write!(text, "{separator}{key}={}", value.as_str().unwrap_or_default());
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_refusal_says_what_to_do() {
        let error = |code| ClusterError::Refused {
            what: "create namespaces".into(),
            code,
            message: "no".into(),
        };
        assert!(
            error(403).to_string().ends_with("SELFTEST.md lists the rights that the test needs")
        );
        assert!(error(401).to_string().contains("--context"));
        assert!(error(404).is_not_found() && error(403).is_forbidden());
    }

    #[test]
    fn labels_become_a_selector() {
        assert_eq!(selector(&json!({ "a": "b", "c": "d" })), "a=b,c=d");
    }
}
