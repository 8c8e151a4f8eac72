//! Events have two faces: `v1` and `events.k8s.io/v1` show the same objects, and call some
//! members differently. The store keeps those of `v1`.

use serde_json::Value;

/// The members that differ: in `events.k8s.io/v1`, in `v1`.
const NAMES: [(&str, &str); 7] = [
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

/// Renames the members of an `events.k8s.io/v1` Event to those of `v1`.
pub(crate) fn to_core(event: &mut Value) {
    rename(event, NAMES);
}

/// The other way round.
pub(crate) fn from_core(event: &mut Value) {
    rename(event, NAMES.map(|(new, old)| (old, new)));
}

fn rename(event: &mut Value, names: [(&str, &str); 7]) {
    let Some(event) = event.as_object_mut() else { return };
    for (from, to) in names {
        if let Some(value) = event.remove(from) {
            event.insert(to.to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_faces_show_the_same_event() {
        let new = json!({"regarding": {"name": "n1"}, "note": "text", "reason": "r"});
        let mut event = new.clone();
        to_core(&mut event);
        assert_eq!(
            event,
            json!({"involvedObject": {"name": "n1"}, "message": "text", "reason": "r"})
        );
        from_core(&mut event);
        assert_eq!(event, new);
    }
}
