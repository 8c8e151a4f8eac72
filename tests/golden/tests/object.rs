//! What bpftool and the kernel see of the compiled object.

#![expect(clippy::unwrap_used, reason = "a test: a failure is a panic")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use std::{env, fs};

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
    ("uplink_ingress", 75_000, 480),
    ("uplink_egress", 10_000, 320),
];
/// The kernel's limit for a program with all that it calls (`MAX_BPF_STACK`).
const STACK: i32 = 512;
/// How long a node may take to load all programs, and ten times that: beyond it something is
/// wrong, whatever else the machine does.
const GOAL: Duration = Duration::from_millis(500);
const LIMIT: Duration = Duration::from_secs(5);
/// The committed table of sizes.
const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/programs.txt");

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
    println!("all programs loaded in {shortest:?}; the goal is {GOAL:?}");
    assert!(shortest < LIMIT, "{shortest:?}");
}

/// Bytes of stack of each function.
fn depths() -> BTreeMap<String, i32> {
    let object = aya_obj::Object::parse(object()).unwrap();
    let functions = object.functions.values();
    functions.map(|it| (it.name.clone(), depth(&it.instructions))).collect()
}

#[test]
fn no_program_takes_more_stack_than_it_may() {
    let depths = depths();
    println!("{depths:?}");
    let is_program = |name: &str| CEILINGS.iter().any(|(program, ..)| *program == name);
    let called: i32 = depths.iter().filter(|(name, _)| !is_program(name)).map(|(_, it)| it).sum();
    for (name, _, ceiling) in CEILINGS {
        let depth = depths[name];
        assert!(depth > 0 && depth <= ceiling, "{name}: {depth} bytes");
        assert!(depth + called <= STACK, "{name}: {depth} and {called} bytes");
    }
}

/// One line per program: its name, instructions verified, bytes of stack.
fn sizes() -> Vec<(String, u32, i32)> {
    let mut ebpf = EbpfLoader::new().load(object()).unwrap();
    let depths = depths();
    let size = |(name, ..): (&str, u32, i32)| {
        let program: &mut SchedClassifier = ebpf.program_mut(name).unwrap().try_into().unwrap();
        program.load().unwrap();
        let verified = program.info().unwrap().verified_instruction_count().unwrap();
        (name.to_owned(), verified, depths[name])
    };
    CEILINGS.into_iter().map(size).collect()
}

fn rendered(sizes: &[(String, u32, i32)]) -> String {
    let head = "# Sizes of the programs. Generated, on Linux 6.18, as root: TARTAN_BLESS=1 cargo test -p \
                tartan-golden\n\
                # program | instructions that the verifier processed, at most | bytes of stack, at most\n";
    let line = |((name, verified, depth), (_, most, deepest)): (&(String, u32, i32), _)| {
        let (most, deepest): (u32, i32) = (most, deepest);
        format!("{name} | {verified} {most} | {depth} {deepest}\n")
    };
    let lines: String = sizes.iter().zip(CEILINGS).map(line).collect();
    head.to_owned() + &lines
}

/// Whether a number moved by no more than a tenth: other kernels and compilers differ a little.
fn is_near(one: &str, other: &str) -> bool {
    match (one.parse::<i64>(), other.parse::<i64>()) {
        (Ok(one), Ok(other)) => (one - other).abs() * 10 <= one.max(other),
        _ => one == other,
    }
}

#[test]
fn the_committed_table_of_sizes_is_true() {
    if !geteuid().is_root() {
        println!("SKIP loading programs needs root: run `sudo -E cargo xtask test`");
        return;
    }
    let now = rendered(&sizes());
    if env::var_os("TARTAN_BLESS").is_some() {
        fs::write(TABLE, &now).unwrap();
    }
    let committed = fs::read_to_string(TABLE).unwrap_or_default();
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let (now, committed) = (words(&now), words(&committed));
    let is_true = now.len() == committed.len()
        && now.iter().zip(&committed).all(|(one, other)| is_near(one, other));
    assert!(
        is_true,
        "programs.txt is outdated: TARTAN_BLESS=1 cargo test -p tartan-golden\n{now:?}"
    );
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
