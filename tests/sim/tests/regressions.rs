//! Every fault that was found once, each by the smallest thing that shows it, and the seeds that
//! found it.

use std::time::Duration;

use tartan_core::annotations::{
    AnnotationPrefix, Key, LONGEST_VALUE, Networks, NodeRecord, Publication, own_leases,
};
use tartan_core::reflector::{Failure, Page, Reflector, ReflectorConfig, Version, parse_page};
use tartan_core::{LeaseBackend, Timestamp, VxlanData};
use tartan_sim::fuzz::is_fit_for_a_log;
use tartan_sim::mutant::Mutant;
use tartan_sim::runner::{explain, run};
use tartan_sim::{NETWORK, VNI};

fn keeps_every_promise(seed: u64) {
    assert!(run(seed, None).is_ok(), "{}", explain(seed, None, false));
}

/// The first seed in which a node lost its lease to an attacker who filled one of its annotations.
#[test]
fn seed_1_a_long_annotation_on_the_own_node_does_not_keep_its_agent_out() {
    let mut record = NodeRecord::bare("n", "u", Timestamp::default());
    record.pod_cidrs = vec!["10.244.1.0/24".into()];
    record.annotate(Key::SubnetManager, &"x".repeat(LONGEST_VALUE + 1));
    assert!(record.fault.is_some());
    let vni = tartan_common::Vni::new(u64::from(VNI)).ok();
    let vtep_mac = tartan_common::Mac::local([1; 6]);
    let backend = LeaseBackend::Vxlan(VxlanData { vni, vtep_mac });
    let publication = Publication {
        public_ip: Some(std::net::Ipv4Addr::new(172, 30, 0, 1)),
        backend,
        ipv6: None,
    };
    let own = own_leases(&record, &publication, Networks { v4: Some(NETWORK), v6: None });
    assert!(own.is_ok_and(|own| own.v4.unwrap().subnet.to_string() == "10.244.1.0/24"));
    keeps_every_promise(1);
}

/// A memory that was due when the own Node vanished made each pass follow the last at once.
#[test]
fn seed_3_a_memory_that_is_due_does_not_make_the_agent_run_in_circles() {
    keeps_every_promise(3);
    let broken = (0..200).find_map(|seed| run(seed, Some(Mutant::HoldTheMemoryBack)).err());
    assert_eq!(broken.map(|it| it.promise), Some("no agent runs in circles"));
}

/// Clocks that jumped made a server that lagged look like a storage that was restored: one list
/// too old before the jump, one after it.
#[test]
fn seed_27_a_clock_that_jumps_does_not_take_the_mirror_back() {
    let page = |version| Page {
        version: Version::from_number(version),
        continue_token: None,
        items: Vec::new(),
        unreadable: Vec::new(),
    };
    let mut mirror = Reflector::new(ReflectorConfig::default(), 1);
    mirror.page(Duration::from_secs(1), page(48));
    mirror.failed(Duration::from_secs(2), &Failure::Gone);
    mirror.page(Duration::from_secs(3), page(37));
    mirror.page(Duration::from_hours(1), page(37));
    assert_eq!(mirror.version(), Some(&Version::from_number(48)));
    keeps_every_promise(27);
}

#[test]
fn input_2838_a_version_with_a_control_character_is_none() {
    assert_eq!(Version::new("77\u{85}"), None);
}

#[test]
fn input_688_a_node_that_cannot_be_read_is_told_in_one_short_line() {
    let text = format!("\"{}\"", "[".repeat(100_000));
    let error = NodeRecord::from_json(&text, &AnnotationPrefix::default()).unwrap_err();
    assert_eq!(is_fit_for_a_log(&error.to_string()), Ok(()));
    let list = format!(r#"{{"metadata":{{"resourceVersion":"7"}},"items":[{text}]}}"#);
    let page = parse_page(list.as_bytes(), &AnnotationPrefix::default()).unwrap();
    assert_eq!(page.unreadable.len(), 1);
    assert_eq!(is_fit_for_a_log(&page.unreadable[0]), Ok(()));
}

/// The same seed is the same fate, or else none of these tests means anything.
#[test]
fn a_seed_always_leads_to_the_same_end() {
    for seed in [0, 7, 11] {
        assert_eq!(run(seed, None), run(seed, None));
    }
    assert_ne!(run(1, None), run(2, None));
}
