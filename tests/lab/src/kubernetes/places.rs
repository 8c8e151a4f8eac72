//! Pods of the cluster as the API server shows them, and as places in which the lab's own tools
//! can run.

use std::fs::File;
use std::net::IpAddr;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::cluster::Cluster;
use super::machine::KubeletNode;
use crate::node::Node;
use crate::process::Place;
use crate::space::command_in;

/// What is asked for most about a pod.
#[derive(Debug, Clone, PartialEq)]
pub struct PodView {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its unique id: a pod of the same name that was made anew has another.
    pub uid: String,
    /// The node that it was given to; empty before.
    pub node: String,
    /// Its address, once it has one.
    pub address: Option<IpAddr>,
    /// Whether it says that it is ready.
    pub ready: bool,
    /// Whether it was told to end.
    pub terminating: bool,
    /// How often its containers were restarted, in all.
    pub restarts: u64,
    /// The id of its first container, without `containerd://`.
    pub container: Option<String>,
    /// The whole object.
    pub object: Value,
}

impl PodView {
    fn new(object: Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (metadata, status) = (&object["metadata"], &object["status"]);
        let conditions = status["conditions"].as_array();
        let is_ready = |one: &Value| one["type"] == "Ready" && one["status"] == "True";
        let containers = status["containerStatuses"].as_array().cloned().unwrap_or_default();
        let id = containers.first().and_then(|one| one["containerID"].as_str());
        Self {
            namespace: text(&metadata["namespace"]),
            name: text(&metadata["name"]),
            uid: text(&metadata["uid"]),
            node: text(&object["spec"]["nodeName"]),
            address: status["podIP"].as_str().and_then(|address| address.parse().ok()),
            ready: conditions.is_some_and(|all| all.iter().any(is_ready)),
            terminating: !metadata["deletionTimestamp"].is_null(),
            restarts: containers.iter().filter_map(|one| one["restartCount"].as_u64()).sum(),
            container: id.and_then(|id| id.strip_prefix("containerd://")).map(str::to_owned),
            object,
        }
    }
}

/// The network of a pod, with the files of its node: the lab's own tools run there.
#[derive(Debug, Clone)]
pub struct PodPlace {
    node: Node,
    network: Arc<File>,
    name: String,
    address: IpAddr,
}

impl PodPlace {
    /// The pod's address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }
}

impl Place for PodPlace {
    fn label(&self) -> String {
        format!("{}/{}", self.node.name(), self.name)
    }

    fn command(&self, program: &str) -> Command {
        command_in(self.node.space(), Some(&self.network), program)
    }
}

impl Cluster {
    /// The pods with this label (`app=web`); all of the namespace for an empty one.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub fn pods(&self, namespace: &str, label: &str) -> Result<Vec<PodView>> {
        let selector = label.replace('=', "%3D").replace('/', "%2F");
        let path = format!("/api/v1/namespaces/{namespace}/pods?labelSelector={selector}");
        Ok(self.admin().list(&path)?.into_iter().map(PodView::new).collect())
    }

    /// One pod.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn pod(&self, namespace: &str, name: &str) -> Result<PodView> {
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
        self.admin().get(&path).map(PodView::new)
    }

    /// The pod as a place for the lab's own tools. It stays one as long as the handle lives, even
    /// when the pod has ended.
    ///
    /// # Errors
    /// When no container of it runs.
    pub fn place(&self, pod: &PodView) -> Result<PodPlace> {
        let node = self.node(&pod.node)?;
        let network = open_network(node, pod).with_context(|| format!("pod {}", pod.name))?;
        let address = pod.address.with_context(|| format!("{} has no address", pod.name))?;
        Ok(PodPlace {
            node: node.node().clone(),
            network: Arc::new(network),
            name: pod.name.clone(),
            address,
        })
    }
}

fn open_network(node: &KubeletNode, pod: &PodView) -> Result<File> {
    let container = pod.container.as_deref().context("it has no container")?;
    let process = node.process_of(container).context("its container has no process")?;
    Ok(File::open(format!("/proc/{process}/ns/net"))?)
}
