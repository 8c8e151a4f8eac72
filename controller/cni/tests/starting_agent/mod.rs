//! ADD while the agent is still starting.

#![expect(clippy::expect_used, reason = "a test's scaffolding fails its test")]

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Fault, Lab, namespaces};

const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_mins(1);

fn absent(lab: &Lab) -> Vec<u8> {
    let content = fs::read(lab.subnet_file()).expect("there");
    fs::remove_file(lab.subnet_file()).expect("removed");
    content
}

#[test]
fn an_add_waits_for_the_subnet_file() {
    namespaces(|mut lab| {
        let content = absent(&lab);
        let file = lab.subnet_file();
        lab.patience = LONG;
        let agent = thread::spawn(move || {
            thread::sleep(SHORT);
            // As the agent does it: whole or not at all.
            let temporary = file.with_extension("new");
            fs::write(&temporary, content).expect("written");
            fs::rename(temporary, file).expect("renamed");
        });
        let start = Instant::now();
        lab.ok("ADD", "c1", json!({}));
        assert!(start.elapsed() < LONG, "{:?}", start.elapsed());
        agent.join().expect("no panic");
    });
}

#[test]
fn an_add_waits_for_the_pins() {
    namespaces(|mut lab| {
        lab.patience = LONG;
        lab.datapath.ready_at = Some(Instant::now() + SHORT);
        lab.ok("ADD", "c1", json!({}));
    });
}

#[test]
fn an_add_whose_patience_is_over_fails_as_ever_and_leaves_no_trace() {
    namespaces(|mut lab| {
        let before = lab.traces();
        lab.datapath.fault = Some(Fault::NotReady);
        let not_ready = lab.error("ADD", "c1", json!({}));
        lab.patience = SHORT;
        let start = Instant::now();
        assert_eq!(lab.error("ADD", "c1", json!({})), not_ready);
        assert!(start.elapsed() >= SHORT, "{:?}", start.elapsed());
        absent(&lab);
        let start = Instant::now();
        let error = lab.error("ADD", "c1", json!({}));
        assert!(start.elapsed() >= SHORT, "{:?}", start.elapsed());
        lab.patience = Duration::ZERO;
        assert_eq!(lab.error("ADD", "c1", json!({})), error);
        assert_eq!(error["code"], 100, "{error}");
        assert_eq!(lab.traces(), before);
    });
}

#[test]
fn nothing_but_a_missing_agent_is_waited_for() {
    namespaces(|mut lab| {
        lab.patience = LONG;
        let start = Instant::now();
        lab.error("ADD", "c1", json!({ "delegate": { "vlan": 7 } }));
        fs::write(lab.subnet_file(), "FLANNEL_MTU=1450\n").expect("written");
        assert_eq!(lab.error("ADD", "c1", json!({}))["code"], 100);
        assert!(start.elapsed() < LONG, "{:?}", start.elapsed());
    });
}

#[test]
fn no_other_verb_waits() {
    namespaces(|mut lab| {
        let prev = json!({ "prevResult": lab.ok("ADD", "c1", json!({})) });
        lab.patience = LONG;
        absent(&lab);
        lab.datapath.fault = Some(Fault::NotReady);
        let start = Instant::now();
        lab.error("STATUS", "", json!({}));
        lab.error("CHECK", "c1", prev);
        assert!(lab.call("DEL", "c1", json!({})).success);
        assert!(lab.call("GC", "", json!({ "cni.dev/valid-attachments": [] })).success);
        assert!(start.elapsed() < LONG, "{:?}", start.elapsed());
    });
}
