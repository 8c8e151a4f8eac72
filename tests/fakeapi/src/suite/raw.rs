//! Plain requests to an API server, real or not: what is sent and what comes back, unread.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures_util::{StreamExt as _, TryStreamExt as _};
use http_body_util::BodyExt as _;
use hyper::Request;
use hyper::header::CONTENT_TYPE;
use kube::client::Body;
use serde_json::{Value, json};

/// Media type of a merge patch.
pub const MERGE: &str = "application/merge-patch+json";
/// Media type of a strategic merge patch.
pub const STRATEGIC: &str = "application/strategic-merge-patch+json";

/// How long anything may take that comes at all.
const PATIENCE: Duration = Duration::from_secs(15);

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// HTTP's status code.
    pub code: u16,
    /// The body; null where it is not JSON.
    pub body: Value,
}

/// An administrator's way to a server.
#[derive(Clone)]
pub struct Raw {
    client: kube::Client,
}

impl Raw {
    /// Requests by this configuration.
    ///
    /// # Errors
    /// When no client can be made of it.
    pub fn new(mut config: kube::Config) -> Result<Self> {
        // A refusal is an answer too.
        config.default_retry = false;
        Ok(Self { client: kube::Client::try_from(config)? })
    }

    /// GET.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.call("GET", path, "", &Value::Null).await
    }

    /// POST.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn post(&self, path: &str, object: &Value) -> Result<Answer> {
        self.call("POST", path, "application/json", object).await
    }

    /// PATCH, with [`MERGE`] or [`STRATEGIC`].
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn patch(&self, path: &str, media: &str, change: &Value) -> Result<Answer> {
        self.call("PATCH", path, media, change).await
    }

    /// DELETE.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn delete(&self, path: &str) -> Result<Answer> {
        self.call("DELETE", path, "", &Value::Null).await
    }

    /// Any request.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn call(
        &self,
        method: &str,
        path: &str,
        media: &str,
        body: &Value,
    ) -> Result<Answer> {
        let response = tokio::time::timeout(PATIENCE, self.send(method, path, media, body));
        let response = response.await.with_context(|| format!("{method} {path}: no answer"))??;
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await?.to_bytes();
        Ok(Answer { code, body: serde_json::from_slice(&bytes).unwrap_or_default() })
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        media: &str,
        body: &Value,
    ) -> Result<hyper::Response<Body>> {
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = Request::builder().method(method).uri(path);
        let request = match media {
            "" => request,
            media => request.header(CONTENT_TYPE, media),
        };
        Ok(self.client.send(request.body(Body::from(bytes))?).await?)
    }

    /// The first `count` lines of a watch, or all of them if it ends before.
    ///
    /// # Errors
    /// When they do not come, or are not JSON.
    pub async fn watch(&self, path: &str, count: usize) -> Result<Vec<Value>> {
        let lines = self.lines(path, count);
        tokio::time::timeout(PATIENCE, lines).await.with_context(|| format!("{path}: too slow"))?
    }

    async fn lines(&self, path: &str, count: usize) -> Result<Vec<Value>> {
        let response = self.send("GET", path, "", &Value::Null).await?;
        if !response.status().is_success() {
            bail!("{path}: {}", response.status());
        }
        let mut stream = response.into_body().into_data_stream().boxed();
        let mut bytes = Vec::new();
        let mut complete = 0;
        while complete < count {
            let Some(piece) = stream.try_next().await? else { break };
            complete += piece.split(|byte| *byte == b'\n').count() - 1;
            bytes.extend_from_slice(&piece);
        }
        let text = String::from_utf8(bytes)?;
        let lines = text.lines().filter(|line| !line.is_empty()).take(count);
        lines.map(|line| serde_json::from_str(line).context(line.to_owned())).collect()
    }
}

impl Answer {
    /// The body of a success.
    ///
    /// # Errors
    /// Of anything else: what the server said.
    pub fn ok(self) -> Result<Value> {
        if (200..300).contains(&self.code) {
            return Ok(self.body);
        }
        bail!("{}: {}", self.code, self.body["message"])
    }

    /// `metadata.resourceVersion`.
    #[must_use]
    pub fn version(&self) -> String {
        version(&self.body)
    }
}

/// An object's `metadata.resourceVersion`.
#[must_use]
pub fn version(object: &Value) -> String {
    object["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned()
}

/// A merge patch of annotations.
#[must_use]
pub fn annotations<'a>(pairs: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> Value {
    let pairs = pairs.into_iter().map(|(key, value)| (key.to_owned(), json!(value)));
    let map: serde_json::Map<_, _> = pairs.collect();
    json!({ "metadata": { "annotations": map } })
}
