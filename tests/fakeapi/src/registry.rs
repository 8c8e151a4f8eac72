//! The rules of the objects: what a write may change, what the server fills in, and what it
//! refuses, as the real registry does for nodes, pods and events.

use hyper::body::Bytes;
use serde_json::{Map, Value, json};
use tartan_core::Timestamp;

use crate::etcd::Etcd;
use crate::patch::PatchKind;
use crate::status::{self, Failure};

/// One kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resource {
    Nodes,
    Pods,
    Events,
}

/// Which part of an object a write is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    Status,
}

impl Resource {
    /// Its name in paths.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::Nodes => "nodes",
            Self::Pods => "pods",
            Self::Events => "events",
        }
    }

    /// `kind` of its objects.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Nodes => "Node",
            Self::Pods => "Pod",
            Self::Events => "Event",
        }
    }

    /// Where its objects are in the store; `namespace` is empty for those of the cluster.
    pub(crate) fn prefix(self, namespace: &str) -> String {
        match namespace {
            "" => format!("{}/", self.plural()),
            namespace => format!("{}/{namespace}/", self.plural()),
        }
    }
}

/// Makes an object; returns it as stored.
pub(crate) fn create(
    etcd: &mut Etcd,
    resource: Resource,
    namespace: &str,
    object: &Value,
) -> Result<Bytes, Failure> {
    let mut object = object.clone();
    let name = named(resource, &mut object)?;
    let key = format!("{}{name}", resource.prefix(namespace));
    if etcd.get(&key, u64::MAX).is_some() {
        return Err(Failure::already_exists(resource.plural(), &name));
    }
    let revision = etcd.revision() + 1;
    fill_in(&mut object, namespace, revision);
    if resource == Resource::Nodes {
        taint(&mut object);
    }
    validate(resource, &name, &mut object)?;
    Ok(etcd.put(&key, |revision| stored(object, revision)))
}

/// Changes an object; a patch that changes nothing makes no revision.
pub(crate) fn patch(
    etcd: &mut Etcd,
    (resource, namespace, name): (Resource, &str, &str),
    part: Part,
    kind: PatchKind,
    patch: &Value,
) -> Result<Bytes, Failure> {
    let key = format!("{}{name}", resource.prefix(namespace));
    let not_found = || Failure::not_found(resource.plural(), name);
    let bytes = etcd.get(&key, u64::MAX).ok_or_else(not_found)?;
    let old = parse(&bytes)?;
    let mut new = old.clone();
    kind.apply(&mut new, patch);
    keep_fixed(&old, &mut new, part, resource, name)?;
    validate(resource, name, &mut new)?;
    validate_update(&old, &new, resource, name)?;
    if new == old {
        return Ok(bytes);
    }
    Ok(etcd.put(&key, |revision| stored(new, revision)))
}

/// Removes an object; returns what the server answers.
pub(crate) fn delete(
    etcd: &mut Etcd,
    (resource, namespace, name): (Resource, &str, &str),
) -> Result<Value, Failure> {
    let key = format!("{}{name}", resource.prefix(namespace));
    let not_found = || Failure::not_found(resource.plural(), name);
    let last = parse(&etcd.get(&key, u64::MAX).ok_or_else(not_found)?)?;
    let uid = last["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
    etcd.delete(&key, |revision| stored(last, revision));
    Ok(status::success(resource.plural(), name, &uid))
}

/// An object as it is kept: without `kind` and `apiVersion`, which depend on who asks.
fn stored(mut object: Value, revision: u64) -> Bytes {
    object["metadata"]["resourceVersion"] = json!(revision.to_string());
    Bytes::from(object.to_string())
}

/// Reads a stored object.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(bytes)
        .map_err(|error| Failure::new(500, "InternalError", error.to_string()))
}

fn named(resource: Resource, object: &mut Value) -> Result<String, Failure> {
    if !object.is_object() {
        return Err(Failure::bad_request("the body is not an object"));
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    if name.is_empty() {
        let message = "name or generateName is required";
        return Err(Failure::invalid(resource.kind(), "", "metadata.name", message));
    }
    Ok(name.to_owned())
}

fn fill_in(object: &mut Value, namespace: &str, revision: u64) {
    if let Some(object) = object.as_object_mut() {
        object.remove("kind");
        object.remove("apiVersion");
    }
    let metadata = &mut object["metadata"];
    metadata["uid"] = json!(format!("{revision:08x}-0000-4000-8000-{revision:012x}"));
    metadata["creationTimestamp"] = json!(Timestamp::now().to_string());
    metadata["managedFields"] = managed_fields();
    if !namespace.is_empty() {
        metadata["namespace"] = json!(namespace);
    }
}

/// A new node takes no pods until a controller finds it ready.
fn taint(node: &mut Value) {
    let taint = json!({ "key": "node.kubernetes.io/not-ready", "effect": "NoSchedule" });
    match node["spec"]["taints"].as_array_mut() {
        Some(taints) => taints.push(taint),
        None => node["spec"]["taints"] = json!([taint]),
    }
}

/// As long as those of a node that a kubelet, a controller and an agent wrote to.
fn managed_fields() -> Value {
    let field = |name: &str| (format!("f:{name}"), json!({}));
    let names = ["annotations", "labels", "podCIDR", "podCIDRs", "conditions", "addresses"];
    let fields: Map<String, Value> = names.iter().map(|name| field(name)).collect();
    json!([{
        "manager": "tartan-fakeapi",
        "operation": "Update",
        "apiVersion": "v1",
        "time": Timestamp::now().to_string(),
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }])
}

fn keep_fixed(
    old: &Value,
    new: &mut Value,
    part: Part,
    resource: Resource,
    name: &str,
) -> Result<(), Failure> {
    if new["metadata"]["resourceVersion"] != old["metadata"]["resourceVersion"] {
        return Err(Failure::conflict(resource.plural(), name));
    }
    if new["metadata"]["uid"] != old["metadata"]["uid"] {
        return Err(Failure::invalid(resource.kind(), name, "metadata.uid", "field is immutable"));
    }
    for fixed in ["name", "creationTimestamp", "managedFields"] {
        new["metadata"][fixed] = old["metadata"][fixed].clone();
    }
    // An update of the status leaves the rest of the object alone, but not its metadata, and the
    // other way round: flannel and Tartan publish annotations by way of the status.
    let kept = match part {
        Part::Whole => "status",
        Part::Status => "spec",
    };
    if resource == Resource::Nodes {
        new[kept] = old[kept].clone();
    }
    if let Some(object) = new.as_object_mut() {
        object.remove("kind");
        object.remove("apiVersion");
    }
    Ok(())
}

fn validate(resource: Resource, name: &str, object: &mut Value) -> Result<(), Failure> {
    let annotations = object["metadata"]["annotations"].as_object();
    if annotations.is_some_and(|all| all.values().any(|value| !value.is_string())) {
        let (field, message) = ("metadata.annotations", "a value is not a string");
        return Err(Failure::invalid(resource.kind(), name, field, message));
    }
    match resource {
        Resource::Nodes => validate_node(name, object),
        Resource::Events => validate_event(name, object),
        Resource::Pods => Ok(()),
    }
}

/// The two fields of one thing agree, and each family comes once.
fn validate_node(name: &str, node: &mut Value) -> Result<(), Failure> {
    let spec = &mut node["spec"];
    if spec.is_null() {
        *spec = json!({});
    }
    let first = spec["podCIDRs"].get(0).cloned().unwrap_or(Value::Null);
    match (spec["podCIDR"].as_str().unwrap_or_default().to_owned(), first.as_str()) {
        (single, _) if single.is_empty() && first.is_null() => {}
        (single, Some(first)) if single.is_empty() => spec["podCIDR"] = json!(first),
        (single, Some(first)) if single == first => {}
        (single, _) => spec["podCIDRs"] = json!([single]),
    }
    let cidrs = spec["podCIDRs"].as_array().cloned().unwrap_or_default();
    let families: Vec<_> = cidrs.iter().map(|cidr| family(cidr.as_str())).collect();
    if families.contains(&None) || families.len() > 2 {
        return Err(Failure::invalid("Node", name, "spec.podCIDRs", "must be valid CIDR values"));
    }
    if let [Some(first), Some(second)] = families[..]
        && first == second
    {
        let message = "may specify no more than one CIDR for each IP family";
        return Err(Failure::invalid("Node", name, "spec.podCIDRs", message));
    }
    Ok(())
}

/// Whether a CIDR is of IPv4; `None` when it is no CIDR.
fn family(cidr: Option<&str>) -> Option<bool> {
    let (address, length) = cidr?.split_once('/')?;
    let address: std::net::IpAddr = address.parse().ok()?;
    let limit = if address.is_ipv4() { 32 } else { 128 };
    (length.parse::<u8>().ok()? <= limit).then(|| address.is_ipv4())
}

fn validate_update(
    old: &Value,
    new: &Value,
    resource: Resource,
    name: &str,
) -> Result<(), Failure> {
    let (before, after) = (&old["spec"]["podCIDRs"], &new["spec"]["podCIDRs"]);
    if resource == Resource::Nodes && !before.is_null() && before != after {
        let message = "node updates may not change podCIDR except from \"\" to valid";
        return Err(Failure::invalid("Node", name, "spec.podCIDRs", message));
    }
    Ok(())
}

/// An event about something of the whole cluster belongs into the namespace `default`.
fn validate_event(name: &str, event: &Value) -> Result<(), Failure> {
    let theirs = event["involvedObject"]["namespace"].as_str().unwrap_or_default();
    let namespace = event["metadata"]["namespace"].as_str().unwrap_or_default();
    let new_style = event["eventTime"].is_string();
    let fits = match theirs {
        "" => namespace == "default" || (new_style && namespace == "kube-system"),
        theirs => theirs == namespace,
    };
    if !fits {
        let message = "does not match event.namespace";
        return Err(Failure::invalid("Event", name, "involvedObject.namespace", message));
    }
    Ok(())
}
