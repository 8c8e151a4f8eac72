//! What bpftool and the kernel see of the compiled object.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use aya::EbpfLoader;
use aya::programs::SchedClassifier;
use aya_obj::generated::bpf_insn;
use nix::unistd::geteuid;
use tartan_common::abi::MAPS;
use tartan_datapath::{ProgramName, logging_object, object};

/// Instructions that the verifier processed, and bytes of stack, at most: growth is noticed in
/// review.
const CEILINGS: [(&str, u32, i32); 6] = [
    ("pod_egress", 25_000, 480),
    ("pod_ingress", 10_000, 480),
    ("overlay_egress", 12_000, 480),
    ("overlay_ingress", 12_000, 480),
    ("uplink_ingress", 60_000, 480),
    ("uplink_egress", 4_000, 320),
];
/// The kernel's limit for a program with all that it calls (`MAX_BPF_STACK`).
const STACK: i32 = 512;
/// How long a node may take to load all programs.
const LOADED_WITHIN: Duration = Duration::from_millis(500);

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
fn all_programs_are_loaded_in_time() {
    if !geteuid().is_root() {
        println!("SKIP loading programs needs root: run `sudo -E cargo xtask test`");
        return;
    }
    let load = || {
        let start = Instant::now();
        let mut ebpf = EbpfLoader::new().load(object()).unwrap();
        for name in ProgramName::ALL {
            let program = ebpf.program_mut(name.as_str()).unwrap();
            let program: &mut SchedClassifier = program.try_into().unwrap();
            program.load().unwrap();
        }
        start.elapsed()
    };
    // Other work on the machine can only add to the shortest.
    let shortest = (0..5).map(|_| load()).min().unwrap();
    println!("all programs loaded in {shortest:?}");
    assert!(shortest < LOADED_WITHIN, "{shortest:?}");
}

#[test]
fn no_program_takes_more_stack_than_it_may() {
    let object = aya_obj::Object::parse(object()).unwrap();
    let depths: BTreeMap<_, _> =
        object.functions.values().map(|it| (it.name.as_str(), depth(&it.instructions))).collect();
    println!("{depths:?}");
    let is_program = |name: &str| CEILINGS.iter().any(|(program, ..)| *program == name);
    let called: i32 = depths.iter().filter(|(name, _)| !is_program(name)).map(|(_, it)| it).sum();
    for (name, _, ceiling) in CEILINGS {
        let depth = depths[name];
        assert!(depth > 0 && depth <= ceiling, "{name}: {depth} bytes");
        assert!(depth + called <= STACK, "{name}: {depth} and {called} bytes");
    }
}

/// How far a function reaches below its frame pointer: by a load or store relative to it, or by
/// a copy of it that is moved.
fn depth(instructions: &[bpf_insn]) -> i32 {
    const FRAME: u8 = 10;
    const COPY: u8 = 0xbf;
    const ADD: u8 = 0x07;
    let mut deepest = 0;
    for pair in instructions.windows(2) {
        let [one, next] = pair else { continue };
        let through_frame = match one.code & 7 {
            1 => one.src_reg() == FRAME,
            2 | 3 => one.dst_reg() == FRAME,
            _ => false,
        };
        if through_frame {
            deepest = deepest.min(i32::from(one.off));
        }
        let copied = one.code == COPY && one.src_reg() == FRAME;
        if copied && next.code == ADD && next.dst_reg() == one.dst_reg() {
            deepest = deepest.min(next.imm);
        }
    }
    -deepest
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
        for (name, ceiling, _) in CEILINGS {
            let program: &mut SchedClassifier = ebpf.program_mut(name).unwrap().try_into().unwrap();
            program.load().unwrap();
            let info = program.info().unwrap();
            assert_eq!(info.name_as_str(), Some(name));
            assert!(info.gpl_compatible() == Some(true) && info.btf_id().is_some_and(|id| id > 0));
            let verified = info.verified_instruction_count().unwrap();
            println!("{name}: {verified} instructions verified");
            assert!(!is_production || verified <= ceiling, "{name}: {verified} > {ceiling}");
        }
    }
}
