//! What a list or a watch was asked for: the query string, read with the real server's rules.

use crate::status::Failure;

/// The options of a list or a watch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) watch: bool,
    /// `None` where it is not given.
    pub(crate) revision: Option<u64>,
    pub(crate) matching: Matching,
    pub(crate) limit: Option<usize>,
    pub(crate) resume: Option<String>,
    pub(crate) bookmarks: bool,
    pub(crate) initial_events: bool,
    pub(crate) timeout_seconds: Option<u64>,
    /// Of `fieldSelector=metadata.name=…`.
    pub(crate) name: Option<String>,
}

/// `resourceVersionMatch`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Matching {
    #[default]
    Unset,
    Exact,
    NotOlderThan,
}

impl Options {
    /// Reads a query string.
    pub(crate) fn parse(query: &str) -> Result<Self, Failure> {
        let mut options = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            options.set(&decode(key), decode(value))?;
        }
        options.check()?;
        Ok(options)
    }

    fn set(&mut self, key: &str, value: String) -> Result<(), Failure> {
        match key {
            "watch" => self.watch = truth(&value),
            "resourceVersion" | "labelSelector" if value.is_empty() => {}
            "resourceVersion" => self.revision = Some(number(key, &value)?),
            "resourceVersionMatch" => self.matching = matching(&value)?,
            "limit" => {
                self.limit = usize::try_from(number(key, &value)?).ok().filter(|limit| *limit > 0);
            }
            "continue" => self.resume = Some(value).filter(|token| !token.is_empty()),
            "allowWatchBookmarks" => self.bookmarks = truth(&value),
            "sendInitialEvents" => self.initial_events = truth(&value),
            "timeoutSeconds" => self.timeout_seconds = Some(number(key, &value)?),
            "fieldSelector" => self.name = field_selector(&value)?,
            // What only changes how an answer looks, or how a write is checked.
            "pretty" | "fieldManager" | "fieldValidation" | "force" => {}
            other => {
                return Err(Failure::bad_request(format!("this server does not know {other:?}")));
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Failure> {
        let listing = !self.watch;
        if listing && self.resume.is_some() && self.revision.is_some_and(|revision| revision > 0) {
            let message = "specifying resource version is not allowed when using continue";
            return Err(Failure::bad_request(message));
        }
        if listing && self.matching != Matching::Unset && self.revision.is_none() {
            let message = "resourceVersionMatch is forbidden unless resourceVersion is provided";
            return Err(Failure::invalid("ListOptions", "", "resourceVersionMatch", message));
        }
        if self.matching == Matching::Exact && self.revision == Some(0) {
            let message = "resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\"";
            return Err(Failure::invalid("ListOptions", "", "resourceVersionMatch", message));
        }
        if self.initial_events && (listing || self.matching != Matching::NotOlderThan) {
            let message = "sendInitialEvents needs a watch and resourceVersionMatch NotOlderThan";
            return Err(Failure::invalid("ListOptions", "", "sendInitialEvents", message));
        }
        Ok(())
    }
}

fn truth(value: &str) -> bool {
    !matches!(value, "0" | "false" | "False" | "f")
}

fn number(key: &str, value: &str) -> Result<u64, Failure> {
    value.parse().map_err(|_| Failure::bad_request(format!("{key}: {value:?} is not a number")))
}

fn matching(value: &str) -> Result<Matching, Failure> {
    match value {
        "" => Ok(Matching::Unset),
        "Exact" => Ok(Matching::Exact),
        "NotOlderThan" => Ok(Matching::NotOlderThan),
        other => {
            let message = format!("{other:?} is neither Exact nor NotOlderThan");
            Err(Failure::invalid("ListOptions", "", "resourceVersionMatch", &message))
        }
    }
}

fn field_selector(value: &str) -> Result<Option<String>, Failure> {
    if value.is_empty() {
        return Ok(None);
    }
    let name = value.strip_prefix("metadata.name=").map(|name| name.trim_start_matches('='));
    let unknown = || Failure::bad_request(format!("this server does not know {value:?}"));
    name.map(|name| Some(name.to_owned())).ok_or_else(unknown)
}

/// Undoes the percent encoding of a query string.
fn decode(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut plain = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'%' => hex_pair(bytes.next(), bytes.next()).unwrap_or(b'%'),
            b'+' => b' ',
            byte => byte,
        });
    }
    String::from_utf8_lossy(&plain).into_owned()
}

fn hex_pair(high: Option<u8>, low: Option<u8>) -> Option<u8> {
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_string_is_read_with_its_escapes() {
        let query = "watch=true&resourceVersion=12&allowWatchBookmarks=1&timeoutSeconds=290\
            &fieldSelector=metadata.name%3Dnode1";
        let options = Options::parse(query).unwrap();
        assert!(options.watch && options.bookmarks);
        assert_eq!((options.revision, options.timeout_seconds), (Some(12), Some(290)));
        assert_eq!(options.name.as_deref(), Some("node1"));
    }

    #[test]
    fn what_the_real_server_refuses_is_refused() {
        for (query, code) in [
            ("limit=x", 400),
            ("continue=abc&resourceVersion=5", 400),
            ("resourceVersionMatch=NotOlderThan", 422),
            ("resourceVersion=0&resourceVersionMatch=Exact", 422),
            ("watch=1&sendInitialEvents=true", 422),
        ] {
            assert_eq!(Options::parse(query).unwrap_err().code, code, "{query}");
        }
    }
}
