//! [`Server`]: one API server's answers. It sees the store up to a revision of its own.

use std::rc::Rc;

use tartan_core::reflector::ListRequest;

use super::store::{Store, Version};

/// An API server, which may lag behind the store.
#[derive(Debug, Clone, Default)]
pub struct Server {
    /// The revision up to which it has seen the store.
    pub seen: u64,
    /// It sees nothing new for the time being.
    pub frozen: bool,
}

/// How a request ends without success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub code: u16,
    /// The answer's body.
    pub body: String,
}

impl Refusal {
    /// A `Status` object.
    #[must_use]
    pub fn new(code: u16, reason: &str, message: &str) -> Self {
        let body = format!(
            r#"{{"kind":"Status","status":"Failure","code":{code},"reason":"{reason}","message":"{message}"}}"#
        );
        Self { code, body }
    }

    fn gone() -> Self {
        Self::new(410, "Expired", "too old resource version")
    }

    fn behind() -> Self {
        Self::new(504, "Timeout", "Too large resource version: 7, current: 6")
    }
}

impl Server {
    /// A page of the list of all Nodes, as bytes.
    ///
    /// # Errors
    /// 410 and 504, as API servers give them.
    pub fn list(&self, store: &Store, request: &ListRequest) -> Result<String, Refusal> {
        let (revision, after) = match &request.continue_token {
            Some(token) => place(token).ok_or_else(Refusal::gone)?,
            None => (self.seen, String::new()),
        };
        if request.continue_token.is_some() && revision < store.compacted {
            return Err(Refusal::gone());
        }
        let wanted =
            request.not_older_than.as_ref().and_then(|wanted| wanted.to_string().parse().ok());
        if wanted.is_some_and(|wanted: u64| wanted > self.seen) {
            return Err(Refusal::behind());
        }
        let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
        let rest = store.objects_at(revision).filter(|version| *version.name > *after);
        let mut items: Vec<&Rc<Version>> = rest.take(limit.saturating_add(1)).collect();
        let more = items.len() > limit;
        items.truncate(limit);
        Ok(page(revision, &items, more))
    }

    /// Whether a watch from `from` can be opened.
    ///
    /// # Errors
    /// 410, if the revision is forgotten; 504, if this server has not seen it and says so.
    pub fn watch(&self, store: &Store, from: u64, patient: bool) -> Result<(), Refusal> {
        if from < store.compacted {
            return Err(Refusal::gone());
        }
        if from > self.seen && !patient {
            return Err(Refusal::behind());
        }
        Ok(())
    }
}

fn place(token: &str) -> Option<(u64, String)> {
    let (revision, after) = token.split_once('@')?;
    Some((revision.parse().ok()?, after.to_owned()))
}

fn page(revision: u64, items: &[&Rc<Version>], more: bool) -> String {
    let token = match items.last() {
        Some(last) if more => format!(r#","continue":"{revision}@{}""#, last.name),
        Some(_) | None => String::new(),
    };
    let texts: Vec<&str> = items.iter().map(|version| &*version.json).collect();
    let items = texts.join(",");
    format!(
        r#"{{"kind":"NodeList","metadata":{{"resourceVersion":"{revision}"{token}}},"items":[{items}]}}"#
    )
}

/// One line of a watch.
#[must_use]
pub fn line(version: &Version) -> String {
    let kind = match (&version.object, version.is_first) {
        (None, _) => "DELETED",
        (Some(_), true) => "ADDED",
        (Some(_), false) => "MODIFIED",
    };
    format!(r#"{{"type":"{kind}","object":{}}}"#, version.json)
}

/// A bookmark.
#[must_use]
pub fn bookmark(revision: u64) -> String {
    format!(
        r#"{{"type":"BOOKMARK","object":{{"kind":"Node","metadata":{{"resourceVersion":"{revision}"}}}}}}"#
    )
}

/// A 410 in the middle of a watch.
#[must_use]
pub fn gone_line() -> String {
    format!(r#"{{"type":"ERROR","object":{}}}"#, Refusal::gone().body)
}
