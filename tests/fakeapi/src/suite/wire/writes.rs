//! Probes of POST, GET, PATCH and DELETE.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Ground, Probe, code, seen};
use crate::NodeSpec;
use crate::suite::raw::{MERGE, STRATEGIC, annotations, version};

const NODE: &str = "/api/v1/nodes/n1";
const STATUS: &str = "/api/v1/nodes/n1/status";

pub(super) const PROBES: &[Probe] = &[
    Probe { name: "a node is made, read and removed", run: |ground| Box::pin(life(ground)) },
    Probe { name: "what is not there", run: |ground| Box::pin(absent(ground)) },
    Probe { name: "patches", run: |ground| Box::pin(patches(ground)) },
    Probe { name: "patches of the status", run: |ground| Box::pin(status_patches(ground)) },
    Probe { name: "preconditions", run: |ground| Box::pin(preconditions(ground)) },
    Probe { name: "podCIDRs", run: |ground| Box::pin(pod_cidrs(ground)) },
];

async fn life(ground: &Ground<'_>) -> Result<Vec<String>> {
    let node = NodeSpec { name: "n1".to_owned(), ..NodeSpec::numbered(1) }.to_json();
    let made = ground.raw.post("/api/v1/nodes", &node).await?;
    let again = ground.raw.post("/api/v1/nodes", &node).await?;
    let got = ground.raw.get(NODE).await?;
    let gone = ground.raw.delete(NODE).await?;
    let mut found = seen("POST", &made);
    found.extend(seen("the same POST", &again));
    found.push(format!("GET is what POST answered: {}", got.body == made.body));
    found.extend(seen("DELETE", &gone));
    Ok(found)
}

async fn absent(ground: &Ground<'_>) -> Result<Vec<String>> {
    let raw = &ground.raw;
    let patch = annotations([("a", Some("b"))]);
    let mut found = seen("GET", &raw.get(NODE).await?);
    found.push(code("DELETE", &raw.delete(NODE).await?));
    found.push(code("PATCH", &raw.patch(NODE, MERGE, &patch).await?));
    found.push(code("PATCH status", &raw.patch(STATUS, STRATEGIC, &patch).await?));
    found.push(format!("unknown path -> {}", raw.get("/api/v1/nodez").await?.code));
    Ok(found)
}

async fn patches(ground: &Ground<'_>) -> Result<Vec<String>> {
    let raw = &ground.raw;
    ground.nodes(1).await?;
    let before = raw.get(NODE).await?;
    let patch = annotations([("example.org/a", Some("b"))]);
    let first = raw.patch(NODE, MERGE, &patch).await?;
    let second = raw.patch(NODE, MERGE, &patch).await?;
    let status = json!({ "status": { "phase": "Running" } });
    let ignored = raw.patch(NODE, MERGE, &status).await?;
    let removed = raw.patch(NODE, MERGE, &annotations([("example.org/a", None)])).await?;
    let number = raw.patch(NODE, MERGE, &json!({"metadata": {"annotations": {"x": 1}}})).await?;
    let media = raw.patch(NODE, "text/plain", &patch).await?;
    let mut found = seen("PATCH", &first);
    found.push(format!("a new version: {}", first.version() != before.version()));
    found.push(format!("one without effect keeps it: {}", second.version() == first.version()));
    found.push(format!("status is not the object's: {}", ignored.version() == first.version()));
    found.push(format!("removed: {}", removed.body["metadata"]["annotations"]["example.org/a"]));
    found.push(code("a number as annotation", &number));
    found.push(format!("text/plain -> {}", media.code));
    Ok(found)
}

async fn status_patches(ground: &Ground<'_>) -> Result<Vec<String>> {
    let raw = &ground.raw;
    ground.nodes(1).await?;
    let condition = json!({ "type": "NetworkUnavailable", "status": "False",
        "reason": "R", "message": "m" });
    let patch = json!({ "metadata": { "annotations": { "example.org/s": "t" } },
        "spec": { "unschedulable": true }, "status": { "conditions": [condition] } });
    let node = raw.patch(STATUS, STRATEGIC, &patch).await?.ok()?;
    let annotation = &node["metadata"]["annotations"]["example.org/s"];
    let mut found = vec![
        format!("annotations by way of the status: {annotation}"),
        format!("the spec stays: {}", node["spec"]["unschedulable"]),
        format!("conditions: {}", words(&node["status"]["conditions"], "type")),
        format!("images: {}", node["status"]["images"].as_array().map_or(0, Vec::len)),
    ];
    let patch = json!({ "status": { "conditions": [condition] } });
    let merged = raw.patch(STATUS, MERGE, &patch).await?;
    let list = &merged.body["status"]["conditions"];
    found.push(format!("a merge patch replaces the list: {}", words(list, "type")));
    Ok(found)
}

async fn preconditions(ground: &Ground<'_>) -> Result<Vec<String>> {
    let raw = &ground.raw;
    ground.nodes(1).await?;
    let old = raw.get(NODE).await?;
    raw.patch(NODE, MERGE, &annotations([("example.org/a", Some("b"))])).await?.ok()?;
    let with = |metadata: Value| json!({ "metadata": metadata, "spec": { "unschedulable": true } });
    let stale = with(json!({ "resourceVersion": version(&old.body) }));
    let stranger = with(json!({ "uid": "00000000-0000-4000-8000-000000000000" }));
    let its_own = with(json!({ "uid": old.body["metadata"]["uid"] }));
    let mut found = seen("an old version", &raw.patch(NODE, MERGE, &stale).await?);
    found.push(code("another uid", &raw.patch(NODE, MERGE, &stranger).await?));
    found.push(code("its uid", &raw.patch(NODE, MERGE, &its_own).await?));
    Ok(found)
}

async fn pod_cidrs(ground: &Ground<'_>) -> Result<Vec<String>> {
    let raw = &ground.raw;
    let mut found = Vec::new();
    for (what, cidrs) in [
        ("no CIDR", json!(["10.1.2/24"])),
        ("two of a family", json!(["10.1.0.0/24", "10.1.1.0/24"])),
        ("three", json!(["10.1.0.0/24", "fd00::/64", "10.1.2.0/24"])),
    ] {
        let node = json!({ "metadata": { "name": "n2" }, "spec": { "podCIDRs": cidrs } });
        found.push(code(what, &raw.post("/api/v1/nodes", &node).await?));
    }
    raw.post("/api/v1/nodes", &NodeSpec::new("n1").to_json()).await?.ok()?;
    let both = json!({ "spec": { "podCIDRs": ["10.1.0.0/24", "fd00::/64"],
        "podCIDR": "10.1.0.0/24" } });
    let set = raw.patch(NODE, MERGE, &both).await?;
    found.push(format!("{} {}", code("assigned later", &set), cidrs(&set.body)));
    let other = json!({ "spec": { "podCIDR": "10.2.0.0/24", "podCIDRs": ["10.2.0.0/24"] } });
    found.push(code("another one", &raw.patch(NODE, MERGE, &other).await?));
    let single = json!({ "metadata": { "name": "n3" }, "spec": { "podCIDR": "10.3.0.0/24" } });
    found.push(cidrs(&raw.post("/api/v1/nodes", &single).await?.body));
    Ok(found)
}

fn cidrs(node: &Value) -> String {
    format!("{} {}", node["spec"]["podCIDR"], node["spec"]["podCIDRs"])
}

/// One member of each element.
fn words(list: &Value, key: &str) -> String {
    let items = list.as_array().into_iter().flatten();
    items.filter_map(|item| item[key].as_str()).collect::<Vec<_>>().join(" ")
}
