//! Probes of lists: pages, versions, and what is refused.

use anyhow::Result;
use serde_json::Value;

use super::{Ground, Probe, code, seen};
use crate::suite::raw::{MERGE, annotations, version};

const NODES: &str = "/api/v1/nodes";

pub(super) const PROBES: &[Probe] = &[
    Probe { name: "lists", run: |ground| Box::pin(lists(ground)) },
    Probe { name: "pages", run: |ground| Box::pin(pages(ground)) },
    Probe { name: "lists at a version", run: |ground| Box::pin(versions(ground)) },
    Probe { name: "lists that are refused", run: |ground| Box::pin(refused(ground)) },
    Probe { name: "lists of the forgotten past", run: |ground| Box::pin(expired(ground)) },
];

async fn lists(ground: &Ground<'_>) -> Result<Vec<String>> {
    let empty = ground.raw.get(NODES).await?;
    ground.nodes(2).await?;
    let full = ground.raw.get(NODES).await?;
    let one = ground.raw.get(&format!("{NODES}?fieldSelector=metadata.name%3Dn2")).await?;
    let mut found = seen("an empty list", &empty);
    found.extend(seen("two nodes", &full));
    found.push(format!("by name: {}", names(&one.body)));
    Ok(found)
}

async fn pages(ground: &Ground<'_>) -> Result<Vec<String>> {
    let raw = &ground.raw;
    ground.nodes(5).await?;
    let first = raw.get(&format!("{NODES}?limit=2")).await?;
    raw.patch("/api/v1/nodes/n4", MERGE, &annotations([("example.org/new", Some("1"))])).await?;
    raw.delete("/api/v1/nodes/n5").await?.ok()?;
    let mut found = seen("the first page", &first);
    let mut page = first.body.clone();
    while let Some(token) = token(&page) {
        page = raw.get(&format!("{NODES}?limit=2&continue={token}")).await?.ok()?;
        let same = version(&page) == version(&first.body);
        found.push(format!("then {}, same version: {same}", names(&page)));
        found.push(format!("left: {}", page["metadata"]["remainingItemCount"]));
        found.push(format!("the write: {}", annotation(&page, "example.org/new")));
    }
    let all = raw.get(&format!("{NODES}?limit=4")).await?;
    found.push(format!("exactly full: {}", all.body["metadata"]["continue"]));
    Ok(found)
}

async fn versions(ground: &Ground<'_>) -> Result<Vec<String>> {
    let raw = &ground.raw;
    let old = ground.nodes(2).await?;
    raw.patch("/api/v1/nodes/n1", MERGE, &annotations([("example.org/new", Some("1"))])).await?;
    let now = raw.get(NODES).await?.version();
    let mut found = Vec::new();
    for query in [
        "resourceVersionMatch=Exact",
        "limit=10",
        "resourceVersionMatch=NotOlderThan",
        "resourceVersionMatch=NotOlderThan&limit=10",
        "",
    ] {
        let list = raw.get(&format!("{NODES}?resourceVersion={old}&{query}")).await?;
        let place = match list.version() {
            version if version == old => "that version",
            version if version == now => "the newest",
            _ => "another version",
        };
        let write = annotation(&list.body, "example.org/new");
        found.push(format!("{query}: {} {place}, the write: {write}", list.code));
    }
    let query = format!("resourceVersion={old}&resourceVersionMatch=NotOlderThan&limit=1");
    let page = raw.get(&format!("{NODES}?{query}")).await?.body;
    let left = &page["metadata"]["remainingItemCount"];
    found.push(format!("a page of it: {} {left}", names(&page)));
    let zero = raw.get(&format!("{NODES}?resourceVersion=0&limit=1")).await?.body;
    found.push(format!("a page of version 0: {}", names(&zero)));
    Ok(found)
}

async fn refused(ground: &Ground<'_>) -> Result<Vec<String>> {
    let raw = &ground.raw;
    ground.nodes(2).await?;
    let first = raw.get(&format!("{NODES}?limit=1")).await?;
    let token = token(&first.body).unwrap_or_default();
    let future = "resourceVersion=99999999&resourceVersionMatch";
    let mut found = seen("too new", &raw.get(&format!("{NODES}?{future}=NotOlderThan")).await?);
    for query in [
        "limit=x".to_owned(),
        "resourceVersion=x".to_owned(),
        format!("limit=1&resourceVersion=5&continue={token}"),
        "limit=1&continue=notatoken".to_owned(),
        "resourceVersionMatch=NotOlderThan".to_owned(),
        "resourceVersion=0&resourceVersionMatch=Exact".to_owned(),
        "resourceVersion=1&resourceVersionMatch=Newest".to_owned(),
    ] {
        let shown = query.replace(&token, "TOKEN");
        found.push(code(&shown, &raw.get(&format!("{NODES}?{query}")).await?));
    }
    Ok(found)
}

async fn expired(ground: &Ground<'_>) -> Result<Vec<String>> {
    let raw = &ground.raw;
    let old = ground.nodes(3).await?;
    let first = raw.get(&format!("{NODES}?limit=1")).await?.ok()?;
    let old_token = token(&first).unwrap_or_default();
    raw.delete("/api/v1/nodes/n3").await?.ok()?;
    raw.patch("/api/v1/nodes/n1", MERGE, &annotations([("example.org/new", Some("1"))])).await?;
    ground.api.compact().await?;
    // What the real server still has in memory it still tells.
    ground.api.kill().await?;
    ground.api.start().await?;
    let page = raw.get(&format!("{NODES}?limit=1&continue={old_token}")).await?;
    let mut found = seen("the next page", &page);
    let new_token = token(&page.body).unwrap_or_default();
    let rest = raw.get(&format!("{NODES}?limit=5&continue={new_token}")).await?;
    found.push(format!("with the token of the refusal: {} {}", rest.code, names(&rest.body)));
    let exact = format!("{NODES}?resourceVersion={old}&resourceVersionMatch=Exact");
    found.extend(seen("exact", &raw.get(&exact).await?));
    Ok(found)
}

/// The list's continue token, unless it is the last page.
fn token(list: &Value) -> Option<String> {
    let token = list["metadata"]["continue"].as_str().filter(|token| !token.is_empty());
    token.map(str::to_owned)
}

fn names(list: &Value) -> String {
    let items = list["items"].as_array().into_iter().flatten();
    items.filter_map(|item| item["metadata"]["name"].as_str()).collect::<Vec<_>>().join(" ")
}

/// The first value of this annotation in a list.
fn annotation(list: &Value, key: &str) -> String {
    let items = list["items"].as_array().into_iter().flatten();
    let mut found = items.filter_map(|item| item["metadata"]["annotations"][key].as_str());
    found.next().unwrap_or("none").to_owned()
}
