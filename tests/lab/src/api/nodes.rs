//! What a scenario does to Node objects, in place of kubelets and administrators.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use ipnet::{IpNet, Ipv4Net};
use serde_json::{Value, json};

use super::Client;
use crate::process::eventually;

/// How long the controller manager may take to give a node its part of the pod network.
const POD_CIDR: Duration = Duration::from_secs(15);

const KUBELET_ANNOTATION: &str = "volumes.kubernetes.io/controller-managed-attach-detach";

/// A Node object to be made.
#[derive(Debug, Clone, Default)]
pub struct NodeSpec {
    /// Labels, besides the hostname's.
    pub labels: BTreeMap<String, String>,
    /// Annotations, besides the one that every kubelet sets.
    pub annotations: BTreeMap<String, String>,
    /// `spec.podCIDRs`, where no controller manager assigns them.
    pub pod_cidrs: Vec<IpNet>,
}

impl Client {
    /// Makes a Node object.
    ///
    /// # Errors
    /// When the server refuses it.
    pub fn create_node(&self, name: &str, spec: &NodeSpec) -> Result<Value> {
        let mut labels = spec.labels.clone();
        labels.insert("kubernetes.io/hostname".to_owned(), name.to_owned());
        let mut annotations = spec.annotations.clone();
        // A kubelet's; flanneld panics over a Node without any annotation.
        annotations.insert(KUBELET_ANNOTATION.to_owned(), "true".to_owned());
        let mut node = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": { "name": name, "labels": labels, "annotations": annotations },
        });
        if let Some(first) = spec.pod_cidrs.first() {
            node["spec"] = json!({ "podCIDR": first, "podCIDRs": spec.pod_cidrs });
        }
        self.create("/api/v1/nodes", &node)
    }

    /// Says what a kubelet says: the node's addresses, and that it is ready.
    ///
    /// # Errors
    /// When the server refuses it.
    pub fn set_node_addresses(&self, name: &str, addresses: &[IpAddr]) -> Result<()> {
        let entry = |ip: &IpAddr| json!({ "type": "InternalIP", "address": ip });
        let addresses: Vec<_> = addresses.iter().map(entry).collect();
        let status = json!({ "status": {
            "addresses": addresses,
            "conditions": [
                { "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "" },
            ],
        }});
        // Strategic: a merge patch would throw away the conditions of others.
        let path = format!("{}/status", node_path(name));
        let kind = "application/strategic-merge-patch+json";
        let answer = self.call(&hyper::Method::PATCH, &path, kind, status.to_string())?;
        answer.success().map(drop)
    }

    /// The Node object.
    ///
    /// # Errors
    /// When there is none.
    pub fn node(&self, name: &str) -> Result<Value> {
        self.get(&node_path(name))
    }

    /// Sets an annotation, or removes it.
    ///
    /// # Errors
    /// When the server refuses it.
    pub fn annotate_node(&self, name: &str, key: &str, value: Option<&str>) -> Result<()> {
        let change = json!({ "metadata": { "annotations": { key: value } } });
        self.patch(&node_path(name), &change).map(drop)
    }

    /// The value of an annotation.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn annotation(&self, name: &str, key: &str) -> Result<Option<String>> {
        let node = self.node(name)?;
        Ok(node["metadata"]["annotations"][key].as_str().map(str::to_owned))
    }

    /// The status of a condition, for instance of `NetworkUnavailable`.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn node_condition(&self, name: &str, kind: &str) -> Result<Option<Value>> {
        let node = self.node(name)?;
        let conditions = node["status"]["conditions"].as_array();
        let mut conditions = conditions.into_iter().flatten();
        Ok(conditions.find(|condition| condition["type"] == kind).cloned())
    }

    /// Waits for `spec.podCIDRs`.
    ///
    /// # Errors
    /// When the node has none within 15 s.
    pub fn wait_pod_cidrs(&self, name: &str) -> Result<Vec<IpNet>> {
        let mut cidrs = Vec::new();
        eventually(&format!("{name} has a podCIDR"), POD_CIDR, || {
            cidrs = serde_json::from_value(self.node(name)?["spec"]["podCIDRs"].take())
                .unwrap_or_default();
            Ok(!cidrs.is_empty())
        })?;
        Ok(cidrs)
    }

    /// Waits for the node's IPv4 podCIDR.
    ///
    /// # Errors
    /// When the node has none within 15 s.
    pub fn wait_pod_cidr(&self, name: &str) -> Result<Ipv4Net> {
        let v4 = |cidr: &IpNet| match cidr {
            IpNet::V4(net) => Some(*net),
            IpNet::V6(_) => None,
        };
        let cidrs = self.wait_pod_cidrs(name)?;
        cidrs.iter().find_map(v4).with_context(|| format!("{name} has only {cidrs:?}"))
    }

    /// Removes the Node object.
    ///
    /// # Errors
    /// When there is none.
    pub fn delete_node(&self, name: &str) -> Result<()> {
        self.delete(&node_path(name))
    }

    /// The events about a node, in no order.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn node_events(&self, name: &str) -> Result<Vec<Value>> {
        let selector = format!("involvedObject.kind=Node,involvedObject.name={name}");
        self.list(&format!("/api/v1/events?fieldSelector={selector}"))
    }
}

fn node_path(name: &str) -> String {
    format!("/api/v1/nodes/{name}")
}
