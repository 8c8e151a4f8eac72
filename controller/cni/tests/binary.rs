//! The binary as a runtime sees it. Nothing here needs root or touches the host.

#![expect(clippy::unwrap_used, reason = "a test's scaffolding fails its test")]

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

fn call(env: &[(&str, &str)], stdin: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tartan-cni"))
        .env_clear()
        .envs(env.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The plugin may have answered without reading.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap()
}

fn answer(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

const ADD: [(&str, &str); 4] = [
    ("CNI_COMMAND", "ADD"),
    ("CNI_CONTAINERID", "c1"),
    ("CNI_NETNS", "/nonexistent/netns"),
    ("CNI_IFNAME", "eth0"),
];

fn refused(env: &[(&str, &str)], stdin: &str) -> (u64, String) {
    let output = call(env, stdin);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    let error = answer(&output);
    (error["code"].as_u64().unwrap(), error["msg"].as_str().unwrap().to_owned())
}

fn with(key: &'static str, value: &'static str) -> Vec<(&'static str, &'static str)> {
    ADD.into_iter().map(|(k, v)| (k, if k == key { value } else { v })).collect()
}

#[test]
fn version_needs_nothing_but_the_command() {
    let env = [("CNI_COMMAND", "VERSION"), ("CNI_NETNS", "dummy"), ("CNI_IFNAME", "dummy")];
    let output = call(&env, r#"{"cniVersion":"0.4.0"}"#);
    assert!(output.status.success() && output.stderr.is_empty());
    let versions = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
    assert_eq!(answer(&output), json!({ "cniVersion": "1.1.0", "supportedVersions": versions }));
}

#[test]
fn by_hand_it_says_what_it_is() {
    let output = call(&[], "");
    assert!(output.status.success() && output.stdout.is_empty());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("CNI protocol versions supported: 0.1.0, "), "{text}");
}

#[test]
fn bad_requests_get_one_clear_line_and_the_reference_code() {
    let conf = r#"{"cniVersion":"1.0.0","name":"cbr0","type":"tartan-cni"}"#;
    assert_eq!(
        refused(&with("CNI_COMMAND", "PLUG"), conf),
        (4, "unknown CNI_COMMAND: PLUG".into())
    );
    assert_eq!(
        refused(&with("CNI_CONTAINERID", "a/b"), conf),
        (4, "invalid characters in containerID".into())
    );
    assert_eq!(
        refused(&with("CNI_IFNAME", "this-is-too-long"), conf),
        (4, "interface name is too long".into())
    );
    assert_eq!(
        refused(&with("CNI_NETNS", ""), conf),
        (4, "required env variables [CNI_NETNS] missing".into())
    );
    assert_eq!(refused(&ADD, "{").0, 6);
    assert_eq!(refused(&ADD, "{}"), (7, "missing network name".into()));
    assert_eq!(
        refused(&ADD, r#"{"name":"n","cniVersion":"2.0.0"}"#),
        (1, "incompatible CNI versions".into())
    );
    assert_eq!(
        refused(&with("CNI_COMMAND", "CHECK"), r#"{"name":"n","cniVersion":"0.3.1"}"#),
        (1, "config version does not allow CHECK".into())
    );
    let (code, msg) = refused(&ADD, conf);
    assert_eq!(code, 4);
    assert!(msg.starts_with(r#"failed to open netns "/nonexistent/netns""#), "{msg}");
}

#[test]
fn errors_carry_the_version_of_the_request() {
    let output = call(&ADD, r#"{"cniVersion":"0.3.1","name":"cbr0"}"#);
    assert_eq!(answer(&output)["cniVersion"], "0.3.1");
}

#[test]
fn status_and_gc_need_a_new_configuration() {
    for verb in ["STATUS", "GC"] {
        let (code, msg) = refused(&[("CNI_COMMAND", verb)], r#"{"name":"n","cniVersion":"1.0.0"}"#);
        assert_eq!((code, msg), (1, format!("config version does not allow {verb}")));
    }
}
