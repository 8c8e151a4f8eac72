//! [`NodeRecord`]: what is kept of a Node object, which arrives as hostile bytes.

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use thiserror::Error;

use super::{AnnotationPrefix, Key};
use crate::Timestamp;
use crate::reflector::Version;

/// Larger objects are faults: nothing that makes a lease needs so much (1 MiB).
pub const LARGEST_OBJECT: usize = 1 << 20;
/// Longer annotations are faults: the longest that flannel writes has some 50 bytes (4 KiB).
pub const LONGEST_VALUE: usize = 4 << 10;
/// A node's name is a DNS name.
const LONGEST_NAME: usize = 253;
/// A UUID has 36 characters; other forms may come.
const LONGEST_UID: usize = 128;
/// `IPv6/len` at its longest has 43; what is cut is no subnet anyway.
const LONGEST_CIDR: usize = 64;
/// An error's text is cut here.
const LONGEST_PROBLEM: usize = 160;
/// Three are too many already.
const MOST_CIDRS: usize = 3;

/// The part of a Node that leases are made of. Two equal records mean the same to everybody,
/// whatever else changed in the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRecord {
    /// The node's name: 1 to 253 characters of a DNS name.
    pub name: String,
    /// Which object of this name it is.
    pub uid: String,
    /// When the object was made; the end of time if that cannot be read.
    pub created: Timestamp,
    /// `spec.podCIDRs`, or `spec.podCIDR` alone; at most three texts, unchecked.
    pub pod_cidrs: Vec<Box<str>>,
    /// What is wrong with the object as a whole.
    pub fault: Option<RecordFault>,
    annotations: [Option<Box<str>>; Key::COUNT],
}

/// Why a Node object as a whole is no lease.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RecordFault {
    /// The object is larger than [`LARGEST_OBJECT`].
    #[error("the Node object has {0} bytes: find out who fills it and make it smaller than 1 MiB")]
    ObjectTooLarge(usize),
    /// An annotation is longer than [`LONGEST_VALUE`].
    #[error("annotation {} has {bytes} bytes: remove it, the node's agent writes it anew", key.name())]
    ValueTooLong {
        /// Which one.
        key: Key,
        /// Its length.
        bytes: usize,
    },
}

/// A Node object at one of its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The object's `resourceVersion`.
    pub version: Version,
    /// What is kept of it.
    pub record: NodeRecord,
}

/// An object that has no usable name, uid or version, or is no Node at all.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a Node object cannot be read ({0}): look at `kubectl get nodes -o json`")]
pub struct UnreadableNode(String);

impl NodeRecord {
    /// Reads one Node object in JSON.
    ///
    /// # Errors
    /// [`UnreadableNode`]. An object that is only too large is a record with a fault.
    pub fn from_json(text: &str, prefix: &AnnotationPrefix) -> Result<Observed, UnreadableNode> {
        let raw: RawNode =
            serde_json::from_str(text).map_err(|error| UnreadableNode::json(&error))?;
        raw.into_observed(text.len(), prefix)
    }

    /// A record without annotations and subnets.
    #[must_use]
    pub fn bare(name: &str, uid: &str, created: Timestamp) -> Self {
        Self {
            name: name.to_owned(),
            uid: uid.to_owned(),
            created,
            pod_cidrs: Vec::new(),
            fault: None,
            annotations: Default::default(),
        }
    }

    /// The annotation's value.
    #[must_use]
    pub fn annotation(&self, key: Key) -> Option<&str> {
        self.annotations.get(key.index())?.as_deref()
    }

    /// Sets an annotation, or marks the record where the value is too long.
    pub fn annotate(&mut self, key: Key, value: &str) {
        if value.len() > LONGEST_VALUE {
            self.fault.get_or_insert(RecordFault::ValueTooLong { key, bytes: value.len() });
        } else if let Some(slot) = self.annotations.get_mut(key.index()) {
            *slot = Some(value.into());
        }
    }
}

#[derive(Deserialize)]
struct RawNode {
    metadata: RawMeta,
    #[serde(default)]
    spec: Option<RawSpec>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawMeta {
    name: String,
    #[serde(default)]
    uid: String,
    #[serde(default)]
    resource_version: String,
    #[serde(default)]
    creation_timestamp: Option<String>,
    #[serde(default)]
    annotations: Option<Ours>,
}

#[derive(Default, Deserialize)]
struct RawSpec {
    #[serde(default, rename = "podCIDR")]
    pod_cidr: Option<String>,
    #[serde(default, rename = "podCIDRs")]
    pod_cidrs: Option<Vec<String>>,
}

/// The annotations that end like ours; the rest is skipped unread.
#[derive(Default)]
struct Ours(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Ours {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OursVisitor)
    }
}

struct OursVisitor;

impl<'de> Visitor<'de> for OursVisitor {
    type Value = Ours;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a map of annotations")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ours, A::Error> {
        let mut ours = Ours::default();
        while let Some(name) = map.next_key::<String>()? {
            if Key::ALL.iter().any(|key| name.ends_with(key.name())) {
                ours.0.push((name, map.next_value()?));
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(ours)
    }
}

impl RawNode {
    fn into_observed(
        self,
        bytes: usize,
        prefix: &AnnotationPrefix,
    ) -> Result<Observed, UnreadableNode> {
        let RawNode { metadata, spec } = self;
        check_name(&metadata.name)?;
        let version = Version::new(&metadata.resource_version)
            .ok_or_else(|| UnreadableNode("it has no resourceVersion".to_owned()))?;
        let created = metadata.creation_timestamp.and_then(|text| text.parse().ok());
        // A claim without a date must not beat those that have one.
        let created = created.unwrap_or(Timestamp::from_unix_seconds(u64::MAX));
        let mut record = NodeRecord::bare(&metadata.name, cut(&metadata.uid, LONGEST_UID), created);
        record.pod_cidrs = spec.unwrap_or_default().into_cidrs();
        if bytes > LARGEST_OBJECT {
            record.fault = Some(RecordFault::ObjectTooLarge(bytes));
        }
        for (name, value) in metadata.annotations.unwrap_or_default().0 {
            if let Some(key) = prefix.find(&name) {
                record.annotate(key, &value);
            }
        }
        Ok(Observed { version, record })
    }
}

impl RawSpec {
    fn into_cidrs(self) -> Vec<Box<str>> {
        let listed = self.pod_cidrs.unwrap_or_default();
        let alone = self.pod_cidr.filter(|text| listed.is_empty() && !text.is_empty());
        let all = listed.into_iter().chain(alone);
        all.take(MOST_CIDRS).map(|text| cut(&text, LONGEST_CIDR).into()).collect()
    }
}

fn check_name(name: &str) -> Result<(), UnreadableNode> {
    let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    if (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(is_plain) {
        return Ok(());
    }
    Err(UnreadableNode(format!("{:?} is no node's name", cut(name, 32))))
}

impl UnreadableNode {
    /// The error repeats what it found, at any length.
    fn json(error: &serde_json::Error) -> Self {
        Self(cut(&error.to_string(), LONGEST_PROBLEM).to_owned())
    }
}

/// The longest start of `text` that has no more than `most` bytes.
fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}
