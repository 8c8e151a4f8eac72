//! An API server as small as it can be: Nodes with versions, lists in pages, watches, patches.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use http_body_util::BodyExt as _;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

const PREFIX: &str = "flannel.alpha.coreos.com/";

#[derive(Default)]
struct State {
    version: u64,
    nodes: BTreeMap<String, Value>,
    /// Every change with its version, since the last time that history was forgotten.
    log: Vec<(u64, String)>,
    forgotten: u64,
    down: bool,
    requests: Vec<(String, String)>,
}

/// The server; it ends with the test's runtime.
pub(super) struct Server {
    port: u16,
    state: Arc<Mutex<State>>,
    changed: Arc<watch::Sender<u64>>,
}

impl Server {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State { version: 1, ..State::default() }));
        let changed = Arc::new(watch::Sender::new(0));
        let (for_task, signal) = (Arc::clone(&state), Arc::clone(&changed));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (state, signal) = (Arc::clone(&for_task), Arc::clone(&signal));
                tokio::spawn(async move {
                    let answer = service_fn(move |request| {
                        let (state, signal) = (Arc::clone(&state), Arc::clone(&signal));
                        async move { Ok::<_, Infallible>(answer(request, state, signal).await) }
                    });
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = http.serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        });
        Self { port, state, changed }
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Makes the Node, or gives it other subnets.
    pub(super) fn put(&self, name: &str, cidrs: Value) {
        self.change(|state| {
            let uid = format!("uid-{}", state.version);
            let fresh = json!({ "metadata": { "name": name, "uid": uid, "annotations": {},
                "creationTimestamp": "2026-11-22T16:42:05Z" }, "spec": {} });
            let node = state.nodes.entry(name.to_owned()).or_insert(fresh);
            node["spec"]["podCIDRs"] = cidrs;
            state.log_change("MODIFIED", name);
        });
    }

    /// A node of flannel's.
    pub(super) fn peer(&self, name: &str, cidr: &str) {
        self.put(name, json!([cidr]));
        let mac = format!(r#"{{"VNI":1,"VtepMAC":"02:00:00:00:00:{}"}}"#, &name[4..].repeat(2));
        self.annotate(name, "backend-type", "vxlan");
        self.annotate(name, "backend-data", &mac);
        self.annotate(name, "public-ip", &format!("192.0.2.{}", &name[4..]));
        self.annotate(name, "kube-subnet-manager", "true");
    }

    pub(super) fn annotate(&self, name: &str, key: &str, value: &str) {
        self.change(|state| {
            let node = state.nodes.get_mut(name).unwrap();
            node["metadata"]["annotations"][format!("{PREFIX}{key}")] = value.into();
            state.log_change("MODIFIED", name);
        });
    }

    pub(super) fn annotation(&self, name: &str, key: &str) -> String {
        let state = self.lock();
        let value = &state.nodes[name]["metadata"]["annotations"][format!("{PREFIX}{key}")];
        value.as_str().unwrap_or_default().to_owned()
    }

    pub(super) fn delete(&self, name: &str) {
        self.change(|state| {
            state.log_change("DELETED", name);
            state.nodes.remove(name);
        });
    }

    /// Ends all watches and answers 503, or answers again.
    pub(super) fn set_down(&self, down: bool) {
        self.change(|state| state.down = down);
    }

    /// Watches from before now are answered 410, the open ones too.
    pub(super) fn forget_history(&self) {
        self.change(|state| {
            state.version += 1;
            state.forgotten = state.version;
            state.log.clear();
        });
    }

    /// Bodies of requests of this method that contain this text.
    pub(super) fn bodies(&self, method: &str, text: &str) -> Vec<String> {
        let state = self.lock();
        let fits = |request: &&(String, String)| request.0 == method && request.1.contains(text);
        state.requests.iter().filter(fits).map(|request| request.1.clone()).collect()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.send_modify(|count| *count += 1);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    fn log_change(&mut self, kind: &str, name: &str) {
        self.version += 1;
        let node = self.nodes.get_mut(name).unwrap();
        node["metadata"]["resourceVersion"] = self.version.to_string().into();
        let line = json!({ "type": kind, "object": node }).to_string() + "\n";
        self.log.push((self.version, line));
    }

    fn page(&self, query: &BTreeMap<String, String>) -> Value {
        let limit: usize = query["limit"].parse().unwrap();
        let after = query.get("continue").cloned().unwrap_or_default();
        let rest: Vec<&Value> =
            self.nodes.iter().filter(|(name, _)| **name > after).map(|(_, node)| node).collect();
        let items: Vec<&Value> = rest.iter().take(limit).copied().collect();
        let token =
            (items.len() < rest.len()).then(|| items.last().unwrap()["metadata"]["name"].clone());
        let version = self.version.to_string();
        json!({ "metadata": { "resourceVersion": version, "continue": token }, "items": items })
    }

    fn patch(&mut self, name: &str, patch: &Value) -> Option<Value> {
        let node = self.nodes.get_mut(name)?;
        let Some(annotations) = patch["metadata"]["annotations"].as_object() else {
            return Some(node.clone());
        };
        for (key, value) in annotations {
            node["metadata"]["annotations"][key] = value.clone();
        }
        self.log_change("MODIFIED", name);
        self.nodes.get(name).cloned()
    }
}

/// A body whose parts come through a channel.
struct Parts(mpsc::UnboundedReceiver<Bytes>);

impl Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|part| part.map(|part| Ok(Frame::data(part))))
    }
}

async fn answer(
    request: Request<Incoming>,
    state: Arc<Mutex<State>>,
    changed: Arc<watch::Sender<u64>>,
) -> Response<Parts> {
    let (head, body) = request.into_parts();
    let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    let (method, path) = (head.method.as_str(), head.uri.path());
    let query = query(head.uri.query().unwrap_or_default());
    let mut locked = state.lock().unwrap();
    locked.requests.push((method.to_owned(), body.clone()));
    if locked.down {
        return whole(503, &json!({ "reason": "ServiceUnavailable" }));
    }
    let name = path.strip_prefix("/api/v1/nodes/").and_then(|rest| rest.strip_suffix("/status"));
    match (method, path, name) {
        ("GET", "/api/v1/nodes", _) if query.contains_key("watch") => {
            let from = query["resourceVersion"].parse().unwrap();
            drop(locked);
            follow(from, state, &changed)
        }
        ("GET", "/api/v1/nodes", _) => whole(200, &locked.page(&query)),
        ("PATCH", _, Some(name)) => {
            let patched = locked.patch(name, &serde_json::from_str(&body).unwrap());
            drop(locked);
            changed.send_modify(|count| *count += 1);
            patched.map_or_else(|| whole(404, &json!({})), |node| whole(200, &node))
        }
        ("GET", "/api/v1/namespaces/kube-tartan/pods/agent", _) => {
            whole(200, &json!({ "spec": { "nodeName": "node-of-agent" } }))
        }
        ("POST", "/api/v1/namespaces/default/events", _) => whole(201, &json!({})),
        _ => whole(404, &json!({ "reason": "NotFound", "message": path })),
    }
}

fn follow(from: u64, state: Arc<Mutex<State>>, changed: &watch::Sender<u64>) -> Response<Parts> {
    let (lines, parts) = mpsc::unbounded_channel();
    let mut changed = changed.subscribe();
    tokio::spawn(async move {
        let mut sent = from;
        loop {
            {
                let state = state.lock().unwrap();
                if state.down {
                    return;
                }
                if sent < state.forgotten {
                    let gone = json!({ "type": "ERROR", "object": { "code": 410 } });
                    let _ = lines.send((gone.to_string() + "\n").into());
                    return;
                }
                for (_, line) in state.log.iter().filter(|(version, _)| *version > sent) {
                    let _ = lines.send(line.clone().into());
                }
                sent = sent.max(state.version);
            }
            if lines.is_closed() || changed.changed().await.is_err() {
                return;
            }
        }
    });
    Response::new(Parts(parts))
}

fn whole(code: u16, body: &Value) -> Response<Parts> {
    let (send, parts) = mpsc::unbounded_channel();
    send.send(body.to_string().into()).unwrap();
    let mut response = Response::new(Parts(parts));
    *response.status_mut() = hyper::StatusCode::from_u16(code).unwrap();
    response
}

fn query(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}
