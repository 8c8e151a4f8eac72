//! One request: the fault that the script has for it, the work, the answer.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::{Request, Response};
use serde_json::{Value, json};

use crate::answer::{self, Body};
use crate::events;
use crate::fault::{Fault, Faults, Verb};
use crate::list::list;
use crate::options::Options;
use crate::patch::PatchKind;
use crate::registry;
use crate::route::{Route, Target};
use crate::status::Failure;
use crate::view::View;
use crate::watch::watch;

/// One request that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What it wanted to do.
    pub verb: Verb,
    /// Its path and query.
    pub uri: String,
}

/// One server: its view of the store, its script, and what it was asked.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub(crate) view: View,
    pub(crate) faults: Arc<Faults>,
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
}

impl Service {
    /// Answers a request; an error cuts its connection.
    pub(crate) async fn answer(self, request: Request<Incoming>) -> io::Result<Response<Body>> {
        match Route::of(request.uri().path()) {
            None => Ok(answer::failure(&Failure::new(404, "NotFound", "no such path"))),
            Some(Route::Health) => Ok(answer::text("ok")),
            Some(Route::Version) => Ok(answer::json(200, version().to_string())),
            Some(Route::Objects(target)) => self.objects(target, request).await,
        }
    }

    async fn objects(
        self,
        target: Target,
        request: Request<Incoming>,
    ) -> io::Result<Response<Body>> {
        let options = match Options::parse(request.uri().query().unwrap_or_default()) {
            Ok(options) => options,
            Err(failure) => return Ok(answer::failure(&failure)),
        };
        let Some(verb) = target.verb(request.method(), options.watch) else {
            let message = "the server does not allow this method";
            return Ok(answer::failure(&Failure::new(405, "MethodNotAllowed", message)));
        };
        self.note(verb, request.uri().to_string());
        match self.faults.take(verb) {
            Some(Fault::Silence) => std::future::pending().await,
            Some(Fault::Reset) => Err(io::ErrorKind::ConnectionReset.into()),
            Some(Fault::Answer { code, retry_after }) => {
                Ok(answer::failure(&Failure::of_code(code, retry_after)))
            }
            Some(Fault::AnswerLost { code }) => {
                let _ = self.work(verb, target, &options, request, None).await;
                Ok(answer::failure(&Failure::of_code(code, None)))
            }
            fault => {
                let done = self.work(verb, target, &options, request, fault).await;
                Ok(done.unwrap_or_else(|failure| answer::failure(&failure)))
            }
        }
    }

    fn note(&self, verb: Verb, uri: String) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push(Seen { verb, uri });
    }

    async fn work(
        mut self,
        verb: Verb,
        target: Target,
        options: &Options,
        request: Request<Incoming>,
        fault: Option<Fault>,
    ) -> Result<Response<Body>, Failure> {
        let Target { resource, namespace, .. } = &target;
        match verb {
            Verb::List | Verb::Any => {
                let bytes = list(&mut self.view, *resource, namespace, options).await?;
                Ok(whole_or_broken(bytes, fault.as_ref()))
            }
            Verb::Watch => {
                let script = (&*self.faults, fault.clone());
                let watching = watch(self.view, *resource, namespace, options, script).await?;
                Ok(answer::watch(watching, fault.as_ref()))
            }
            Verb::Get => {
                let bytes = self.get(&target, options)?;
                Ok(whole_or_broken(bytes, fault.as_ref()))
            }
            Verb::Create | Verb::Patch | Verb::Delete => {
                let media = request.headers().get(CONTENT_TYPE).cloned();
                let media =
                    media.as_ref().and_then(|value| value.to_str().ok()).unwrap_or_default();
                let body = request.into_body().collect().await;
                let body = body.map_err(|error| Failure::bad_request(error.to_string()))?;
                self.write(verb, &target, media, &body.to_bytes())
            }
        }
    }

    /// Like the real server's, a GET is consistent unless it asks for anything newer than 0.
    fn get(&self, target: &Target, options: &Options) -> Result<Vec<u8>, Failure> {
        let name = target.name.as_deref().unwrap_or_default();
        let key = format!("{}{name}", target.resource.prefix(&target.namespace));
        let at = if options.revision.is_some() { self.view.seen() } else { u64::MAX };
        let bytes = self.view.shared.etcd().get(&key, at);
        let bytes = bytes.ok_or_else(|| Failure::not_found(target.resource.plural(), name))?;
        Ok(typed(target, registry::parse(&bytes)?).into_bytes())
    }

    fn write(
        &self,
        verb: Verb,
        target: &Target,
        media: &str,
        body: &[u8],
    ) -> Result<Response<Body>, Failure> {
        let Target { resource, namespace, name, part, .. } = target;
        let name = name.as_deref().unwrap_or_default();
        if verb == Verb::Delete {
            let gone = self
                .view
                .shared
                .write(|etcd| registry::delete(etcd, (*resource, namespace, name)))?;
            return Ok(answer::json(200, gone.to_string()));
        }
        let mut body: Value = serde_json::from_slice(body)
            .map_err(|error| Failure::bad_request(format!("the body is not JSON: {error}")))?;
        if target.events_group {
            events::to_core(&mut body);
        }
        let (code, bytes) = if verb == Verb::Patch {
            let kind = PatchKind::of_media_type(media)?;
            let at = (*resource, namespace.as_str(), name);
            let write = |etcd: &mut _| registry::patch(etcd, at, *part, kind, &body);
            (200, self.view.shared.write(write)?)
        } else {
            let write = |etcd: &mut _| registry::create(etcd, *resource, namespace, &body);
            (201, self.view.shared.write(write)?)
        };
        Ok(answer::json(code, typed(target, registry::parse(&bytes)?)))
    }
}

fn whole_or_broken(bytes: Vec<u8>, fault: Option<&Fault>) -> Response<Body> {
    match fault {
        None => answer::json(200, bytes),
        Some(fault) => answer::broken_json(bytes, fault),
    }
}

/// A single object says what it is.
fn typed(target: &Target, mut object: Value) -> String {
    if target.events_group {
        events::from_core(&mut object);
    }
    object["kind"] = json!(target.resource.kind());
    object["apiVersion"] = json!(if target.events_group { "events.k8s.io/v1" } else { "v1" });
    object.to_string()
}

fn version() -> Value {
    json!({ "major": "1", "minor": "36", "gitVersion": "v1.36.4", "platform": "linux/amd64" })
}
