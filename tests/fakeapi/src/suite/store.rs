//! The store's promises, kept against any API server that speaks the wire format.

mod own;
mod peers;
mod trouble;

use std::pin::Pin;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::agent::{OWN, OWN_ADDRESS, OWN_SUBNET};
use super::api::ApiUnderTest;
use super::raw::{MERGE, Raw, annotations};
use crate::NodeSpec;

/// A test under way.
pub type Run<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// One promise.
pub struct Promise {
    /// What is promised.
    pub name: &'static str,
    run: for<'a> fn(&'a Bench<'a>) -> Run<'a>,
}

/// Where promises are tested: one server, and an administrator.
pub struct Bench<'a> {
    /// The server.
    pub api: &'a dyn ApiUnderTest,
    /// The administrator.
    pub raw: Raw,
}

/// Every promise.
pub fn promises() -> impl Iterator<Item = &'static Promise> {
    peers::PROMISES.iter().chain(own::PROMISES).chain(trouble::PROMISES)
}

impl Promise {
    /// Tests it on a server, whose nodes are removed before.
    ///
    /// # Errors
    /// Where the promise is broken.
    pub async fn test(&self, api: &dyn ApiUnderTest) -> Result<()> {
        let bench = Bench { api, raw: Raw::new(api.config())? };
        bench.clear().await?;
        // The future is not Send by itself: what it holds is this thread's.
        (self.run)(&bench).await.context(self.name)
    }
}

impl Bench<'_> {
    async fn clear(&self) -> Result<()> {
        for node in self.nodes().await? {
            self.delete(node["metadata"]["name"].as_str().unwrap_or_default()).await?;
        }
        Ok(())
    }

    /// Every node that the server has.
    async fn nodes(&self) -> Result<Vec<Value>> {
        let list = self.raw.get("/api/v1/nodes").await?.ok()?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    async fn create(&self, node: &NodeSpec) -> Result<Value> {
        self.raw.post("/api/v1/nodes", &node.to_json()).await?.ok()
    }

    async fn node(&self, name: &str) -> Result<Value> {
        self.raw.get(&path(name)).await?.ok()
    }

    async fn delete(&self, name: &str) -> Result<()> {
        self.raw.delete(&path(name)).await?.ok().map(drop)
    }

    async fn annotate(&self, name: &str, pairs: &[(&str, Option<&str>)]) -> Result<()> {
        let patch = annotations(pairs.iter().copied());
        self.raw.patch(&path(name), MERGE, &patch).await?.ok().map(drop)
    }

    /// The own node with this subnet; further nodes 1 to `peers`.
    async fn cluster(&self, peers: u32) -> Result<()> {
        self.create(&own()).await?;
        for index in 1..=peers {
            self.create(&NodeSpec::numbered(index)).await?;
        }
        Ok(())
    }
}

/// The own node, before its agent comes.
fn own() -> NodeSpec {
    NodeSpec::new(OWN).with_cidr(OWN_SUBNET).with_address(OWN_ADDRESS.into())
}

fn path(name: &str) -> String {
    format!("/api/v1/nodes/{name}")
}
