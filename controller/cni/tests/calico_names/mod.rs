//! Host ends named as Calico's policy engine looks for them, against the real kernel. Needs root;
//! says so where it is not.

use crate::support::{Lab, namespaces};
use serde_json::{Value, json};

/// `cali` and the first 11 digits of `printf ns1.web-0 | sha1sum`.
const NAME: &str = "caliabc48332923";
const POD: &str = "K8S_POD_NAMESPACE=ns1;K8S_POD_NAME=web-0";

fn named() -> Value {
    json!({ "hostVethNaming": "calico" })
}

/// The configuration as the runtime passes it to CHECK.
fn with(mut conf: Value, key: &str, value: Value) -> Value {
    conf[key] = value;
    conf
}

fn added(lab: &mut Lab, id: &str) -> Value {
    lab.args = POD;
    lab.ok("ADD", id, named())
}

#[test]
fn the_host_end_has_calicos_name_and_is_checked_and_removed() {
    namespaces(|mut lab| {
        let before = lab.traces();
        let result = added(&mut lab, "c1");
        assert_eq!(result["interfaces"][0]["name"], NAME);
        lab.quiet("CHECK", "c1", with(named(), "prevResult", result));
        for _ in 0..2 {
            lab.quiet("DEL", "c1", named());
            assert_eq!(lab.traces(), before);
        }
    });
}

#[test]
fn another_prefix_is_taken() {
    namespaces(|mut lab| {
        lab.args = POD;
        let result = lab.ok("ADD", "c1", with(named(), "hostVethPrefix", json!("eni")));
        assert_eq!(result["interfaces"][0]["name"], NAME.replace("cali", "eni"));
    });
}

#[test]
fn a_name_that_nobody_says_any_more_is_found_all_the_same() {
    namespaces(|mut lab| {
        let before = lab.traces();
        added(&mut lab, "c1");
        lab.quiet("GC", "", with(named(), "cni.dev/valid-attachments", json!([])));
        assert_eq!(lab.traces(), before);
        added(&mut lab, "c1");
        lab.args = "";
        // The configuration lost the key as well.
        lab.quiet("DEL", "c1", json!({}));
        assert_eq!(lab.traces(), before);
    });
}

#[test]
fn a_second_sandbox_of_a_pod_waits_for_the_first_to_go() {
    namespaces(|mut lab| {
        added(&mut lab, "c1");
        let one = lab.traces();
        let error = lab.error("ADD", "c2", named());
        assert!(error["details"].as_str().is_some_and(|text| text.contains(NAME)), "{error}");
        assert_eq!(lab.traces(), one);
        // What the refused sandbox leaves to do must not touch the first one's.
        lab.quiet("DEL", "c2", named());
        assert_eq!(lab.traces(), one);
    });
}

#[test]
fn a_renamed_host_end_fails_check() {
    namespaces(|mut lab| {
        let result = added(&mut lab, "c1");
        lab.ip(&format!("link set {NAME} down"));
        lab.ip(&format!("link set {NAME} name other0"));
        lab.ip("link set other0 up");
        let error = lab.error("CHECK", "c1", with(named(), "prevResult", result));
        assert_eq!(error["msg"], "the host's end of the veth is missing or down");
    });
}

#[test]
fn a_pod_without_a_name_gets_nothing() {
    namespaces(|mut lab| {
        let before = lab.traces();
        lab.args = "K8S_POD_NAMESPACE=ns1";
        let error = lab.error("ADD", "c1", named());
        assert_eq!(error["msg"], "CNI_ARGS has no K8S_POD_NAME");
        assert_eq!(lab.traces(), before);
    });
}
