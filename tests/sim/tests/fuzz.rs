//! Hostile bytes break no rule. `TARTAN_FUZZ_SECONDS` (2) per parser, `TARTAN_FUZZ_SEED`.

use std::time::Duration;

use tartan_sim::fuzz::targets::TARGETS;
use tartan_sim::fuzz::{Target, run};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn fuzz(name: &str) {
    let seconds = Duration::from_secs(number("TARTAN_FUZZ_SECONDS", 2));
    let seed = number("TARTAN_FUZZ_SEED", 1);
    let target = TARGETS.into_iter().find(|target| target.name == name);
    let report = target.map(|target| run(target, seed, seconds)).unwrap_or_default();
    println!(
        "{name}: seed {seed}, {} inputs, {} kinds of outcomes, the slowest {:?}",
        report.inputs, report.kinds, report.slowest
    );
    let shown = report.broken.map(|(input, rule)| {
        let input = String::from_utf8_lossy(&input[..input.len().min(4000)]).into_owned();
        format!("{name}: {rule}\nseed {seed}, input {}:\n{input:?}", report.inputs)
    });
    assert_eq!(shown, None);
    assert!(report.inputs > 0, "{name} was not run");
}

macro_rules! targets {
    ($($test:ident: $name:literal;)*) => {
        $(
            #[test]
            fn $test() {
                fuzz($name);
            }
        )*

        #[test]
        fn every_target_has_its_test() {
            assert_eq!(TARGETS.map(|target| target.name), [$($name),*]);
        }
    };
}

targets! {
    hostile_nodes_take_nothing_from_honest_ones: "Node objects";
    hostile_answers_of_an_api_server_are_survived: "API answers";
    hostile_annotations_take_nothing_from_honest_nodes: "annotations";
    hostile_backend_data_is_refused_or_a_stations: "backend data";
    hostile_prefixes_are_refused_or_names: "annotation prefixes";
    hostile_net_conf_is_refused_in_one_line: "net-conf";
    a_hostile_subnet_env_is_refused_in_one_line: "subnet.env";
    a_hostile_memory_is_refused_in_one_line: "last-known";
}

#[test]
fn a_broken_rule_is_found() {
    let check = |input: &[u8]| {
        let text = String::from_utf8_lossy(input);
        if text.contains("0.0.0.0/0") { Err("found".to_owned()) } else { Ok(String::new()) }
    };
    let target = Target { name: "mutant", corpus: &["10.244.1.0/24"], check };
    let report = run(target, 1, Duration::from_secs(20));
    assert_eq!(report.broken.map(|(_, rule)| rule), Some("found".to_owned()));
}
