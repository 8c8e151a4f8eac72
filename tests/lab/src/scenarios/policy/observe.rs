//! What our nodes say of themselves.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};

use super::cast::Cast;
use super::flows::LIMIT;
use crate::node::Node;
use crate::process::{Place as _, checked, eventually};
use crate::traffic::{ECHO_PORT, RrReport, Running};

const FAST: [&str; 3] = ["pod-local-fast", "pod-remote-fast", "uplink-pod-fast"];

/// Waits until `tartanctl status` of every node says all of these.
pub(super) fn status_says(nodes: &[&Node], words: &[&str]) -> Result<()> {
    for node in nodes {
        let mut said = String::new();
        eventually(&format!("{} says {words:?}", node.name()), LIMIT, || {
            said = checked(node.product("tartanctl")?.arg("status"))?;
            Ok(words.iter().all(|word| said.contains(word)))
        })
        .with_context(|| said.clone())?;
    }
    Ok(())
}

/// Packets that these nodes' stacks did not see.
pub(super) fn fast_packets(nodes: &[&Node]) -> Result<u64> {
    let mut sum = 0;
    for node in nodes {
        let paths = node.paths()?;
        sum += FAST.iter().map(|name| paths.get(name)).sum::<u64>();
    }
    Ok(sum)
}

/// Long flows from both clients go fast, most of the time.
pub(super) fn goes_fast(cast: &Cast) -> Result<()> {
    let to = SocketAddr::new(cast.server.address()?.into(), ECHO_PORT);
    for client in &cast.clients {
        let before = fast_packets(&cast.nodes())?;
        let report = Running::<RrReport>::start(client, &format!("rr --to {to} --seconds 1"), "")?;
        let report = report.finish()?;
        let fast = fast_packets(&cast.nodes())? - before;
        ensure!(fast > report.round_trips, "{}: {fast} fast of {report:?}", client.label());
    }
    Ok(())
}
