//! The cluster behind the servers, in the hands of a test: objects are made, changed and removed
//! without a request, and the past is forgotten on order.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use serde_json::{Value, json};
use tartan_core::Timestamp;

use crate::node::{self, NodeSpec};
use crate::patch::PatchKind;
use crate::registry::{self, Part, Resource};
use crate::server::Server;
use crate::shared::{Shared, Timings};
use crate::status::Failure;

/// One store, with as many servers as wanted.
#[derive(Debug, Clone)]
pub struct Cluster {
    shared: Arc<Shared>,
}

impl Default for Cluster {
    fn default() -> Self {
        Self::new(Timings::default())
    }
}

impl Cluster {
    /// An empty cluster.
    #[must_use]
    pub fn new(timings: Timings) -> Self {
        Self { shared: Arc::new(Shared::new(timings)) }
    }

    /// One more server of the cluster; port 0 takes a free one. Inside a tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be listened at.
    pub async fn serve(&self, address: SocketAddr) -> io::Result<Server> {
        Server::start(address, Arc::clone(&self.shared)).await
    }

    /// One more server on a free port of the loopback address.
    ///
    /// # Errors
    /// When there is none.
    pub async fn serve_locally(&self) -> io::Result<Server> {
        self.serve((Ipv4Addr::LOCALHOST, 0).into()).await
    }

    /// Makes a node; returns it as stored.
    ///
    /// # Errors
    /// What the server would answer.
    pub fn create_node(&self, node: &NodeSpec) -> Result<Value, Failure> {
        self.create(Resource::Nodes, "", &node.to_json())
    }

    /// Makes a pod.
    ///
    /// # Errors
    /// What the server would answer.
    pub fn create_pod(&self, namespace: &str, name: &str, node: &str) -> Result<Value, Failure> {
        let pod = json!({ "metadata": { "name": name }, "spec": { "nodeName": node } });
        self.create(Resource::Pods, namespace, &pod)
    }

    fn create(
        &self,
        resource: Resource,
        namespace: &str,
        object: &Value,
    ) -> Result<Value, Failure> {
        let bytes =
            self.shared.write(|etcd| registry::create(etcd, resource, namespace, object))?;
        registry::parse(&bytes)
    }

    /// Makes `count` nodes of [`NodeSpec::numbered`], quickly.
    ///
    /// # Errors
    /// When the first of them is refused, or one is there already.
    pub fn populate(&self, count: u32) -> Result<(), Failure> {
        if count == 0 {
            return Ok(());
        }
        // One node goes the long way; the others are that text with other words in it.
        let model = self.create_node(&NodeSpec::numbered(0))?.to_string();
        for index in 1..count {
            let key = format!("{}{}", Resource::Nodes.prefix(""), node::node_name(index));
            self.shared.write(|etcd| {
                etcd.put(&key, |revision| Bytes::from(like(&model, index, revision)))
            });
        }
        Ok(())
    }

    /// Sends the heartbeats of `nodes` nodes in turn, this many each second, for ever.
    pub async fn heartbeats(&self, nodes: u32, each_second: u32) {
        let mut tick = tokio::time::interval(Duration::from_secs(1) / each_second.max(1));
        for count in 0_u64.. {
            tick.tick().await;
            let index = u32::try_from(count % u64::from(nodes.max(1))).unwrap_or(0);
            let at = Timestamp::from_unix_seconds(1_800_000_000 + count).to_string();
            // A node that is gone has no heartbeat.
            let _ = self.patch_node_status(&node::node_name(index), &node::heartbeat(&at));
        }
    }

    /// Changes a node's metadata and spec by a merge patch.
    ///
    /// # Errors
    /// What the server would answer.
    pub fn patch_node(&self, name: &str, patch: &Value) -> Result<Value, Failure> {
        self.patch(name, Part::Whole, PatchKind::Merge, patch)
    }

    /// Changes a node's status by a strategic merge patch, as kubelets do.
    ///
    /// # Errors
    /// What the server would answer.
    pub fn patch_node_status(&self, name: &str, patch: &Value) -> Result<Value, Failure> {
        self.patch(name, Part::Status, PatchKind::Strategic, patch)
    }

    fn patch(
        &self,
        name: &str,
        part: Part,
        kind: PatchKind,
        patch: &Value,
    ) -> Result<Value, Failure> {
        let target = (Resource::Nodes, "", name);
        let bytes = self.shared.write(|etcd| registry::patch(etcd, target, part, kind, patch))?;
        registry::parse(&bytes)
    }

    /// Removes a node.
    ///
    /// # Errors
    /// What the server would answer.
    pub fn delete_node(&self, name: &str) -> Result<(), Failure> {
        self.shared.write(|etcd| registry::delete(etcd, (Resource::Nodes, "", name))).map(drop)
    }

    /// A node as it is now.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<Value> {
        let bytes = self.shared.etcd().get(&format!("nodes/{name}"), u64::MAX)?;
        registry::parse(&bytes).ok()
    }

    /// All nodes as they are now.
    #[must_use]
    pub fn nodes(&self) -> Vec<Value> {
        self.all("nodes/")
    }

    /// All events as they are now, as `v1` shows them.
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        self.all("events/")
    }

    fn all(&self, prefix: &str) -> Vec<Value> {
        let range = self.shared.etcd().range(prefix, "", u64::MAX, None).unwrap_or_default();
        range.values.iter().filter_map(|bytes| registry::parse(bytes).ok()).collect()
    }

    /// The revision of the last write.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.shared.etcd().revision()
    }

    /// Forgets every revision before the newest: older watches and list tokens are gone.
    pub fn compact(&self) {
        self.shared.write(|etcd| {
            let now = etcd.revision();
            etcd.compact(now);
        });
    }
}

/// The text of node 0 as that of another node.
fn like(model: &str, index: u32, revision: u64) -> String {
    let octets = |text: String| text.trim_end_matches("/24").to_owned();
    let address = |index: u32| Ipv4Addr::from(0x0a00_0000 + 1 + index).to_string();
    let uid = |revision: u64| format!("{revision:08x}-0000-4000-8000-{revision:012x}");
    let first = revision - u64::from(index);
    model
        .replace(&node::node_name(0), &node::node_name(index))
        .replace(&octets(node::subnet(0)), &octets(node::subnet(index)))
        .replace(&format!("\"{}\"", address(0)), &format!("\"{}\"", address(index)))
        .replace(&node::vtep_mac(0), &node::vtep_mac(index))
        .replace(&uid(first), &uid(revision))
        .replace(
            &format!(r#""resourceVersion":"{first}""#),
            &format!(r#""resourceVersion":"{revision}""#),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quickly_made_node_is_like_one_made_the_long_way() {
        let cluster = Cluster::default();
        cluster.populate(300).unwrap();
        let quick = cluster.node(&node::node_name(299)).unwrap();
        cluster.delete_node(&node::node_name(299)).unwrap();
        let mut slow = cluster.create_node(&NodeSpec::numbered(299)).unwrap();
        assert_ne!(quick["metadata"]["uid"], slow["metadata"]["uid"]);
        for own in ["uid", "resourceVersion", "creationTimestamp", "managedFields"] {
            slow["metadata"][own] = quick["metadata"][own].clone();
        }
        assert_eq!(quick, slow);
    }
}
