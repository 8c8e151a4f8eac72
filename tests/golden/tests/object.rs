//! What bpftool and the kernel see of the compiled object.

use aya::EbpfLoader;
use aya::programs::SchedClassifier;
use nix::unistd::geteuid;
use tartan_common::abi::MAPS;
use tartan_datapath::{ProgramName, logging_object, object};

/// Instructions that the verifier processed, at most: growth is noticed in review.
const CEILINGS: [(&str, u32); 6] = [
    ("pod_egress", 25_000),
    ("pod_ingress", 10_000),
    ("overlay_egress", 12_000),
    ("overlay_ingress", 12_000),
    ("uplink_ingress", 60_000),
    ("uplink_egress", 4_000),
];

#[test]
fn the_object_has_every_program_every_map_and_btf() {
    for bytes in [object(), logging_object()] {
        let text = String::from_utf8_lossy(bytes);
        for section in [".BTF", ".BTF.ext", "license"] {
            assert!(text.contains(section), "{section} is missing");
        }
        for program in ProgramName::ALL {
            assert!(text.contains(program.as_str()) && program.as_str().len() <= 15);
        }
        for map in MAPS {
            assert!(text.contains(map.name), "{} is missing", map.name);
        }
    }
}

#[test]
fn the_production_object_logs_nothing() {
    let has_log = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains("AYA_LOG");
    assert!(!has_log(object()) && has_log(logging_object()));
}

#[test]
fn the_verifier_accepts_every_program_below_its_ceiling() {
    if !geteuid().is_root() {
        println!("SKIP loading programs needs root: run `sudo -E cargo xtask test`");
        return;
    }
    for bytes in [object(), logging_object()] {
        let is_production = bytes.len() == object().len();
        let mut ebpf = EbpfLoader::new().load(bytes).unwrap();
        for (name, ceiling) in CEILINGS {
            let program: &mut SchedClassifier = ebpf.program_mut(name).unwrap().try_into().unwrap();
            program.load().unwrap();
            let info = program.info().unwrap();
            assert_eq!(info.name_as_str(), Some(name));
            assert!(info.gpl_compatible() == Some(true) && info.btf_id().is_some_and(|id| id > 0));
            let verified = info.verified_instruction_count().unwrap();
            println!("{name}: {verified} verified, {} bytes", info.size_translated().unwrap_or(0));
            assert!(!is_production || verified <= ceiling, "{name}: {verified} > {ceiling}");
        }
    }
}
