//! What a request is for, by its method and path.

use hyper::Method;

use crate::fault::Verb;
use crate::registry::{Part, Resource};

/// The target of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/healthz`, `/livez`, `/readyz`.
    Health,
    /// `/version`.
    Version,
    /// Objects of the API.
    Objects(Target),
}

/// Which object, or which collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) resource: Resource,
    /// Empty for the whole cluster.
    pub(crate) namespace: String,
    /// `None` for the collection.
    pub(crate) name: Option<String>,
    pub(crate) part: Part,
    /// Whether it goes by `events.k8s.io`, whose fields have other names.
    pub(crate) events_group: bool,
}

impl Route {
    /// The route of a path; `None` for what this server does not have.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        match parts.as_slice() {
            ["healthz" | "livez" | "readyz", ..] => Some(Self::Health),
            ["version"] => Some(Self::Version),
            ["api", "v1", rest @ ..] => target(rest, false).map(Self::Objects),
            ["apis", "events.k8s.io", "v1", rest @ ..] => target(rest, true)
                .filter(|target| target.resource == Resource::Events)
                .map(Self::Objects),
            _ => None,
        }
    }
}

fn target(parts: &[&str], events_group: bool) -> Option<Target> {
    let (namespace, parts) = match parts {
        ["namespaces", namespace, rest @ ..] => (*namespace, rest),
        rest => ("", rest),
    };
    let (resource, rest) = parts.split_first()?;
    let resource = match *resource {
        "nodes" if namespace.is_empty() => Resource::Nodes,
        "pods" => Resource::Pods,
        "events" => Resource::Events,
        _ => return None,
    };
    let (name, part) = match rest {
        [] => (None, Part::Whole),
        [name] => (Some((*name).to_owned()), Part::Whole),
        [name, "status"] => (Some((*name).to_owned()), Part::Status),
        _ => return None,
    };
    Some(Target { resource, namespace: namespace.to_owned(), name, part, events_group })
}

impl Target {
    /// What the request does; `None` for a method that this server does not have.
    pub(crate) fn verb(&self, method: &Method, watch: bool) -> Option<Verb> {
        match (method, &self.name, watch) {
            (&Method::GET, Some(_), _) => Some(Verb::Get),
            (&Method::GET, None, true) => Some(Verb::Watch),
            (&Method::GET, None, false) => Some(Verb::List),
            (&Method::POST, None, _) => Some(Verb::Create),
            (&Method::PATCH, Some(_), _) => Some(Verb::Patch),
            (&Method::DELETE, Some(_), _) => Some(Verb::Delete),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_objects() {
        let Some(Route::Objects(target)) = Route::of("/api/v1/nodes/n1/status") else {
            panic!("no route")
        };
        assert_eq!((target.resource, target.part), (Resource::Nodes, Part::Status));
        assert_eq!(target.verb(&Method::PATCH, false), Some(Verb::Patch));
        let Some(Route::Objects(target)) =
            Route::of("/apis/events.k8s.io/v1/namespaces/default/events")
        else {
            panic!("no route")
        };
        assert_eq!((target.namespace.as_str(), target.events_group), ("default", true));
        assert_eq!(target.verb(&Method::POST, false), Some(Verb::Create));
        for unknown in ["/api/v1/services", "/apis/apps/v1/deployments", "/api/v1/nodes/a/b/c"] {
            assert_eq!(Route::of(unknown), None, "{unknown}");
        }
    }
}
