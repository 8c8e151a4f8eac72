//! A real cluster, by way of its API server: what kubectl could do with the same kubeconfig.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{Api, AttachParams, AttachedProcess, DeleteParams, ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::Request;
use kube::{Client, Config};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::timeout;

use super::cluster::{Cluster, ClusterError, Collection, Container, Output, Select, items};

/// How long the API server may take for one answer.
const ANSWER: Duration = Duration::from_secs(30);
/// How long a command in a pod may take: the longest scenario's, when everything fails.
const COMMAND: Duration = Duration::from_secs(150);
/// What a command says is kept up to this many bytes.
const LONGEST: u64 = 16 << 20;
/// In the websocket's pipes, in bytes.
const PIPE: usize = 64 << 10;

/// The API server of a kubeconfig.
pub(crate) struct KubeCluster {
    client: Client,
    /// Where it is, for people.
    pub(crate) server: String,
}

impl KubeCluster {
    /// As kubectl finds it: the file given, else `KUBECONFIG`, else `~/.kube/config`, else what
    /// Kubernetes puts into a pod.
    pub(crate) async fn new(file: Option<&Path>, context: Option<&str>) -> Result<Self> {
        let config = config(file, context).await?;
        let server = config.cluster_url.to_string();
        let client = Client::try_from(config).context("the kubeconfig cannot be used")?;
        Ok(Self { client, server })
    }
}

async fn config(file: Option<&Path>, context: Option<&str>) -> Result<Config> {
    let options =
        KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    let Some(file) = file else {
        let found = match Config::from_kubeconfig(&options).await {
            Err(_) if context.is_none() && Kubeconfig::read().is_err() => {
                Config::incluster().context("no kubeconfig was found, and this is no pod")
            }
            found => found.context("the kubeconfig cannot be used"),
        };
        return found.context("name a file by --kubeconfig, or by KUBECONFIG");
    };
    let read = Kubeconfig::read_from(file)
        .with_context(|| format!("cannot read {}: correct --kubeconfig", file.display()))?;
    let config = Config::from_custom_kubeconfig(read, &options).await;
    config.with_context(|| format!("{} cannot be used: choose a --context", file.display()))
}

impl Cluster for KubeCluster {
    async fn list(&self, of: &Collection, select: &Select) -> Result<Vec<Value>, ClusterError> {
        let parameters = match select {
            Select::All => ListParams::default(),
            Select::Labels(labels) => ListParams::default().labels(labels),
            Select::Fields(fields) => ListParams::default().fields(fields),
        };
        let request = Request::new(of.path()).list(&parameters);
        let found = self.answer(&format!("list {}", of.name()), request).await?;
        Ok(items(&found, "/items").cloned().collect())
    }

    async fn create(&self, of: &Collection, object: &Value) -> Result<Value, ClusterError> {
        let body = object.to_string().into_bytes();
        let request = Request::new(of.path()).create(&PostParams::default(), body);
        self.answer(&format!("create {}", of.name()), request).await
    }

    async fn delete(&self, of: &Collection, name: &str) -> Result<(), ClusterError> {
        let request = Request::new(of.path()).delete(name, &DeleteParams::background());
        self.answer(&format!("delete {name} of {}", of.name()), request).await.map(drop)
    }

    async fn exec(&self, at: &Container, command: &[String]) -> Result<Output, ClusterError> {
        let what = format!("run a command in pod {}", at.pod);
        let done = timeout(COMMAND, self.attach(at, command)).await;
        let done = done.map_err(|_| late(&what, COMMAND))?;
        done.map_err(|error| told(&what, &error))
    }
}

impl KubeCluster {
    /// The answer to a request, as JSON.
    async fn answer(
        &self,
        what: &str,
        request: Result<hyper::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<Value, ClusterError> {
        let request = request.map_err(|error| unreachable(what, &error))?;
        let answer = timeout(ANSWER, self.client.request(request)).await;
        answer.map_err(|_| late(what, ANSWER))?.map_err(|error| told(what, &error))
    }

    async fn attach(&self, at: &Container, command: &[String]) -> Result<Output, kube::Error> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &at.namespace);
        let parameters = AttachParams::default()
            .container(&at.name)
            .stdin(false)
            .max_stdout_buf_size(PIPE)
            .max_stderr_buf_size(PIPE);
        let process = pods.exec(&at.pod, command.to_vec(), &parameters).await?;
        Ok(finish(process).await)
    }
}

async fn finish(mut process: AttachedProcess) -> Output {
    let status = process.take_status();
    let (stdout, stderr) = (process.stdout(), process.stderr());
    let (stdout, stderr) = tokio::join!(read(stdout), read(stderr));
    let status = match status {
        Some(status) => status.await,
        None => None,
    };
    let success = succeeded(status.as_ref());
    let said = status.and_then(|status| status.message).unwrap_or_default();
    let stderr = if stderr.is_empty() && !success { said } else { stderr };
    Output { stdout, stderr, success }
}

/// Without a status the connection was cut.
fn succeeded(status: Option<&Status>) -> bool {
    status.and_then(|status| status.status.as_deref()) == Some("Success")
}

async fn read(stream: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        // What came until then is what there is.
        let _ = stream.take(LONGEST).read_to_end(&mut bytes).await;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn told(what: &str, error: &kube::Error) -> ClusterError {
    let kube::Error::Api(status) = error else { return unreachable(what, error) };
    ClusterError::Refused {
        what: what.to_owned(),
        code: status.code,
        message: status.message.clone(),
    }
}

fn unreachable(what: &str, error: &dyn Error) -> ClusterError {
    let mut why = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !why.contains(&text) {
            why = format!("{why}: {text}");
        }
        source = cause.source();
    }
    ClusterError::Unreachable { what: what.to_owned(), why }
}

fn late(what: &str, limit: Duration) -> ClusterError {
    let why = format!("no answer within {} s", limit.as_secs());
    ClusterError::Unreachable { what: what.to_owned(), why }
}
