//! Probes of watches.

use std::time::Instant;

use anyhow::Result;
use serde_json::Value;

use super::{Ground, Probe};
use crate::suite::raw::{MERGE, annotations, version};
use crate::suite::shape::shape;

const WATCH: &str = "/api/v1/nodes?watch=true";

pub(super) const PROBES: &[Probe] = &[
    Probe { name: "a watch tells what happened", run: |ground| Box::pin(events(ground)) },
    Probe { name: "a watch without a version", run: |ground| Box::pin(initial(ground)) },
    Probe { name: "a watch that begins with a list", run: |ground| Box::pin(watch_list(ground)) },
    Probe { name: "a watch with a time limit", run: |ground| Box::pin(limited(ground)) },
    Probe { name: "a watch of one node", run: |ground| Box::pin(of_one(ground)) },
    Probe { name: "a watch from the forgotten past", run: |ground| Box::pin(gone(ground)) },
];

async fn events(ground: &Ground<'_>) -> Result<Vec<String>> {
    let raw = &ground.raw;
    let start = raw.get("/api/v1/nodes").await?.version();
    ground.nodes(1).await?;
    let path = "/api/v1/nodes/n1";
    let patched = raw.patch(path, MERGE, &annotations([("example.org/a", Some("b"))])).await?;
    raw.delete(path).await?.ok()?;
    let lines = raw.watch(&format!("{WATCH}&resourceVersion={start}"), 3).await?;
    let mut found: Vec<_> = lines.iter().flat_map(shape).collect();
    let versions: Vec<u64> =
        lines.iter().map(|line| version(&line["object"]).parse().unwrap_or(0)).collect();
    found.push(format!("types: {}", types(&lines)));
    found.push(format!("versions rise: {}", versions.is_sorted_by(|a, b| a < b)));
    let second = lines.get(1).map(|line| &line["object"]);
    found.push(format!("as patched: {}", second == Some(&patched.body)));
    let last = lines.last().map_or(&Value::Null, |line| &line["object"]);
    found.push(format!("the last state: {}", last["metadata"]["annotations"]["example.org/a"]));
    Ok(found)
}

async fn initial(ground: &Ground<'_>) -> Result<Vec<String>> {
    ground.nodes(2).await?;
    let unset = ground.raw.watch(WATCH, 2).await?;
    let zero = ground.raw.watch(&format!("{WATCH}&resourceVersion=0"), 2).await?;
    Ok(vec![format!("unset: {}", types(&unset)), format!("zero: {}", types(&zero))])
}

async fn watch_list(ground: &Ground<'_>) -> Result<Vec<String>> {
    ground.nodes(2).await?;
    let query = "allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
    let lines = ground.raw.watch(&format!("{WATCH}&{query}"), 3).await?;
    let mut found = vec![format!("types: {}", types(&lines))];
    let bookmark = lines.last().cloned().unwrap_or_default();
    found.extend(shape(&bookmark));
    found.push(bookmark["object"]["metadata"]["annotations"].to_string());
    Ok(found)
}

async fn limited(ground: &Ground<'_>) -> Result<Vec<String>> {
    let start = ground.nodes(1).await?;
    let path = format!("{WATCH}&resourceVersion={start}&timeoutSeconds=1");
    let begin = Instant::now();
    let lines = ground.raw.watch(&path, 9).await?;
    let in_time = (800..4000).contains(&begin.elapsed().as_millis());
    Ok(vec![format!("events: {}; ended in time: {in_time}", lines.len())])
}

async fn of_one(ground: &Ground<'_>) -> Result<Vec<String>> {
    let raw = &ground.raw;
    let start = raw.get("/api/v1/nodes").await?.version();
    ground.nodes(11).await?;
    let query = format!("{WATCH}&resourceVersion={start}&fieldSelector=metadata.name%3Dn1");
    raw.delete("/api/v1/nodes/n1").await?.ok()?;
    let lines = raw.watch(&query, 2).await?;
    let names: Vec<_> =
        lines.iter().filter_map(|line| line["object"]["metadata"]["name"].as_str()).collect();
    Ok(vec![format!("types: {}", types(&lines)), format!("names: {}", names.join(" "))])
}

async fn gone(ground: &Ground<'_>) -> Result<Vec<String>> {
    let raw = &ground.raw;
    let old = ground.nodes(1).await?;
    for round in ["1", "2", "3"] {
        let patch = annotations([("example.org/round", Some(round))]);
        raw.patch("/api/v1/nodes/n1", MERGE, &patch).await?.ok()?;
    }
    ground.api.compact().await?;
    // What the real server still has in memory it still tells.
    ground.api.kill().await?;
    ground.api.start().await?;
    let lines = raw.watch(&format!("{WATCH}&resourceVersion={old}"), 5).await?;
    Ok(lines.iter().flat_map(shape).collect())
}

fn types(lines: &[Value]) -> String {
    lines.iter().filter_map(|line| line["type"].as_str()).collect::<Vec<_>>().join(" ")
}
