//! The requests that are sent, as HTTP has them.

use hyper::{Method, Request, header};
use tartan_core::reflector::{ListRequest, Version};

const NODES: &str = "/api/v1/nodes";
const MERGE_PATCH: &str = "application/merge-patch+json";
const STRATEGIC_MERGE_PATCH: &str = "application/strategic-merge-patch+json";
const JSON: &str = "application/json";
const AGENT: &str = concat!("tartand/", env!("CARGO_PKG_VERSION"));

/// One page of the list of all Nodes.
pub(super) fn list(request: &ListRequest) -> Request<Vec<u8>> {
    let limit = request.limit;
    let token = request.continue_token.as_ref().map(|token| encode(token));
    let version = request.not_older_than.as_ref().map(|version| encode(&version.to_string()));
    let token = token.map(|token| format!("&continue={token}")).unwrap_or_default();
    let version = version
        .map(|version| format!("&resourceVersion={version}&resourceVersionMatch=NotOlderThan"));
    get(&format!("{NODES}?limit={limit}{token}{}", version.unwrap_or_default()))
}

/// A watch over all Nodes, which the server is to end after `seconds`.
pub(super) fn watch(from: &Version, seconds: u64) -> Request<Vec<u8>> {
    let from = encode(&from.to_string());
    get(&format!(
        "{NODES}?watch=true&allowWatchBookmarks=true&resourceVersion={from}&timeoutSeconds={seconds}"
    ))
}

/// Changes annotations of a Node, by way of its status as flannel does.
pub(super) fn patch_annotations(node: &str, body: String) -> Request<Vec<u8>> {
    build(Method::PATCH, &status_of(node), MERGE_PATCH, body)
}

/// Changes conditions of a Node.
pub(super) fn patch_conditions(node: &str, body: String) -> Request<Vec<u8>> {
    build(Method::PATCH, &status_of(node), STRATEGIC_MERGE_PATCH, body)
}

/// Makes an Event.
pub(super) fn create_event(namespace: &str, body: String) -> Request<Vec<u8>> {
    build(Method::POST, &format!("/api/v1/namespaces/{}/events", encode(namespace)), JSON, body)
}

/// One Pod.
pub(super) fn get_pod(namespace: &str, pod: &str) -> Request<Vec<u8>> {
    get(&format!("/api/v1/namespaces/{}/pods/{}", encode(namespace), encode(pod)))
}

fn status_of(node: &str) -> String {
    format!("{NODES}/{}/status", encode(node))
}

fn get(path: &str) -> Request<Vec<u8>> {
    build(Method::GET, path, JSON, String::new())
}

fn build(method: Method, path: &str, content: &'static str, body: String) -> Request<Vec<u8>> {
    let mut request = Request::new(body.into_bytes());
    *request.method_mut() = method;
    // Made of our own words and of encoded text, so it is always a path.
    *request.uri_mut() = path.parse().unwrap_or_default();
    let headers = request.headers_mut();
    headers.insert(header::ACCEPT, header::HeaderValue::from_static(JSON));
    headers.insert(header::USER_AGENT, header::HeaderValue::from_static(AGENT));
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content));
    request
}

/// Percent-encodes everything but RFC 3986's unreserved characters.
fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encoded = |byte| if plain(byte) { char::from(byte).into() } else { format!("%{byte:02X}") };
    text.bytes().map(encoded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_page_asks_for_a_version_and_the_others_for_their_place() {
        let version = Version::new("7");
        let first = ListRequest { limit: 5, continue_token: None, not_older_than: version };
        assert_eq!(
            list(&first).uri().to_string(),
            "/api/v1/nodes?limit=5&resourceVersion=7&resourceVersionMatch=NotOlderThan"
        );
        let token = Some("a=/&b".to_owned());
        let next = ListRequest { limit: 5, continue_token: token, not_older_than: None };
        assert_eq!(list(&next).uri().to_string(), "/api/v1/nodes?limit=5&continue=a%3D%2F%26b");
    }

    #[test]
    fn names_cannot_leave_their_place_in_a_path() {
        let request = patch_annotations("../x?y", "{}".to_owned());
        assert_eq!(request.uri().path(), "/api/v1/nodes/..%2Fx%3Fy/status");
        assert_eq!(request.headers()[header::CONTENT_TYPE], MERGE_PATCH);
    }
}
