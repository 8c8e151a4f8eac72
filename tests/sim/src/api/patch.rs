//! JSON merge patches on Nodes, and what an agent may do with one.

use serde_json::Value;
use tartan_core::annotations::Key;

use super::PREFIX;
use super::object::Object;

/// The annotations that an agent writes.
pub const OURS: [Key; 6] = [
    Key::SubnetManager,
    Key::BackendType,
    Key::BackendData,
    Key::BackendV6Data,
    Key::PublicIp,
    Key::PublicIpv6,
];

/// What a patch sets: pairs of annotation and value.
pub type Changes = Vec<(String, Option<String>)>;

/// Reads a patch of an agent. `Err` is a sentence about what it must not do.
///
/// # Errors
/// When it is anything but annotations that belong to the agent.
pub fn read(body: &str) -> Result<Changes, String> {
    let body: Value = serde_json::from_str(body).map_err(|error| error.to_string())?;
    let annotations = only(&body, "metadata").and_then(|meta| only(meta, "annotations"))?;
    let Value::Object(fields) = annotations else {
        return Err(format!("the annotations of a patch are {annotations}"));
    };
    fields.iter().map(|(name, value)| change(name, value)).collect()
}

fn only<'a>(value: &'a Value, member: &str) -> Result<&'a Value, String> {
    let Value::Object(fields) = value else { return Err(format!("{value} is no object")) };
    // A precondition is no change.
    if let Some(other) = fields.keys().find(|key| *key != member && *key != "resourceVersion") {
        return Err(format!("a patch touches {other:?}"));
    }
    fields.get(member).ok_or_else(|| format!("a patch lacks {member:?}"))
}

fn change(name: &str, value: &Value) -> Result<(String, Option<String>), String> {
    if !OURS.iter().any(|key| name.strip_prefix(PREFIX) == Some(key.name())) {
        return Err(format!("a patch touches the annotation {name:?}, which is not the agent's"));
    }
    match value {
        Value::String(text) => Ok((name.to_owned(), Some(text.clone()))),
        Value::Null => Ok((name.to_owned(), None)),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Err(format!("a patch sets {name:?} to {value}"))
        }
    }
}

/// The object after the patch; `None` if nothing changes.
#[must_use]
pub fn apply(object: &Object, changes: &Changes) -> Option<Object> {
    let mut after = object.clone();
    for (name, value) in changes {
        match value {
            Some(value) => after.annotations.insert(name.clone(), value.clone()),
            None => after.annotations.remove(name),
        };
    }
    (after != *object).then_some(after)
}
