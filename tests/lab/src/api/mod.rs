//! A blocking client of the API server: any object by its path, any status as an answer.
//!
//! A scenario about permissions looks at [`Answer::status`]; every other one calls
//! [`Client::get`] and its siblings, which fail with what the server said.

mod answer;
mod apply;
mod nodes;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use hyper::{Method, Request, StatusCode};
use kube::client::Body;
use kube::config::AuthInfo;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

pub use self::answer::Answer;
pub use self::apply::Manifest;
pub use self::nodes::NodeSpec;

/// How long the server may take to answer, unless [`Client::with_patience`] says otherwise.
const PATIENCE: Duration = Duration::from_secs(10);

/// A merge patch (RFC 7386).
pub const MERGE_PATCH: &str = "application/merge-patch+json";
/// A JSON patch (RFC 6902).
pub const JSON_PATCH: &str = "application/json-patch+json";
/// Server-side apply, of YAML or JSON.
pub const APPLY_PATCH: &str = "application/apply-patch+yaml";
const JSON: &str = "application/json";

/// How one user reaches one API server.
#[derive(Debug, Clone)]
pub struct Access {
    /// For instance `https://172.30.0.1:6443`.
    pub url: String,
    /// The certificate that signed the server's own, as DER.
    pub authority: Vec<u8>,
    /// Who asks.
    pub token: String,
}

/// One user at one API server; clones share the connections.
#[derive(Clone)]
pub struct Client {
    runtime: Arc<Runtime>,
    connections: kube::Client,
    patience: Duration,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    /// A client; it connects when it is first asked something.
    ///
    /// # Errors
    /// When the URL or the certificate is malformed.
    pub fn new(access: &Access) -> Result<Self> {
        let mut config = kube::Config::new(access.url.parse()?);
        config.root_cert = Some(vec![access.authority.clone()]);
        config.default_retry = false;
        config.auth_info =
            AuthInfo { token: Some(access.token.clone().into()), ..AuthInfo::default() };
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let connections = {
            let _inside = runtime.enter();
            kube::Client::try_from(config).context("cannot make a client of the API server")?
        };
        Ok(Self { runtime: Arc::new(runtime), connections, patience: PATIENCE })
    }

    /// The same client with another limit for each answer.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Asks anything: `call(&Method::PATCH, "/api/v1/nodes/node1", MERGE_PATCH, text)`. Any
    /// status is an answer, 403 as well as 200.
    ///
    /// # Errors
    /// When no answer comes.
    pub fn call(
        &self,
        method: &Method,
        path: &str,
        content_type: &str,
        body: String,
    ) -> Result<Answer> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", content_type)
            .header("accept", JSON)
            .body(Body::from(body.into_bytes()))?;
        let answer = async {
            let response = self.connections.send(request).await?;
            let status = response.status();
            let bytes = response.into_body().collect_bytes().await?;
            Ok(Answer::new(status, &bytes))
        };
        let within = async { timeout(self.patience, answer).await };
        let answer: Result<Answer> = self
            .runtime
            .block_on(within)
            .with_context(|| format!("no answer within {:?}", self.patience))
            .flatten();
        answer.with_context(|| format!("{method} {path}"))
    }

    /// Reads an object, or a list of them.
    ///
    /// # Errors
    /// When the server does not say 2xx.
    pub fn get(&self, path: &str) -> Result<Value> {
        self.call(&Method::GET, path, JSON, String::new())?.success()
    }

    /// The items of a list.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn list(&self, path: &str) -> Result<Vec<Value>> {
        let mut list = self.get(path)?;
        let items = list["items"].take();
        serde_json::from_value(items).with_context(|| format!("{path} is no list"))
    }

    /// Makes an object in the collection at `path`.
    ///
    /// # Errors
    /// When the server does not say 2xx.
    pub fn create(&self, path: &str, object: &Value) -> Result<Value> {
        self.call(&Method::POST, path, JSON, object.to_string())?.success()
    }

    /// Makes an object unless there is one of its name.
    ///
    /// # Errors
    /// When the server says neither 2xx nor 409.
    pub fn ensure(&self, path: &str, object: &Value) -> Result<()> {
        let answer = self.call(&Method::POST, path, JSON, object.to_string())?;
        if answer.status == StatusCode::CONFLICT {
            return Ok(());
        }
        answer.success().map(drop)
    }

    /// Merges `change` into an object; `null` removes a field.
    ///
    /// # Errors
    /// When the server does not say 2xx.
    pub fn patch(&self, path: &str, change: &Value) -> Result<Value> {
        self.call(&Method::PATCH, path, MERGE_PATCH, change.to_string())?.success()
    }

    /// Removes an object.
    ///
    /// # Errors
    /// When the server does not say 2xx.
    pub fn delete(&self, path: &str) -> Result<()> {
        self.call(&Method::DELETE, path, JSON, String::new())?.success().map(drop)
    }
}
