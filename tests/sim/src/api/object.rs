//! [`Object`]: a Node as the API stores it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use tartan_core::Timestamp;

/// A Node object, as far as anything here depends on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Object {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`: another one for each object of the same name.
    pub uid: String,
    /// `metadata.creationTimestamp`, in seconds since 1970.
    pub created: u64,
    /// `spec.podCIDRs`.
    pub pod_cidrs: Vec<String>,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
    /// Counts the status updates, which concern nobody here.
    pub beats: u64,
}

impl Object {
    /// The object in JSON at one of its revisions.
    #[must_use]
    pub fn json(&self, revision: u64) -> String {
        let mut text = String::with_capacity(640);
        let created = Timestamp::from_unix_seconds(self.created);
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            r#"{{"kind":"Node","apiVersion":"v1","metadata":{{"name":{},"uid":{},"resourceVersion":"{revision}","creationTimestamp":"{created}","annotations":{}}},"spec":{},"status":{{"beats":{}}}}}"#,
            quoted(&self.name),
            quoted(&self.uid),
            serde_json::to_string(&self.annotations).unwrap_or_default(),
            self.spec(),
            self.beats,
        );
        text
    }

    fn spec(&self) -> String {
        let all = serde_json::to_string(&self.pod_cidrs).unwrap_or_default();
        match self.pod_cidrs.first() {
            None => "{}".to_owned(),
            Some(first) => format!(r#"{{"podCIDR":{},"podCIDRs":{all}}}"#, quoted(first)),
        }
    }
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}
