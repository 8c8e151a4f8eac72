//! What the API server answered.

use anyhow::{Result, bail};
use hyper::StatusCode;
use serde_json::Value;

/// A status and a body; a body that is no JSON becomes a string.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The status of the response.
    pub status: StatusCode,
    /// The object, the list, or the server's `Status` object that says why not.
    pub body: Value,
}

impl Answer {
    pub(super) fn new(status: StatusCode, bytes: &[u8]) -> Self {
        let text = || Value::String(String::from_utf8_lossy(bytes).into_owned());
        Self { status, body: serde_json::from_slice(bytes).unwrap_or_else(|_| text()) }
    }

    /// The object of a 2xx answer.
    ///
    /// # Errors
    /// For every other answer: its status and the server's words.
    pub fn success(self) -> Result<Value> {
        if self.status.is_success() {
            return Ok(self.body);
        }
        bail!("the API server says {}: {}", self.status, self.message())
    }

    /// The server's words about a refusal.
    #[must_use]
    pub fn message(&self) -> String {
        let own = self.body["message"].as_str().or_else(|| self.body.as_str());
        own.map_or_else(|| self.body.to_string(), str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_reported_in_the_words_of_the_server() {
        let answer = Answer::new(StatusCode::FORBIDDEN, br#"{"kind":"Status","message":"no"}"#);
        let error = answer.success().unwrap_err();
        assert_eq!(error.to_string(), "the API server says 403 Forbidden: no");
    }

    #[test]
    fn a_body_that_is_no_json_is_kept_as_text() {
        assert_eq!(Answer::new(StatusCode::OK, b"ok").success().unwrap(), Value::from("ok"));
    }
}
