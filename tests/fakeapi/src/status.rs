//! What the server says when it cannot do what was asked: `Status` objects of the real one's shape.

use serde_json::{Map, Value, json};
use thiserror::Error;

/// A refused request: becomes an HTTP answer with a `Status` object, or an ERROR event of a watch.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("{code} {reason}: {message}")]
pub struct Failure {
    /// HTTP's status code, `code` in the object.
    pub code: u16,
    /// `reason`, empty where the server leaves it out.
    pub reason: &'static str,
    /// `message`.
    pub message: String,
    /// `details`.
    pub details: Option<Value>,
    /// The `Retry-After` header, in seconds.
    pub retry_after: Option<u64>,
    /// `metadata.continue`: how an expired list may go on, inconsistently.
    pub resume: Option<String>,
}

impl Failure {
    /// A failure without details.
    #[must_use]
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, reason, message, details: None, retry_after: None, resume: None }
    }

    /// The failure of a bare HTTP code, as scripted.
    #[must_use]
    pub fn of_code(code: u16, retry_after: Option<u64>) -> Self {
        let (reason, message) = match code {
            401 => ("Unauthorized", "Unauthorized"),
            403 => ("Forbidden", "nodes is forbidden"),
            410 => ("Expired", "too old resource version"),
            429 => ("TooManyRequests", "the server asks to try again later"),
            500 => ("InternalError", "internal error"),
            503 => ("ServiceUnavailable", "the server is starting or stopping"),
            504 => ("Timeout", "the request did not end in time"),
            _ => ("", "scripted failure"),
        };
        Self { retry_after, ..Self::new(code, reason, message) }
    }

    /// 404.
    #[must_use]
    pub fn not_found(resource: &str, name: &str) -> Self {
        Self::about(404, "NotFound", resource, name, format!("{resource} {name:?} not found"))
    }

    /// 409 of a second object with the name of a first.
    #[must_use]
    pub fn already_exists(resource: &str, name: &str) -> Self {
        let message = format!("{resource} {name:?} already exists");
        Self::about(409, "AlreadyExists", resource, name, message)
    }

    /// 409 of a precondition that does not hold.
    #[must_use]
    pub fn conflict(resource: &str, name: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {resource} {name:?}: the object has been modified"
        );
        Self::about(409, "Conflict", resource, name, message)
    }

    /// 410 of a watch that starts before what is remembered.
    #[must_use]
    pub fn too_old(asked: u64, oldest: u64) -> Self {
        Self::new(410, "Expired", format!("too old resource version: {asked} ({oldest})"))
    }

    /// 410 of a list at a compacted revision, or of one whose token expired.
    #[must_use]
    pub fn list_expired(resume: Option<String>) -> Self {
        let message = "the resourceVersion of the list is too old";
        Self { resume, ..Self::new(410, "Expired", message) }
    }

    /// 504 of a revision that this server has not seen.
    #[must_use]
    pub fn too_large(asked: u64, current: u64) -> Self {
        let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
        let cause = json!({
            "reason": "ResourceVersionTooLarge",
            "message": "Too large resource version",
        });
        let details = json!({ "causes": [cause], "retryAfterSeconds": 1 });
        let failure = Self::new(504, "Timeout", message);
        Self { details: Some(details), retry_after: Some(1), ..failure }
    }

    /// 400.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 422: an object, or options, that break a rule at `field`.
    #[must_use]
    pub fn invalid(kind: &str, name: &str, field: &str, message: &str) -> Self {
        let cause = json!({ "reason": "FieldValueInvalid", "message": message, "field": field });
        let details = json!({ "name": name, "kind": kind, "causes": [cause] });
        let text = format!("{kind} {name:?} is invalid: {field}: {message}");
        Self { details: Some(details), ..Self::new(422, "Invalid", text) }
    }

    fn about(code: u16, reason: &'static str, resource: &str, name: &str, message: String) -> Self {
        let details = json!({ "name": name, "kind": resource });
        Self { details: Some(details), ..Self::new(code, reason, message) }
    }

    /// The `Status` object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut metadata = Map::new();
        if let Some(token) = &self.resume {
            metadata.insert("continue".to_owned(), json!(token));
        }
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": metadata,
            "status": "Failure",
            "message": self.message,
            "code": self.code,
        });
        if !self.reason.is_empty() {
            status["reason"] = json!(self.reason);
        }
        if let Some(details) = &self.details {
            status["details"] = details.clone();
        }
        status
    }
}

/// The answer to a deletion.
#[must_use]
pub fn success(resource: &str, name: &str, uid: &str) -> Value {
    json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": { "name": name, "kind": resource, "uid": uid },
    })
}
