//! Lists: consistent, at a revision, in pages that stay at the revision of the first.

use hyper::body::Bytes;

use crate::etcd::{Etcd, Range};
use crate::options::{Matching, Options};
use crate::registry::Resource;
use crate::status::Failure;
use crate::view::View;

/// Answers a list with the bytes of a `…List` object.
pub(crate) async fn list(
    view: &mut View,
    resource: Resource,
    namespace: &str,
    options: &Options,
) -> Result<Vec<u8>, Failure> {
    let prefix = resource.prefix(namespace);
    let (at, start) = place(view, options).await?;
    let limit = options.limit.filter(|_| options.revision != Some(0));
    let etcd = view.shared.etcd();
    let at = at.unwrap_or_else(|| etcd.revision());
    let range = if let Some(name) = &options.name {
        one(&etcd, &format!("{prefix}{name}"), at)
    } else {
        let expired = |_| Failure::list_expired(start.resumable());
        etcd.range(&prefix, start.key(), at, limit).map_err(expired)?
    };
    drop(etcd);
    Ok(write(resource, at, &range))
}

/// Where a list starts.
enum Start {
    First,
    Token(String),
}

impl Start {
    fn key(&self) -> &str {
        match self {
            Self::First => "",
            Self::Token(key) => key,
        }
    }

    /// A token that goes on without consistency.
    fn resumable(&self) -> Option<String> {
        match self {
            Self::First => None,
            Self::Token(key) => Some(encode(None, key)),
        }
    }
}

/// At which revision a list is read (`None` is the newest of the store), and from where on.
async fn place(view: &mut View, options: &Options) -> Result<(Option<u64>, Start), Failure> {
    if let Some(token) = &options.resume {
        let (at, key) = decode(token)?;
        return Ok((at, Start::Token(key)));
    }
    let at = match (options.revision, options.matching) {
        (None, _) => None,
        (Some(0), _) => Some(view.seen()),
        (Some(revision), Matching::Exact) => Some(fresh(view, revision).await?),
        // With a limit and no match given, the real server takes the revision exactly.
        (Some(revision), Matching::Unset) if options.limit.is_some() => {
            Some(fresh(view, revision).await?)
        }
        (Some(revision), Matching::Unset | Matching::NotOlderThan) => {
            fresh(view, revision).await?;
            Some(view.seen())
        }
    };
    Ok((at, Start::First))
}

async fn fresh(view: &mut View, revision: u64) -> Result<u64, Failure> {
    if view.until_seen(revision).await {
        Ok(revision)
    } else {
        Err(Failure::too_large(revision, view.seen()))
    }
}

fn one(etcd: &Etcd, key: &str, at: u64) -> Range {
    Range { values: etcd.get(key, at).into_iter().collect(), rest: None }
}

fn write(resource: Resource, at: u64, range: &Range) -> Vec<u8> {
    let size: usize = range.values.iter().map(Bytes::len).sum();
    let mut text = Vec::with_capacity(size + range.values.len() + 256);
    let kind = resource.kind();
    let head =
        format!(r#"{{"kind":"{kind}List","apiVersion":"v1","metadata":{{"resourceVersion":"{at}""#);
    text.extend_from_slice(head.as_bytes());
    if let Some((key, left)) = &range.rest {
        let token = encode(Some(at), key);
        let rest = format!(r#","continue":"{token}","remainingItemCount":{left}"#);
        text.extend_from_slice(rest.as_bytes());
    }
    text.extend_from_slice(br#"},"items":["#);
    for (place, value) in range.values.iter().enumerate() {
        if place > 0 {
            text.push(b',');
        }
        text.extend_from_slice(value);
    }
    text.extend_from_slice(b"]}\n");
    text
}

/// A token: opaque to clients, hexadecimal as the real one is base64.
fn encode(at: Option<u64>, key: &str) -> String {
    let at = at.map_or_else(|| "-1".to_owned(), |at| at.to_string());
    format!("{at}:{key}").bytes().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

fn decode(token: &str) -> Result<(Option<u64>, String), Failure> {
    let bad = || Failure::bad_request("continue key is not valid");
    let bytes: Option<Vec<u8>> = (0..token.len())
        .step_by(2)
        .map(|at| token.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect();
    let text = String::from_utf8(bytes.ok_or_else(bad)?).map_err(|_| bad())?;
    let (at, key) = text.split_once(':').ok_or_else(bad)?;
    let at = if at == "-1" { None } else { Some(at.parse().map_err(|_| bad())?) };
    Ok((at, key.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_where_to_go_on() {
        let token = encode(Some(12), "nodes/a");
        assert_eq!(decode(&token), Ok((Some(12), "nodes/a".to_owned())));
        assert_eq!(decode(&encode(None, "x")), Ok((None, "x".to_owned())));
        assert_eq!(decode("zz").unwrap_err().code, 400);
    }
}
