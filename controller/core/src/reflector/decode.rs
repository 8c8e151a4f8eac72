//! From an API server's bytes to pages and events.
//!
//! Each object is cut out of its surroundings first and read by itself, so that one that cannot
//! be read does not hide the others.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use thiserror::Error;

use super::{Failure, Page, Version, WatchItem};
use crate::annotations::{AnnotationPrefix, NodeRecord, Observed};

/// An answer that is no list, no event, or no JSON at all.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the answer cannot be read: {0}")]
pub struct DecodeError(String);

#[derive(Deserialize)]
struct RawList<'a> {
    metadata: RawListMeta,
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
struct RawListMeta {
    #[serde(default, rename = "resourceVersion")]
    resource_version: String,
    #[serde(default, rename = "continue")]
    continue_token: Option<String>,
}

#[derive(Deserialize)]
struct RawEvent<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct RawObject {
    metadata: RawListMeta,
}

#[derive(Default, Deserialize)]
struct RawStatus {
    #[serde(default)]
    code: u16,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    details: Option<RawDetails>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDetails {
    #[serde(default)]
    retry_after_seconds: Option<u64>,
}

/// Reads a NodeList.
///
/// # Errors
/// [`DecodeError`], when it is cut off or no list.
pub fn parse_page(bytes: &[u8], prefix: &AnnotationPrefix) -> Result<Page, DecodeError> {
    let list: RawList<'_> =
        serde_json::from_slice(bytes).map_err(|error| DecodeError::json(&error))?;
    let RawListMeta { resource_version, continue_token } = list.metadata;
    let version = Version::new(&resource_version)
        .ok_or_else(|| DecodeError("the list has no resourceVersion".to_owned()))?;
    let mut page = Page { version, continue_token, items: Vec::new(), unreadable: Vec::new() };
    for object in list.items.unwrap_or_default() {
        match NodeRecord::from_json(object.get(), prefix) {
            Ok(seen) => page.items.push(seen),
            Err(error) => page.unreadable.push(error.to_string()),
        }
    }
    Ok(page)
}

/// Reads one line of a watch.
///
/// # Errors
/// [`DecodeError`], when it is cut off or no event.
pub fn parse_event(line: &[u8], prefix: &AnnotationPrefix) -> Result<WatchItem, DecodeError> {
    let RawEvent { kind, object } =
        serde_json::from_slice(line).map_err(|error| DecodeError::json(&error))?;
    let node = |item: fn(Observed) -> WatchItem| {
        let seen = NodeRecord::from_json(object.get(), prefix);
        seen.map_or_else(|error| WatchItem::Unreadable(error.to_string()), item)
    };
    Ok(match kind.as_str() {
        "ADDED" | "MODIFIED" => node(WatchItem::Changed),
        "DELETED" => node(WatchItem::Deleted),
        "BOOKMARK" => bookmark(object)?,
        "ERROR" => WatchItem::Failed(parse_status(object.get().as_bytes(), 0, None)),
        _ => WatchItem::Unreadable("a watch event of an unknown type was skipped".to_owned()),
    })
}

/// What an answer with the HTTP status `code` means; its body is a `Status`, or anything.
#[must_use]
pub fn parse_status(body: &[u8], code: u16, retry_after: Option<Duration>) -> Failure {
    let status: RawStatus = serde_json::from_slice(body).unwrap_or_default();
    let seconds = status.details.and_then(|details| details.retry_after_seconds);
    let retry_after =
        retry_after.or(seconds.map(Duration::from_secs)).filter(|wait| !wait.is_zero());
    let code = if code == 0 { status.code } else { code };
    let text = [status.reason, status.message].into_iter().flatten().collect::<Vec<_>>().join(": ");
    Failure::from_status(code, &text, retry_after)
}

fn bookmark(object: &RawValue) -> Result<WatchItem, DecodeError> {
    let object: RawObject =
        serde_json::from_str(object.get()).map_err(|error| DecodeError::json(&error))?;
    let version = Version::new(&object.metadata.resource_version)
        .ok_or_else(|| DecodeError("a bookmark has no resourceVersion".to_owned()))?;
    Ok(WatchItem::Bookmark(version))
}

impl DecodeError {
    fn json(error: &serde_json::Error) -> Self {
        // Only where and what kind, never what was written there.
        Self(format!(
            "{:?} error at line {}, column {}",
            error.classify(),
            error.line(),
            error.column()
        ))
    }
}
