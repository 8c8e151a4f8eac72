//! What an answer looks like, whatever its values: which members it has, and the words in them
//! that a client goes by.

use std::collections::BTreeSet;

use serde_json::Value;

/// Members whose values are compared, not only their kinds.
const WORDS: [&str; 8] =
    ["kind", "apiVersion", "status", "reason", "code", "type", "name", "remainingItemCount"];

/// Members that are anybody's to fill: their inside is not compared.
const OPAQUE: [&str; 9] = [
    "annotations",
    "labels",
    "managedFields",
    "allocatable",
    "capacity",
    "images",
    "nodeInfo",
    "causes",
    "conditions",
];

/// The shape of a value, one line for each member, sorted.
#[must_use]
pub fn shape(value: &Value) -> Vec<String> {
    let mut lines = BTreeSet::new();
    collect("", "", value, &mut lines);
    lines.into_iter().collect()
}

fn collect(path: &str, key: &str, value: &Value, lines: &mut BTreeSet<String>) {
    match value {
        _ if OPAQUE.contains(&key) => drop(lines.insert(format!("{path}: …"))),
        Value::Object(members) => {
            for (name, member) in members {
                collect(&format!("{path}.{name}"), name, member, lines);
            }
        }
        Value::Array(items) => {
            for item in items {
                collect(&format!("{path}[]"), key, item, lines);
            }
        }
        Value::String(_) | Value::Number(_) | Value::Bool(_) if WORDS.contains(&key) => {
            lines.insert(format!("{path} = {value}"));
        }
        Value::String(_) => drop(lines.insert(format!("{path}: string"))),
        Value::Number(_) => drop(lines.insert(format!("{path}: number"))),
        Value::Bool(_) => drop(lines.insert(format!("{path}: bool"))),
        Value::Null => drop(lines.insert(format!("{path}: null"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_shape_has_members_and_words_but_no_values() {
        let value = json!({"kind": "Node", "metadata": {"uid": "x", "annotations": {"a": "b"}},
            "items": [{"n": 1}, {"n": 2}]});
        let wanted = [
            ".items[].n: number",
            ".kind = \"Node\"",
            ".metadata.annotations: …",
            ".metadata.uid: string",
        ];
        assert_eq!(shape(&value), wanted);
    }
}
