//! Why a `net-conf.json` is refused: always the key, its value and the fix, in one line.

use std::fmt;

use thiserror::Error;

/// A `net-conf.json` that cannot be used. Its text is one line and ends with the fix.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NetConfError {
    /// Not JSON at all.
    #[error("net-conf: not valid JSON at line {line}, column {column}: {what}")]
    Syntax {
        /// Line of the fault, from 1.
        line: usize,
        /// Column of the fault, from 1.
        column: usize,
        /// What the parser expected or found there.
        what: String,
    },
    /// JSON, but not an object.
    #[error(
        "net-conf: the document is {0}, not an object: \
         write {{\"Network\": \"10.244.0.0/16\", \"Backend\": {{\"Type\": \"vxlan\"}}}}"
    )]
    NotAnObject(&'static str),
    /// A key that must be there is not.
    #[error("net-conf: {key} is missing: {fix}")]
    Missing {
        /// The key, as a path such as `Backend.Type`.
        key: &'static str,
        /// What to write.
        fix: &'static str,
    },
    /// A key has a value that cannot be used.
    #[error("net-conf: {key} = {value} {problem}: {fix}")]
    Invalid {
        /// The key, as a path such as `Backend.VNI`.
        key: &'static str,
        /// The value, shortened to one line.
        value: String,
        /// What is wrong with it, to be read after the value.
        problem: String,
        /// What to write instead.
        fix: String,
    },
}

impl NetConfError {
    /// `key = value problem: fix`.
    pub(super) fn invalid(
        key: &'static str,
        value: &dyn fmt::Display,
        problem: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self::Invalid { key, value: value.to_string(), problem: problem.into(), fix: fix.into() }
    }
}

impl From<serde_json::Error> for NetConfError {
    fn from(error: serde_json::Error) -> Self {
        let text = error.to_string();
        // serde_json appends the place to its text; the place comes first here.
        let what = text.split(" at line ").next().unwrap_or_default().to_owned();
        Self::Syntax { line: error.line(), column: error.column(), what }
    }
}
