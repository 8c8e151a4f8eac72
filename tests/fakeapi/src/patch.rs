//! Merge patch (RFC 7396) and the part of Kubernetes' strategic merge patch that nodes need.

use serde_json::{Map, Value};

use crate::status::Failure;

/// How a patch is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchKind {
    /// `application/merge-patch+json`.
    Merge,
    /// `application/strategic-merge-patch+json`.
    Strategic,
}

impl PatchKind {
    /// The kind of this media type.
    ///
    /// # Errors
    /// 415 for every other one.
    pub fn of_media_type(text: &str) -> Result<Self, Failure> {
        match text.split(';').next().unwrap_or_default().trim() {
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" => Ok(Self::Strategic),
            other => {
                let message =
                    format!("this server takes merge and strategic patches, not {other:?}");
                Err(Failure::new(415, "UnsupportedMediaType", message))
            }
        }
    }

    /// Applies `patch` to `target`.
    pub fn apply(self, target: &mut Value, patch: &Value) {
        match (self, patch) {
            (Self::Strategic, Value::Object(patch)) => strategic(target, patch),
            (Self::Merge | Self::Strategic, patch) => merge(target, patch),
        }
    }
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    let Some(target) = as_object(target) else { return };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key).or_insert(Value::Null), value);
        }
    }
}

/// `value`, made an object where it is none.
fn as_object(value: &mut Value) -> Option<&mut Map<String, Value>> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut()
}

fn strategic(target: &mut Value, patch: &Map<String, Value>) {
    if patch.get("$patch").is_some_and(|directive| directive == "replace") {
        *target = Value::Object(without_directives(patch));
        return;
    }
    let Some(target) = as_object(target) else { return };
    for (key, value) in patch {
        if let Some(list) = key.strip_prefix("$deleteFromPrimitiveList/") {
            delete_from(target.get_mut(list), value);
        } else if !key.starts_with('$') {
            strategic_member(target, key, value);
        }
    }
}

fn strategic_member(target: &mut Map<String, Value>, key: &str, value: &Value) {
    match value {
        Value::Null => {
            target.remove(key);
        }
        Value::Object(patch) => strategic(target.entry(key).or_insert(Value::Null), patch),
        Value::Array(patch) => strategic_list(target, key, patch),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            target.insert(key.to_owned(), value.clone());
        }
    }
}

/// What tells the elements of the lists of nodes apart; other lists are replaced.
fn merge_key(list: &str) -> Option<&'static str> {
    match list {
        "conditions" | "addresses" => Some("type"),
        "ownerReferences" => Some("uid"),
        _ => None,
    }
}

fn is_set(list: &str) -> bool {
    matches!(list, "podCIDRs" | "finalizers")
}

fn strategic_list(target: &mut Map<String, Value>, key: &str, patch: &[Value]) {
    let current = target.entry(key).or_insert_with(|| Value::Array(Vec::new()));
    let Value::Array(current) = current else {
        *current = Value::Array(patch.to_vec());
        return;
    };
    if let Some(merge_key) = merge_key(key) {
        merge_elements(current, merge_key, patch);
    } else if is_set(key) {
        let new: Vec<_> = patch.iter().filter(|item| !current.contains(item)).cloned().collect();
        current.extend(new);
    } else {
        *current = patch.to_vec();
    }
}

fn merge_elements(current: &mut Vec<Value>, merge_key: &str, patch: &[Value]) {
    if patch.iter().any(|item| item.get(merge_key).is_none() && item["$patch"] == "replace") {
        current.clear();
    }
    for item in patch.iter().filter(|item| item.get(merge_key).is_some()) {
        let place = current.iter().position(|known| known.get(merge_key) == item.get(merge_key));
        match (place, item) {
            (Some(place), item) if item["$patch"] == "delete" => {
                current.remove(place);
            }
            (Some(place), Value::Object(patch)) => {
                if let Some(known) = current.get_mut(place) {
                    strategic(known, patch);
                }
            }
            (None, item) if item["$patch"] == "delete" => {}
            // The real server puts what is new before what was there.
            (None | Some(_), item) => current.insert(0, item.clone()),
        }
    }
}

fn delete_from(list: Option<&mut Value>, gone: &Value) {
    if let (Some(Value::Array(list)), Value::Array(gone)) = (list, gone) {
        list.retain(|item| !gone.contains(item));
    }
}

fn without_directives(patch: &Map<String, Value>) -> Map<String, Value> {
    let plain = patch.iter().filter(|(key, _)| !key.starts_with('$'));
    plain.map(|(key, value)| (key.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patched(kind: PatchKind, mut target: Value, patch: &Value) -> Value {
        kind.apply(&mut target, patch);
        target
    }

    #[test]
    fn a_merge_patch_sets_removes_and_replaces_lists() {
        let target = json!({"a": {"b": 1, "c": 2}, "l": [1, 2]});
        let patch = json!({"a": {"b": null, "d": 3}, "l": [3]});
        let wanted = json!({"a": {"c": 2, "d": 3}, "l": [3]});
        assert_eq!(patched(PatchKind::Merge, target, &patch), wanted);
    }

    #[test]
    fn a_strategic_patch_merges_conditions_by_type() {
        let target = json!({"conditions": [{"type": "Ready", "status": "True", "reason": "r"}]});
        let patch = json!({"conditions": [
            {"type": "Ready", "status": "False"}, {"type": "NetworkUnavailable", "status": "False"},
        ], "$setElementOrder/conditions": [{"type": "Ready"}]});
        let wanted = json!({"conditions": [
            {"type": "NetworkUnavailable", "status": "False"},
            {"type": "Ready", "status": "False", "reason": "r"},
        ]});
        assert_eq!(patched(PatchKind::Strategic, target, &patch), wanted);
    }

    #[test]
    fn a_strategic_patch_deletes_what_it_names() {
        let target = json!({"conditions": [{"type": "A"}, {"type": "B"}], "podCIDRs": ["x", "y"],
            "annotations": {"k": "v", "l": "w"}});
        let patch = json!({"conditions": [{"type": "A", "$patch": "delete"}],
            "$deleteFromPrimitiveList/podCIDRs": ["x"], "annotations": {"k": null}});
        let wanted = json!({"conditions": [{"type": "B"}], "podCIDRs": ["y"],
            "annotations": {"l": "w"}});
        assert_eq!(patched(PatchKind::Strategic, target, &patch), wanted);
    }

    #[test]
    fn only_the_two_media_types_are_taken() {
        let kind = PatchKind::of_media_type("application/merge-patch+json; charset=utf-8");
        assert_eq!(kind, Ok(PatchKind::Merge));
        assert_eq!(PatchKind::of_media_type("application/json-patch+json").unwrap_err().code, 415);
    }
}
