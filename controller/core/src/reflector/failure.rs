//! [`Failure`]: how a request can end badly.

use std::time::Duration;

use thiserror::Error;

/// HTTP's 410: the version, or the continue token, is too old.
const GONE: u16 = 410;
/// HTTP's 504, with which an API server says that it lags behind the version that was asked for.
const GATEWAY_TIMEOUT: u16 = 504;
/// How it says so.
const BEHIND: &str = "Too large resource version";
/// HTTP's 429.
const TOO_MANY_REQUESTS: u16 = 429;

/// Why a list or a watch did not do what it was to do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Failure {
    /// 410, as an answer or as an event: the version or the continue token is too old.
    #[error("the API server has forgotten this version (410)")]
    Gone,
    /// The API server has not seen yet what was seen here: it lags, or its storage was restored.
    #[error("the API server is behind what was seen before")]
    Behind,
    /// 429, or any other answer that says when to come back.
    #[error("the API server asks to come back later ({code})")]
    Busy {
        /// The HTTP status.
        code: u16,
        /// The server's Retry-After.
        retry_after: Duration,
    },
    /// Any other answer that is no success.
    #[error("the API server answers {code} {reason}")]
    Status {
        /// The HTTP status.
        code: u16,
        /// The reason of the `Status` object, cut and cleaned.
        reason: String,
    },
    /// The answer broke off, or is not what was asked for.
    #[error("the API server's answer cannot be read ({0})")]
    Malformed(String),
    /// No answer in time.
    #[error("the API server did not answer in time")]
    Timeout,
    /// The watch was silent for too long.
    #[error("the watch was silent for too long")]
    Stalled,
    /// No connection, or it broke.
    #[error("no connection to the API server ({0})")]
    Connection(String),
}

impl Failure {
    /// What an answer with this status means.
    #[must_use]
    pub fn from_status(code: u16, reason: &str, retry_after: Option<Duration>) -> Self {
        match (code, retry_after) {
            (GONE, _) => Self::Gone,
            (GATEWAY_TIMEOUT, _) if reason.contains(BEHIND) => Self::Behind,
            (code, Some(retry_after)) => Self::Busy { code, retry_after },
            (TOO_MANY_REQUESTS, None) => Self::Busy { code, retry_after: Duration::from_secs(1) },
            (code, None) => Self::Status { code, reason: clean(reason) },
        }
    }

    /// Whether an API server answered at all.
    #[must_use]
    pub fn is_an_answer(&self) -> bool {
        match self {
            Self::Gone | Self::Behind | Self::Busy { .. } | Self::Status { .. } => true,
            Self::Malformed(_) | Self::Timeout | Self::Stalled | Self::Connection(_) => false,
        }
    }
}

/// Something that a log line can repeat.
fn clean(text: &str) -> String {
    let shown = |letter: char| if letter.is_ascii_graphic() { letter } else { ' ' };
    text.chars().take(160).map(shown).collect()
}
