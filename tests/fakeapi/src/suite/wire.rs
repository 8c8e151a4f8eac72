//! The wire format, probe by probe: the same requests to the real server and to the scripted one
//! must be answered alike. What the real one answers is on record in `wire.txt`.

mod events;
mod lists;
mod watches;
mod writes;

use std::fmt::Write as _;
use std::pin::Pin;

use anyhow::{Context as _, Result};

use super::api::ApiUnderTest;
use super::raw::{Answer, Raw};
use super::shape::shape;
use crate::NodeSpec;

/// What the real server answers, recorded by `tartan-fakeapi record`.
pub const RECORD: &str = include_str!("../../wire.txt");

/// What a probe found, line by line.
type Found<'a> = Pin<Box<dyn Future<Output = Result<Vec<String>>> + Send + 'a>>;

/// One probe.
struct Probe {
    name: &'static str,
    run: for<'a> fn(&'a Ground<'a>) -> Found<'a>,
}

/// Where probes work.
pub(crate) struct Ground<'a> {
    pub(crate) raw: Raw,
    pub(crate) api: &'a dyn ApiUnderTest,
}

/// Runs every probe on a server without nodes: the record.
///
/// # Errors
/// When a request is not answered at all.
pub async fn record(api: &dyn ApiUnderTest) -> Result<String> {
    let ground = Ground { raw: Raw::new(api.config())?, api };
    let mut text = String::new();
    let probes = writes::PROBES.iter().chain(lists::PROBES).chain(watches::PROBES);
    for probe in probes.chain(events::PROBES) {
        ground.clear().await?;
        let lines = (probe.run)(&ground).await.with_context(|| probe.name)?;
        // Writing into a String cannot fail.
        let _ = write!(text, "# {}\n{}\n\n", probe.name, lines.join("\n"));
    }
    ground.clear().await?;
    Ok(text)
}

impl Ground<'_> {
    /// No node is left of what was before.
    pub(crate) async fn clear(&self) -> Result<()> {
        let list = self.raw.get("/api/v1/nodes").await?.ok()?;
        for node in list["items"].as_array().into_iter().flatten() {
            let name = node["metadata"]["name"].as_str().unwrap_or_default();
            self.raw.delete(&format!("/api/v1/nodes/{name}")).await?.ok()?;
        }
        Ok(())
    }

    /// Makes the nodes `n1` to `n<count>`; the version of the last one.
    pub(crate) async fn nodes(&self, count: u32) -> Result<String> {
        let mut version = String::new();
        for index in 1..=count {
            let node = NodeSpec { name: format!("n{index}"), ..NodeSpec::numbered(index) };
            let made = self.raw.post("/api/v1/nodes", &node.to_json()).await?;
            version = made.version();
            made.ok()?;
        }
        Ok(version)
    }
}

/// A finding about an answer: its code and its shape.
fn seen(what: &str, answer: &Answer) -> Vec<String> {
    let mut lines = vec![format!("{what} -> {}", answer.code)];
    lines.extend(shape(&answer.body).into_iter().map(|line| format!("  {line}")));
    lines
}

/// A finding about an answer's code and reason only.
fn code(what: &str, answer: &Answer) -> String {
    format!("{what} -> {} {}", answer.code, answer.body["reason"].as_str().unwrap_or("-"))
}
