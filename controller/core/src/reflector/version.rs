//! [`Version`]: a `resourceVersion`.

use std::fmt;

/// Longer texts are no versions; the API's are 64 bit numbers.
const LONGEST: usize = 64;

/// A `resourceVersion`: comparable where it is a number, as Kubernetes defines, else opaque.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Version(Kind);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Kind {
    Number(u64),
    Opaque(Box<str>),
}

impl Version {
    /// The version with this text; `None` for texts that mean none: empty, `0`, too long, or with
    /// anything in them that cannot stand in a URL and a log as it is.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        if text.is_empty() || text == "0" || text.len() > LONGEST || !is_plain {
            return None;
        }
        // What would not print back as it was (`+7`, `007`) stays a text.
        let number = text.parse().ok().filter(|number: &u64| number.to_string() == text);
        Some(Self(number.map_or_else(|| Kind::Opaque(text.into()), Kind::Number)))
    }

    /// The version with this number.
    #[must_use]
    pub fn from_number(number: u64) -> Self {
        Self(Kind::Number(number))
    }

    /// Whether it is known to be older; two versions that cannot be compared are not.
    #[must_use]
    pub fn is_older_than(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Kind::Number(ours), Kind::Number(theirs)) => ours < theirs,
            (Kind::Opaque(_), _) | (_, Kind::Opaque(_)) => false,
        }
    }

    /// Whether it is known to be the same or older.
    #[must_use]
    pub fn is_at_most(&self, other: &Self) -> bool {
        self == other || self.is_older_than(other)
    }

    /// Becomes `other` unless that is older.
    pub(super) fn advance(&mut self, other: &Self) {
        if !other.is_older_than(self) {
            self.clone_from(other);
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Number(number) => number.fmt(formatter),
            Kind::Opaque(text) => text.fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_and_texts_do_not() {
        let version = |text| Version::new(text).unwrap();
        assert!(version("9").is_older_than(&version("10")));
        assert!(!version("10").is_older_than(&version("10")));
        assert!(version("10").is_at_most(&version("10")));
        assert!(!version("9").is_older_than(&version("x10")));
        assert!(!version("x9").is_at_most(&version("x10")));
        assert_eq!(version("007").to_string(), "007");
    }

    #[test]
    fn texts_that_mean_no_version_are_none() {
        assert_eq!(Version::new(""), None);
        assert_eq!(Version::new("0"), None);
        assert_eq!(Version::new(&"7".repeat(65)), None);
        assert_eq!(Version::new("7\u{85}"), None);
    }
}
