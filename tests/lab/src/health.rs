//! What a probe of the kubelet sees of a node's agent.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::node::Node;

/// The health port of flannel's manifest.
pub const HEALTH_PORT: u16 = 8081;

/// Asks for a path as HTTP/1.1: the status and the body.
///
/// # Errors
/// When nobody listens, or the answer is no HTTP.
pub fn probe(node: &Node, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect((node.address(), HEALTH_PORT))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", node.name())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").context("an answer without a body")?;
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    Ok((status.with_context(|| format!("no status in {head}"))?, body.to_owned()))
}
