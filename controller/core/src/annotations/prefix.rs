//! [`AnnotationPrefix`]: what stands before each annotation's name.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::Key;

/// flannel's `--kube-annotation-prefix`, completed: `flannel.alpha.coreos.com/` or `org.com/net-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnotationPrefix(String);

/// A text that is no prefix; flannel's own words, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PrefixError {
    /// Two slashes or more.
    #[error(
        "subnet/kube: prefix can contain at most single slash: correct --kube-annotation-prefix"
    )]
    Slashes,
    /// No dotted name before the slash, or other characters than flannel takes.
    #[error(
        "subnet/kube: prefix must be in a format: fqdn/[0-9a-z-_]*: correct --kube-annotation-prefix"
    )]
    Format,
}

impl AnnotationPrefix {
    /// The annotation's full name.
    #[must_use]
    pub fn key(&self, key: Key) -> String {
        format!("{}{}", self.0, key.name())
    }

    /// The key that `name` is the full name of.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Key> {
        let rest = name.strip_prefix(&self.0)?;
        Key::ALL.into_iter().find(|key| key.name() == rest)
    }
}

/// flannel's default.
impl Default for AnnotationPrefix {
    fn default() -> Self {
        Self("flannel.alpha.coreos.com/".to_owned())
    }
}

impl FromStr for AnnotationPrefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let (domain, rest) = text.split_once('/').unwrap_or((text, ""));
        if rest.contains('/') {
            return Err(PrefixError::Slashes);
        }
        let labels_are_plain = domain.split('.').all(|label| !label.is_empty() && is_plain(label));
        if !domain.contains('.') || !labels_are_plain || !is_plain(rest) || rest == "-" {
            return Err(PrefixError::Format);
        }
        let dash = if rest.is_empty() || rest.ends_with('-') { "" } else { "-" };
        Ok(Self(format!("{domain}/{rest}{dash}")))
    }
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}

impl fmt::Display for AnnotationPrefix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_completed_as_flannel_completes_them() {
        for (given, wanted) in [
            ("flannel.alpha.coreos.com", "flannel.alpha.coreos.com/backend-type"),
            ("flannel.alpha.coreos.com/", "flannel.alpha.coreos.com/backend-type"),
            ("org.com/net", "org.com/net-backend-type"),
            ("org.com/net-", "org.com/net-backend-type"),
            ("o_r-g9.com/n_e-t9", "o_r-g9.com/n_e-t9-backend-type"),
        ] {
            let prefix: AnnotationPrefix = given.parse().unwrap();
            assert_eq!(prefix.key(Key::BackendType), wanted);
            assert_eq!(prefix.find(wanted), Some(Key::BackendType));
        }
    }

    #[test]
    fn what_flannel_refuses_is_refused_in_its_words() {
        let refused = |text: &str| text.parse::<AnnotationPrefix>().unwrap_err();
        assert_eq!(refused("a.b/c/d"), PrefixError::Slashes);
        for text in ["", "org", "/net", "Org.com", "org.com/Net", "org..com", ".com", "a.b/n t"] {
            assert_eq!(refused(text), PrefixError::Format, "{text}");
        }
        assert!(refused("a.b/c/d").to_string().contains("at most single slash"));
        assert!(refused("org").to_string().contains("fqdn/[0-9a-z-_]*"));
    }

    #[test]
    fn the_default_is_a_prefix_by_the_rules() {
        assert_eq!("flannel.alpha.coreos.com".parse(), Ok(AnnotationPrefix::default()));
        assert_eq!(AnnotationPrefix::default().find("flannel.alpha.coreos.com/other"), None);
    }
}
