//! Requests that no container runtime should make.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{tells, things, unchanged};
use crate::cluster::Member;
use crate::node::NET_CONF;
use crate::pod::Pod;
use crate::scenario::Scenario;
use crate::wire::Wire;

/// What is wrong with a request, and what the answer must say.
struct Bad {
    stdin: String,
    env: &'static [(&'static str, &'static str)],
    code: u64,
    words: &'static [&'static str],
}

pub(super) fn requests(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let member = Member::new(lab.node()?, 1)?;
    let pod = member.node.pod("bad")?;
    let good = pod.runtime().config()?;
    let mut all = bad_configurations(&good);
    all.extend(bad_environments(&good));
    for bad in &all {
        refused(&pod, bad).with_context(|| format!("{:?} {}", bad.env, bad.stdin))?;
    }
    scenario.note(format!("{} bad requests", all.len()));
    // The very same request without the fault works.
    pod.cni_add().map(drop)
}

pub(super) fn before_the_agent(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let pod = lab.node()?.pod("early")?;
    let stdin = pod.runtime().config()?.to_string();
    let words = &["/run/flannel/subnet.env"];
    refused(&pod, &Bad { stdin, env: &[], code: 100, words })
}

/// Sixteen addresses, of which the first, the gateway's and the last are no pod's.
pub(super) fn full_subnet(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let node = lab.node()?;
    node.write(NET_CONF, r#"{"Network":"10.244.0.0/24","SubnetLen":28}"#)?;
    let member = Member::new(node, 0)?;
    for number in 0..13 {
        member.node.pod(&format!("p{number}"))?.cni_add()?;
    }
    let pod = member.node.pod("late")?;
    let stdin = pod.runtime().config()?.to_string();
    let words = &["no IP addresses available", "10.244.0.17-10.244.0.30"];
    refused(&pod, &Bad { stdin, env: &[], code: 103, words })
}

fn bad_configurations(good: &Value) -> Vec<Bad> {
    let with = |key: &str, value: Value| {
        let mut changed = good.clone();
        changed[key] = value;
        changed.to_string()
    };
    let bad = |stdin, code, words| Bad { stdin, env: &[], code, words };
    vec![
        bad("{".to_owned(), 6, &["error unmarshall network config"]),
        bad(String::new(), 6, &["error unmarshall network config"]),
        bad("[]".to_owned(), 6, &["error unmarshall network config"]),
        bad("\u{0}garbage".to_owned(), 6, &["error unmarshall network config"]),
        bad(with("name", Value::Null), 7, &["missing network name"]),
        bad(with("name", json!("../cbr0")), 7, &["invalid characters", "network name"]),
        bad(with("name", json!("a b")), 7, &["invalid characters", "network name"]),
        bad(with("name", json!(7)), 6, &["name"]),
        bad(with("cniVersion", json!("9.9.9")), 1, &["9.9.9"]),
        bad(with("subnetFile", json!("/run/none.env")), 100, &["/run/none.env"]),
    ]
}

fn bad_environments(good: &Value) -> Vec<Bad> {
    let bad = |env, code, words| Bad { stdin: good.to_string(), env, code, words };
    vec![
        bad(&[("CNI_IFNAME", "")], 4, &["CNI_IFNAME", "missing"]),
        bad(&[("CNI_IFNAME", "eth/0")], 4, &["interface name"]),
        bad(&[("CNI_IFNAME", "eth 0")], 4, &["interface name"]),
        bad(&[("CNI_IFNAME", "..")], 4, &["interface name"]),
        bad(&[("CNI_IFNAME", "sixteen-letters0")], 4, &["interface name is too long"]),
        bad(&[("CNI_IFNAME", "lo")], 102, &["lo"]),
        bad(&[("CNI_NETNS", "")], 4, &["CNI_NETNS", "missing"]),
        bad(&[("CNI_NETNS", "/run/netns/none")], 4, &["failed to open netns", "/run/netns/none"]),
        bad(&[("CNI_NETNS", "/etc/passwd")], 4, &["failed to open netns", "/etc/passwd"]),
        bad(&[("CNI_NETNS", "/proc/self/ns/net")], 8, &["should not be the same"]),
        bad(&[("CNI_CONTAINERID", "")], 4, &["CNI_CONTAINERID", "missing"]),
        bad(&[("CNI_CONTAINERID", "../../etc")], 4, &["invalid characters in containerID"]),
        bad(&[("CNI_COMMAND", "FROB")], 4, &["unknown CNI_COMMAND: FROB"]),
        bad(&[("CNI_ARGS", "IP")], 4, &["invalid pair"]),
        bad(&[("CNI_ARGS", "IP=10.99.0.1")], 103, &["10.99.0.1"]),
    ]
}

/// One error object on standard output, one line on standard error, a failure, and no change.
fn refused(pod: &Pod, bad: &Bad) -> Result<()> {
    let before = things(pod.node())?;
    let output = pod.runtime().raw("ADD", &bad.stdin, bad.env)?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success(), "accepted: {stdout}");
    let answer: Value = serde_json::from_str(&stdout).context("no JSON on standard output")?;
    ensure!(answer["code"].as_u64() == Some(bad.code), "not code {}: {answer}", bad.code);
    let said = format!("{} {}", answer["msg"], answer["details"]);
    tells(&said, bad.words, "the answer")?;
    ensure!(stderr.trim().lines().count() == 1, "not one line: {stderr:?}");
    unchanged(pod.node(), &before, "the request")
}
