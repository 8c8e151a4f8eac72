//! The golden table, in every gate, and mutants of its frames.

use tartan_common::abi::{Counted, FastPath, NodeConfig};
use tartan_golden::fixture::{Memory, config};
use tartan_golden::{Case, Verdict, cases, run};

use crate::support::{Kernel, coarse_clock, identification, may_run};

fn check(kernel: &mut Kernel, case: &Case, expected: Option<Verdict>) {
    while !check_in_one_tick(kernel, &config(), case, expected) {}
}

/// Says whether the clock stood still meanwhile: only then is it sure what the program saw.
fn check_in_one_tick(
    kernel: &mut Kernel,
    config: &NodeConfig,
    case: &Case,
    expected: Option<Verdict>,
) -> bool {
    let memory = Memory { now: coarse_clock(), ..Memory::new() };
    case.prepare(config, &memory);
    kernel.set_flows(&memory);
    let before = kernel.counters();
    let (code, out) = kernel.run(case.hook, &case.frame, case.gso_size);
    if coarse_clock() != memory.now {
        return false;
    }
    let mut frame = case.frame.clone();
    let id = identification(&out);
    let verdict = run(case.hook, &mut frame, &case.meta(), config, &memory, id);
    if let Some(expected) = expected {
        assert_eq!(verdict, expected, "{}", case.name);
    }
    assert_eq!(code, verdict.code(), "{}: {verdict:?}\nframe {:02x?}", case.name, case.frame);
    if !matches!(verdict, Verdict::Drop(_)) {
        assert_eq!(out, frame, "{}: kernel left, host right", case.name);
    }
    if let Verdict::Drop(reason) = verdict {
        let slot = usize::try_from(Counted::Reason(reason).slot()).unwrap();
        assert_eq!(kernel.counters()[slot], before[slot] + 1, "{}: not counted", case.name);
    }
    assert_eq!(kernel.get_flows("FLOWS"), *memory.flows.borrow(), "{}: flows differ", case.name);
    assert_eq!(kernel.get_flows("FLOWS6"), *memory.flows6.borrow(), "{}: flows differ", case.name);
    true
}

#[test]
fn every_case_is_byte_equal_to_the_host() {
    if !may_run() {
        return;
    }
    let mut kernel = Kernel::load();
    for case in cases() {
        check(&mut kernel, &case, Some(case.expected));
    }
}

/// Every gate whose answer depends on the time.
fn timed() -> [NodeConfig; 3] {
    let now = u32::try_from(coarse_clock() / 1_000_000_000).unwrap();
    [
        NodeConfig { fast_path: FastPath::AfterAccept as u32, ..config() },
        NodeConfig { on_until: now + 3600, ..config() },
        NodeConfig { on_until: now.saturating_sub(1).max(1), ..config() },
    ]
}

#[test]
fn the_kernel_reads_the_same_clock_as_the_host() {
    if !may_run() {
        return;
    }
    let mut kernel = Kernel::load();
    for config in timed() {
        kernel.configure(&config);
        for case in cases() {
            while !check_in_one_tick(&mut kernel, &config, &case, None) {}
        }
    }
}

#[test]
fn a_right_that_runs_out_between_two_packets_takes_every_flow_along() {
    if !may_run() {
        return;
    }
    let mut kernel = Kernel::load();
    let is_fast = |case: &Case| case.direct && case.expected == Verdict::ToWire;
    let case = cases().into_iter().find(is_fast).unwrap();
    let [_, good, over] = timed();
    let memory = Memory { now: coarse_clock(), ..Memory::new() };
    case.prepare(&good, &memory);
    for (config, code) in [(good, Verdict::ToWire.code()), (over, Verdict::Next.code())] {
        kernel.configure(&config);
        kernel.set_flows(&memory);
        assert_eq!(kernel.run(case.hook, &case.frame, 0).0, code, "{}", case.name);
    }
}

#[test]
fn thousands_of_mutated_frames_end_alike() {
    if !may_run() {
        return;
    }
    let mut kernel = Kernel::load();
    let table = cases();
    // A linear congruential generator (Numerical Recipes): the same frames in every run.
    let mut seed = 20_u32;
    let mut random = move || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        usize::try_from(seed >> 8).unwrap()
    };
    for _ in 0..10_000 {
        let mut case = table[random() % table.len()].clone();
        for _ in 0..=random() % 3 {
            let at = random() % case.frame.len();
            case.frame[at] ^= u8::try_from(random() % 255).unwrap() + 1;
        }
        // The kernel's test run takes no frame without the IP header that its type promises.
        let least = if case.frame[12..14] == [0x86, 0xdd] { 54 } else { 34 };
        case.frame.truncate((random() % 220).max(least));
        check(&mut kernel, &case, None);
    }
}
