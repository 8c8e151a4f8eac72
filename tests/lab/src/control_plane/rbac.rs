//! What the agents of the lab may do, and tokens that are bound to a node.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::pki::KUBELET_CLIENT;
use super::{ControlPlane, User};

/// The namespace of the DaemonSet.
pub const NAMESPACE: &str = "kube-tartan";

/// The group of the agents' static users.
pub(super) const AGENT_GROUP: &str = "tartan:agents";

/// What an administrator applies, as it is: the agents of the lab have no other rights.
pub const AGENT_ROLE: &str = include_str!("../../../../deploy/kube-tartan.yml");

impl ControlPlane {
    /// Applies a manifest, and gives the agents' static users the ClusterRole `tartan` of it.
    ///
    /// # Errors
    /// When the server refuses an object.
    pub fn grant(&self, manifest: &str) -> Result<()> {
        self.admin().apply(manifest)?;
        let group = "rbac.authorization.k8s.io";
        let binding = json!({
            "metadata": { "name": "lab-agents" },
            "roleRef": { "apiGroup": group, "kind": "ClusterRole", "name": "tartan" },
            "subjects": [{ "apiGroup": group, "kind": "Group", "name": AGENT_GROUP }],
        });
        self.admin().ensure(&format!("/apis/{group}/v1/clusterrolebindings"), &binding)
    }

    /// Lets the API server speak for `kubectl exec` and `kubectl logs` at every kubelet. A kubelet
    /// remembers a refusal, so this comes before the first of them.
    pub(super) fn trust_the_api_server(&self) -> Result<()> {
        let group = "rbac.authorization.k8s.io";
        let binding = json!({
            "metadata": { "name": "lab-kubelet-api" },
            "roleRef": {
                "apiGroup": group, "kind": "ClusterRole", "name": "system:kubelet-api-admin",
            },
            "subjects": [{ "apiGroup": group, "kind": "User", "name": KUBELET_CLIENT }],
        });
        self.admin().ensure(&format!("/apis/{group}/v1/clusterrolebindings"), &binding)
    }

    /// The agent of a node as the DaemonSet has it: a token of its service account, bound to a
    /// pod on that node, so that admission policies can tell whose it is. The pod is an object
    /// without containers that run; the Node object must be there.
    ///
    /// # Errors
    /// When the server refuses the pod or the token.
    pub fn bound_agent(&self, node: &str) -> Result<User> {
        let namespace = format!("/api/v1/namespaces/{NAMESPACE}");
        let name = format!("kube-tartan-ds-{node}");
        let pod = self.admin().create(&format!("{namespace}/pods"), &agent_pod(&name, node))?;
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": { "expirationSeconds": 7200, "boundObjectRef": {
                "kind": "Pod", "apiVersion": "v1", "name": name, "uid": pod["metadata"]["uid"],
            }},
        });
        let answer =
            self.admin().create(&format!("{namespace}/serviceaccounts/tartan/token"), &request)?;
        let token = answer["status"]["token"].as_str().context("a TokenRequest without token")?;
        Ok(User::issued(&format!("tartan-on-{node}"), token))
    }
}

fn agent_pod(name: &str, node: &str) -> Value {
    json!({
        "metadata": { "name": name },
        "spec": {
            "nodeName": node,
            "serviceAccountName": "tartan",
            "hostNetwork": true,
            "containers": [{ "name": "tartand", "image": "tartan" }],
        },
    })
}
