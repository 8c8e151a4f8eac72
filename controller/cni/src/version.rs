//! The versions of the CNI specification this plugin speaks.

use serde_json::{Value, json};

use crate::error::{CniError, Code};

/// A version of the specification, in the order of their release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SpecVersion {
    /// `ip4`/`ip6` results; also what a configuration without `cniVersion` means.
    V0_1_0,
    /// Adds VERSION.
    V0_2_0,
    /// Lists of interfaces and addresses.
    V0_3_0,
    /// 0.3.0 with a corrected key name.
    V0_3_1,
    /// Adds CHECK, and `prevResult` on DEL.
    V0_4_0,
    /// Drops the addresses' `version`.
    V1_0_0,
    /// Adds GC and STATUS.
    V1_1_0,
}

impl SpecVersion {
    /// Every version, oldest first.
    pub const ALL: [Self; 7] = [
        Self::V0_1_0,
        Self::V0_2_0,
        Self::V0_3_0,
        Self::V0_3_1,
        Self::V0_4_0,
        Self::V1_0_0,
        Self::V1_1_0,
    ];

    /// The text used in `cniVersion`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V0_1_0 => "0.1.0",
            Self::V0_2_0 => "0.2.0",
            Self::V0_3_0 => "0.3.0",
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }

    /// The version of a configuration; membership is by exact text, as in libcni.
    ///
    /// # Errors
    ///
    /// Code 1 for any other text.
    pub fn parse(text: &str) -> Result<Self, CniError> {
        if text.is_empty() {
            return Ok(Self::V0_1_0);
        }
        Self::ALL.into_iter().find(|version| version.as_str() == text).ok_or_else(|| {
            let supported: Vec<String> =
                Self::ALL.iter().map(|version| format!("\"{}\"", version.as_str())).collect();
            CniError::new(Code::IncompatibleVersion, "incompatible CNI versions")
                .hint(format!("config is \"{text}\", plugin supports [{}]", supported.join(" ")))
        })
    }

    /// The answer to VERSION.
    #[must_use]
    pub fn report() -> Value {
        let supported: Vec<&str> = Self::ALL.iter().map(|version| version.as_str()).collect();
        json!({ "cniVersion": Self::V1_1_0.as_str(), "supportedVersions": supported })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_parses_back_from_its_text() {
        for version in SpecVersion::ALL {
            assert_eq!(SpecVersion::parse(version.as_str()), Ok(version));
        }
    }

    #[test]
    fn an_absent_version_means_the_oldest() {
        assert_eq!(SpecVersion::parse(""), Ok(SpecVersion::V0_1_0));
    }

    #[test]
    fn a_foreign_version_is_refused_with_the_list_of_ours() {
        let error = SpecVersion::parse("0.3.7").expect_err("0.3.7 never existed");
        assert_eq!(
            (error.code, error.msg.as_str()),
            (Code::IncompatibleVersion, "incompatible CNI versions")
        );
        assert!(error.details.starts_with(r#"config is "0.3.7", plugin supports ["0.1.0" "#));
    }
}
