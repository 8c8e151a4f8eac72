//! Nodes as flannel, people and attackers write them.

use ipnet::Ipv4Net;
use proptest::prelude::*;
use serde_json::{Value, json};
use tartan_common::{Mac, Vni};

use super::*;
use crate::{Lease6, LeaseBackend, VxlanData};

const MAC: &str = "c6:d2:32:6f:8f:44";
const DATA: &str = r#"{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}"#;

fn prefix() -> AnnotationPrefix {
    AnnotationPrefix::default()
}

fn node() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": "node1",
            "uid": "0a1b",
            "resourceVersion": "77",
            "creationTimestamp": "2026-11-22T16:42:05Z",
            "annotations": {
                "flannel.alpha.coreos.com/kube-subnet-manager": "true",
                "flannel.alpha.coreos.com/backend-type": "vxlan",
                "flannel.alpha.coreos.com/backend-data": DATA,
                "flannel.alpha.coreos.com/public-ip": "192.0.2.1",
                "other.com/public-ip": "203.0.113.9",
                "note": "kept by nobody",
            },
            "managedFields": [{ "manager": "kubelet", "fieldsV1": { "f:metadata": {} } }],
        },
        "spec": { "podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24"] },
        "status": { "capacity": { "cpu": "2" } },
    })
}

fn read(node: &Value) -> NodeRecord {
    NodeRecord::from_json(&node.to_string(), &prefix()).unwrap().record
}

/// The node with one annotation set, or removed.
fn with(key: Key, value: Option<&str>) -> NodeRecord {
    let mut node = node();
    let annotations = node["metadata"]["annotations"].as_object_mut().unwrap();
    match value {
        Some(value) => annotations.insert(prefix().key(key), value.into()),
        None => annotations.remove(&prefix().key(key)),
    };
    read(&node)
}

fn with_cidrs(cidrs: &[&str]) -> NodeRecord {
    let mut node = node();
    node["spec"] = json!({ "podCIDR": cidrs.first(), "podCIDRs": cidrs });
    read(&node)
}

fn dual() -> NodeRecord {
    let mut record = with_cidrs(&["10.244.1.0/24", "fd00:0:0:1::/64"]);
    record.annotate(Key::PublicIpv6, "2001:db8::1");
    record.annotate(Key::BackendV6Data, DATA);
    record
}

fn fault4(record: &NodeRecord) -> String {
    to_leases(record).v4.unwrap_err().to_string()
}

#[test]
fn a_node_of_flannels_is_a_lease() {
    let seen = NodeRecord::from_json(&node().to_string(), &prefix()).unwrap();
    assert_eq!(seen.version.to_string(), "77");
    let leases = to_leases(&seen.record);
    let lease = leases.v4.unwrap().unwrap();
    assert_eq!(lease.subnet, "10.244.1.0/24".parse().unwrap());
    assert_eq!(
        (lease.node_name.as_str(), lease.public_ip.to_string().as_str()),
        ("node1", "192.0.2.1")
    );
    assert_eq!(lease.vtep_mac().unwrap().to_string(), MAC);
    assert_eq!(
        (lease.claimed_at.to_string().as_str(), lease.renewed_at),
        ("2026-11-22T16:42:05Z", None)
    );
    assert_eq!(leases.v6, Ok(None));
}

#[test]
fn what_does_not_matter_makes_no_difference() {
    let mut other = node();
    other["metadata"]["annotations"]["note"] = "changed".into();
    other["metadata"]["resourceVersion"] = "78".into();
    other["status"] = json!({ "conditions": [{ "lastHeartbeatTime": "now" }] });
    assert_eq!(read(&other), read(&node()));
    assert_ne!(with(Key::PublicIp, Some("192.0.2.2")), read(&node()));
}

#[test]
fn only_exactly_true_makes_a_node_a_peer() {
    for value in [None, Some("True"), Some("true "), Some("false"), Some("1")] {
        let leases = to_leases(&with(Key::SubnetManager, value));
        assert_eq!((leases.v4, leases.v6), (Ok(None), Ok(None)), "{value:?}");
    }
}

#[test]
fn a_pseudo_node_that_publishes_an_address_and_a_mac_alone_is_a_lease() {
    let record = with(Key::BackendData, Some(r#"{"VtepMAC":"c6:d2:32:6f:8f:44"}"#));
    let data = VxlanData { vni: None, vtep_mac: MAC.parse().unwrap() };
    assert_eq!(to_leases(&record).v4.unwrap().unwrap().backend, LeaseBackend::Vxlan(data));
}

#[test]
fn other_backends_are_named_without_what_a_log_cannot_take() {
    let of = |value| match to_leases(&with(Key::BackendType, value)).v4.unwrap().unwrap().backend {
        LeaseBackend::Other(name) => name,
        LeaseBackend::Vxlan(_) | LeaseBackend::HostGw => panic!("{value:?} is known"),
    };
    assert_eq!(of(Some("wireguard")), "wireguard");
    assert_eq!(of(Some("a\x1b[2J\nb")), "a?[2J?b");
    assert_eq!((of(Some("")), of(None)), (String::new(), String::new()));
    assert_eq!(of(Some(&"x".repeat(500))).len(), 32);
}

#[test]
fn the_families_are_independent() {
    let leases = to_leases(&dual());
    let v6 = leases.v6.unwrap().unwrap();
    assert_eq!(v6.subnet, "fd00:0:0:1::/64".parse().unwrap());
    assert_eq!(v6.public_ip, "2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap());
    assert!(leases.v4.unwrap().is_some());

    let mut broken = dual();
    broken.annotate(Key::BackendData, "null");
    let leases = to_leases(&broken);
    assert!(leases.v4.is_err() && leases.v6.unwrap().is_some());

    let mut broken = dual();
    broken.annotate(Key::PublicIpv6, "192.0.2.1");
    let leases = to_leases(&broken);
    assert!(leases.v6.is_err() && leases.v4.unwrap().is_some());
}

#[test]
fn a_node_that_takes_no_part_in_a_family_is_no_fault() {
    let leases = to_leases(&with_cidrs(&["10.244.1.0/24"]));
    assert!(leases.v4.unwrap().is_some());
    assert_eq!(leases.v6, Ok(None));
    // Two subnets and no IPv6 address: its IPv6, if it has any, goes over IPv4.
    let leases = to_leases(&with_cidrs(&["10.244.1.0/24", "fd00:0:0:1::/64"]));
    let (v4, v6) = (leases.v4.unwrap().unwrap(), leases.v6.unwrap().unwrap());
    assert_eq!(v6, Lease6::over_ipv4("fd00:0:0:1::/64".parse().unwrap(), &v4));
    // Without a tunnel there is no way for it.
    let mut bare = with_cidrs(&["10.244.1.0/24", "fd00:0:0:1::/64"]);
    bare.annotate(Key::BackendType, "host-gw");
    bare.annotate(Key::BackendData, "null");
    assert_eq!(to_leases(&bare).v6, Ok(None));
}

#[test]
fn the_last_subnet_of_each_family_counts_and_three_are_too_many() {
    let subnet =
        |cidrs: &[&str]| to_leases(&with_cidrs(cidrs)).v4.map(|lease| lease.unwrap().subnet);
    assert_eq!(subnet(&["10.244.1.0/24", "10.244.2.0/24"]), Ok("10.244.2.0/24".parse().unwrap()));
    assert_eq!(subnet(&["fd00::/64", "10.244.2.0/24"]), Ok("10.244.2.0/24".parse().unwrap()));
    let three = ["10.244.1.0/24", "fd00::/64", "10.244.2.0/24"];
    assert_eq!(subnet(&three), Err(LeaseFault::TooManyPodCidrs));
    let mut alone = node();
    alone["spec"] = json!({ "podCIDR": "10.244.7.0/24" });
    assert_eq!(to_leases(&read(&alone)).v4.unwrap().unwrap().subnet.to_string(), "10.244.7.0/24");
}

#[test]
fn each_fault_is_a_sentence_that_says_what_to_do() {
    assert_eq!(
        fault4(&with_cidrs(&["fd00::/64"])),
        "it has no IPv4 podCIDR: give it one, or remove its annotations"
    );
    assert!(
        fault4(&with_cidrs(&["10.244.1.7/24"]))
            .starts_with("podCIDR 10.244.1.7/24 has host bits set")
    );
    assert!(fault4(&with_cidrs(&["0.0.0.0/0"])).contains("no room for a node's pods"));
    assert!(fault4(&with(Key::PublicIp, None)).starts_with("it publishes no public-ip"));
    assert!(
        fault4(&with(Key::PublicIp, Some("x\x1b")))
            .starts_with(r#"public-ip = "x\u{1b}" is no IPv4"#)
    );
    assert!(
        fault4(&with(Key::BackendData, Some("null")))
            .starts_with("backend-data: backend data is not")
    );
    let zero = r#"{"VNI":1,"VtepMAC":"00:00:00:00:00:00"}"#;
    assert!(fault4(&with(Key::BackendData, Some(zero))).contains("VtepMAC"));
    let mut odd = dual();
    odd.pod_cidrs = vec!["fd00::1/64".into()];
    assert!(to_leases(&odd).v6.unwrap_err().to_string().contains("is no IPv6 subnet for pods"));
}

#[test]
fn what_is_too_large_is_a_fault_and_not_kept() {
    let long = "x".repeat(LONGEST_VALUE + 1);
    let record = with(Key::BackendData, Some(&long));
    let fault = RecordFault::ValueTooLong { key: Key::BackendData, bytes: LONGEST_VALUE + 1 };
    assert_eq!((record.fault.clone(), record.annotation(Key::BackendData)), (Some(fault), None));
    assert!(fault4(&record).starts_with("annotation backend-data has 4097 bytes"));

    let mut large = node();
    large["metadata"]["annotations"]["note"] = "x".repeat(LARGEST_OBJECT).into();
    let record = read(&large);
    assert!(matches!(record.fault, Some(RecordFault::ObjectTooLarge(_))));
    assert!(to_leases(&record).v4.is_err());

    let many = vec!["10.244.1.0/24"; 1000];
    assert_eq!(with_cidrs(&many).pod_cidrs.len(), 3);
}

#[test]
fn objects_without_a_name_or_a_version_are_no_nodes() {
    for (field, value) in [
        ("name", json!("")),
        ("name", json!("a\nb")),
        ("name", json!("x".repeat(254))),
        ("resourceVersion", json!("")),
        ("resourceVersion", json!("0")),
        ("annotations", json!([1])),
    ] {
        let mut node = node();
        node["metadata"][field] = value;
        let error = NodeRecord::from_json(&node.to_string(), &prefix()).unwrap_err().to_string();
        assert!(error.starts_with("a Node object cannot be read") && !error.contains('\n'));
    }
}

#[test]
fn a_claim_without_a_date_is_the_youngest() {
    let mut undated = node();
    undated["metadata"]["creationTimestamp"] = Value::Null;
    assert!(read(&undated).created > read(&node()).created);
}

fn publication() -> Publication {
    Publication {
        public_ip: "192.0.2.1".parse().ok(),
        backend: LeaseBackend::Vxlan(VxlanData::new(Vni::new(1).unwrap(), MAC.parse().unwrap())),
        ipv6: None,
    }
}

fn publication6() -> Publication {
    let backend = publication().backend;
    let ipv6 = Publication6 { public_ip: "2001:DB8:0::1".parse().unwrap(), backend };
    Publication { ipv6: Some(ipv6), ..publication() }
}

fn bare() -> NodeRecord {
    let mut record = read(&node());
    let keys = record.pod_cidrs.clone();
    record = NodeRecord::bare("node1", "0a1b", record.created);
    record.pod_cidrs = keys;
    record
}

#[test]
fn a_fresh_node_gets_flannels_annotations_byte_for_byte() {
    let record = bare();
    let patch = merge_patch(&prefix(), &difference(&record, wanted(&publication6(), &record)));
    let wanted = json!({ "metadata": { "annotations": {
        "flannel.alpha.coreos.com/kube-subnet-manager": "true",
        "flannel.alpha.coreos.com/backend-type": "vxlan",
        "flannel.alpha.coreos.com/backend-data": DATA,
        "flannel.alpha.coreos.com/backend-v6-data": DATA,
        "flannel.alpha.coreos.com/public-ip": "192.0.2.1",
        "flannel.alpha.coreos.com/public-ipv6": "2001:db8::1",
    } } });
    assert_eq!(serde_json::from_str::<Value>(&patch).unwrap(), wanted);
}

#[test]
fn flannels_restart_code_can_read_the_address_back() {
    // It trims quotes and braces and splits at `:"`, wanting exactly two pieces.
    let published = wanted(&publication(), &bare());
    let (_, data) = published.iter().find(|(key, _)| *key == Key::BackendData).unwrap();
    let trimmed = data.trim_matches(|letter| matches!(letter, '"' | '{' | '}'));
    let pieces: Vec<&str> = trimmed.split(":\"").collect();
    assert_eq!(pieces, [r#"VNI":1,"VtepMAC""#, MAC]);
}

#[test]
fn only_what_differs_is_patched_and_ipv6_keys_are_left_alone_without_ipv6() {
    assert_eq!(difference(&dual(), wanted(&publication(), &dual())), []);
    assert_eq!(difference(&dual(), wanted(&publication6(), &dual())), []);
    let moved = with(Key::PublicIp, Some("192.0.2.9"));
    let wanted = wanted(&publication(), &moved);
    assert_eq!(difference(&moved, wanted), [(Key::PublicIp, "192.0.2.1".to_owned())]);
}

#[test]
fn an_overwrite_is_what_is_published_and_nonsense_in_it_is_passed_over() {
    let mut record = with(Key::PublicIpOverwrite, Some("203.0.113.7"));
    record.annotate(Key::PublicIpv6Overwrite, "2001:db8::7");
    let (v4, v6) = published_addresses(&publication6(), &record);
    assert_eq!(
        (v4.unwrap().to_string(), v6.unwrap().to_string()),
        ("203.0.113.7".to_owned(), "2001:db8::7".to_owned())
    );
    for nonsense in ["", "x", "203.0.113.7 "] {
        let record = with(Key::PublicIpOverwrite, Some(nonsense));
        assert_eq!(published_addresses(&publication(), &record).0, publication().public_ip);
    }
}

fn networks() -> Networks {
    Networks { v4: "10.244.0.0/16".parse().ok(), v6: "fd00::/48".parse().ok() }
}

#[test]
fn what_the_node_holds_is_its_pod_cidr_with_what_it_publishes() {
    let own = own_leases(&dual(), &publication6(), networks()).unwrap();
    assert_eq!(own.v4, to_leases(&dual()).v4.unwrap());
    assert_eq!(own.v6.unwrap(), to_leases(&dual()).v6.unwrap());
    let own = own_leases(&bare(), &publication6(), networks()).unwrap();
    assert!(matches!(own.v6, Err(OwnFault::Missing { .. })));
    assert_eq!(own_leases(&bare(), &publication(), networks()).unwrap().v6, Ok(None));
}

#[test]
fn what_keeps_a_node_from_holding_a_subnet_starts_as_in_flannel() {
    let text = |record: &NodeRecord| {
        own_leases(record, &publication(), networks()).unwrap_err().to_string()
    };
    let missing = text(&with_cidrs(&[]));
    assert!(missing.starts_with(r#"node "node1" pod cidr not assigned"#), "{missing}");
    assert!(missing.contains("--cluster-cidr=10.244.0.0/16"), "{missing}");
    let outside = text(&with_cidrs(&["10.9.1.0/24"]));
    let wanted = r#"subnet "10.244.0.0/16" specified in the flannel net config doesn't contain "10.9.1.0/24" PodCIDR of the "node1" node"#;
    assert!(outside.starts_with(wanted), "{outside}");
    assert!(text(&with_cidrs(&["10.244.1.7/24"])).contains("host bits"));
}

#[test]
fn wishes_are_read_from_the_own_node_and_nonsense_counts_as_none() {
    let mut record = read(&node());
    assert_eq!(wishes(&record), OwnWishes { vtep_mac: MAC.parse().ok(), ..OwnWishes::default() });
    record.annotate(Key::NodePublicIp, "203.0.113.1");
    record.annotate(Key::NodePublicIpv6, "nonsense");
    record.annotate(Key::BackendData, "nonsense");
    let public_ip = "203.0.113.1".parse().ok();
    assert_eq!(wishes(&record), OwnWishes { public_ip, ..OwnWishes::default() });
}

proptest! {
    #[test]
    fn noise_is_refused_without_a_panic(text in "\\PC{0,80}") {
        drop(NodeRecord::from_json(&text, &prefix()));
        drop(text.parse::<AnnotationPrefix>());
    }

    #[test]
    fn noise_in_any_place_never_panics_and_never_reaches_a_text_raw(
        values in prop::collection::vec(".{0,60}", Key::COUNT), cidrs in prop::collection::vec(".{0,80}", 0..5),
    ) {
        let mut node = node();
        node["spec"] = json!({ "podCIDRs": cidrs });
        for (key, value) in Key::ALL.into_iter().zip(&values) {
            node["metadata"]["annotations"][prefix().key(key)] = value.as_str().into();
        }
        let mut record = read(&node);
        record.annotate(Key::SubnetManager, "true");
        let leases = to_leases(&record);
        let texts = [leases.v4.err(), leases.v6.err()].into_iter().flatten().map(|fault| fault.to_string());
        let own = own_leases(&record, &publication6(), networks());
        for text in texts.chain(own.err().map(|fault| fault.to_string())) {
            prop_assert!(!text.chars().any(char::is_control), "{:?}", text);
        }
    }

    #[test]
    fn what_is_published_is_read_back(bytes: [u8; 6], vni in 1_u64..1 << 24, address: u32, prefix_len in 17_u8..=30) {
        let backend = VxlanData::new(Vni::new(vni).unwrap(), Mac::local(bytes));
        let wanted_backend = LeaseBackend::Vxlan(backend);
        let publication =
            Publication { backend: wanted_backend, public_ip: Some(address.into()), ipv6: None };
        let subnet = Ipv4Net::new([10, 244, 128, 0].into(), prefix_len).unwrap();
        let mut record = bare();
        record.pod_cidrs = vec![subnet.to_string().into()];
        let own = own_leases(&record, &publication, networks()).unwrap().v4;
        for (key, value) in wanted(&publication, &record) {
            record.annotate(key, &value);
        }
        prop_assert_eq!(to_leases(&record).v4, Ok(own));
        prop_assert_eq!(wishes(&record).vtep_mac, Some(backend.vtep_mac));
    }
}
