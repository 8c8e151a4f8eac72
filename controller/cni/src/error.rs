//! The one error a CNI plugin can answer with: a number, a sentence, details.

use serde_json::{Value, json};

/// Error numbers of the CNI specification (1 to 99) and of this plugin (100 and up).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Code {
    /// The configuration's `cniVersion` is not one of ours.
    IncompatibleVersion = 1,
    /// A field of the configuration asks for what this plugin cannot do.
    UnsupportedField = 2,
    /// An environment variable is missing or malformed.
    InvalidEnvironment = 4,
    /// Reading the request failed.
    Io = 5,
    /// The request is not the JSON it should be.
    Decode = 6,
    /// The configuration contradicts itself.
    InvalidConfig = 7,
    /// The network namespace is the plugin's own.
    InvalidNetNs = 8,
    /// The node is not ready yet; the same call may succeed later.
    TryAgain = 11,
    /// STATUS: an ADD could not be served.
    NotAvailable = 50,
    /// `subnet.env` is missing or unusable.
    SubnetFile = 100,
    /// The kernel refused a link, an address, a route or a neighbour.
    Netlink = 102,
    /// No address could be reserved or released.
    Ipam = 103,
    /// Anything else, as the reference plugins number it.
    Internal = 999,
}

/// An answer that says what failed and, in `details`, what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{msg}{}{details}", if details.is_empty() { "" } else { "; " })]
pub struct CniError {
    /// The number a runtime may act on.
    pub code: Code,
    /// One sentence; the texts users search for stay here, unchanged.
    pub msg: String,
    /// What to do next; empty where the sentence says it all.
    pub details: String,
}

impl CniError {
    /// An error without details.
    pub fn new(code: Code, msg: impl Into<String>) -> Self {
        Self { code, msg: msg.into(), details: String::new() }
    }

    /// The same error with a hint on what to do next.
    #[must_use]
    pub fn hint(mut self, details: impl Into<String>) -> Self {
        self.details = details.into();
        self
    }

    /// The JSON object of the specification; `version` is absent while it is unknown.
    #[must_use]
    pub fn to_json(&self, version: Option<&str>) -> Value {
        let mut object = json!({ "code": self.code as u32, "msg": self.msg });
        if let Some(version) = version {
            object["cniVersion"] = json!(version);
        }
        if !self.details.is_empty() {
            object["details"] = json!(self.details);
        }
        object
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_code_text_and_version() {
        let error = CniError::new(Code::InvalidConfig, "missing network name").hint("set `name`");
        assert_eq!(
            error.to_json(Some("1.0.0")).to_string(),
            r#"{"cniVersion":"1.0.0","code":7,"details":"set `name`","msg":"missing network name"}"#
        );
        assert_eq!(error.to_string(), "missing network name; set `name`");
    }

    #[test]
    fn absent_details_and_versions_are_left_out() {
        let error = CniError::new(Code::Internal, "boom");
        assert_eq!(error.to_json(None).to_string(), r#"{"code":999,"msg":"boom"}"#);
    }
}
