//! Probes of Events, in both of their API groups.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Ground, Probe, code};

const CORE: &str = "/api/v1/namespaces/default/events";
const GROUP: &str = "/apis/events.k8s.io/v1/namespaces/default/events";

pub(super) const PROBES: &[Probe] =
    &[Probe { name: "Events", run: |ground| Box::pin(both_groups(ground)) }];

async fn both_groups(ground: &Ground<'_>) -> Result<Vec<String>> {
    let raw = &ground.raw;
    // The store of a real server may remember the events of another run.
    let name = |group: &str| format!("n1.{group}.{}", std::process::id());
    let (core, group) = (core_event(&name("core")), group_event(&name("group")));
    let mut found = vec![
        code("POST v1", &raw.post(CORE, &core).await?),
        code("POST events.k8s.io", &raw.post(GROUP, &group).await?),
    ];
    let elsewhere = "/api/v1/namespaces/kube-public/events";
    found.push(code("another namespace", &raw.post(elsewhere, &core).await?));
    for (what, path) in [
        ("v1 as events.k8s.io", format!("{GROUP}/{}", name("core"))),
        ("events.k8s.io as v1", format!("{CORE}/{}", name("group"))),
    ] {
        let event = raw.get(&path).await?.ok()?;
        found.push(format!("{what}: {}", face(&event)));
    }
    for event in ["core", "group"] {
        raw.delete(&format!("{CORE}/{}", name(event))).await?.ok()?;
    }
    Ok(found)
}

fn face(event: &Value) -> String {
    let names = ["apiVersion", "kind", "reason", "type", "note", "message"];
    let words = names.iter().map(|name| format!("{name}={}", event[name]));
    let about = event["regarding"]["name"].as_str().or(event["involvedObject"]["name"].as_str());
    words.chain(about.map(str::to_owned)).collect::<Vec<_>>().join(" ")
}

fn core_event(name: &str) -> Value {
    json!({
        "metadata": { "name": name },
        "involvedObject": { "kind": "Node", "name": "n1", "apiVersion": "v1" },
        "reason": "PodCIDRMissing",
        "message": "text",
        "type": "Warning",
        "source": { "component": "tartand" },
        "firstTimestamp": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:00:00Z",
        "count": 1,
    })
}

fn group_event(name: &str) -> Value {
    json!({
        "metadata": { "name": name },
        "regarding": { "kind": "Node", "name": "n1", "apiVersion": "v1" },
        "reason": "PodCIDRMissing",
        "note": "text",
        "type": "Warning",
        "action": "Wait",
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "tartan.io/tartand",
        "reportingInstance": "tartand-n1",
    })
}
