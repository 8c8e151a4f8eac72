//! Everything that reads hostile bytes, under bytes that are hostile.
//!
//! No instrumentation is needed: the mutator starts from valid texts, knows JSON's seams and a
//! dictionary, and keeps every input whose outcome (the error's words, or what was accepted) is
//! new. The same seed gives the same inputs.
//!
//! | Module | Holds |
//! |---|---|
//! | `mutator` | from valid texts to hostile ones |
//! | `corpus` | the valid texts and the dictionary |
//! | `targets` | one parser each, and what must hold of its answers |
//! | `cluster` | hostile Nodes beside honest ones |

pub mod cluster;
pub mod corpus;
pub mod mutator;
pub mod targets;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

use self::mutator::Mutator;

/// One input takes no more of a processor; how long it waits for one does not count.
const SLOWEST: Duration = Duration::from_secs(2);
/// So many inputs with new outcomes are kept.
const KEPT: usize = 4000;

/// A parser, and what must hold of what it says.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Valid inputs to start from.
    pub corpus: &'static [&'static str],
    /// Reads one input. `Ok` is the kind of the outcome in a few words, `Err` what is wrong.
    pub check: fn(&[u8]) -> Result<String, String>,
}

/// What a run came to.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Inputs.
    pub inputs: u64,
    /// Outcomes of different kinds.
    pub kinds: usize,
    /// The slowest input.
    pub slowest: Duration,
    /// The input that broke a rule, and the rule.
    pub broken: Option<(Vec<u8>, String)>,
}

/// Runs a target for so long.
#[must_use]
pub fn run(target: Target, seed: u64, budget: Duration) -> Report {
    let mut mutator = Mutator::new(seed, target.corpus);
    let mut kinds = BTreeSet::new();
    let mut report = Report::default();
    let started = Instant::now();
    while started.elapsed() < budget {
        // The clock is asked now and then only.
        for _ in 0..50 {
            let input = mutator.input();
            report.inputs += 1;
            match judge(target, &input, &mut report.slowest) {
                Ok(kind) => {
                    if kinds.len() < KEPT && kinds.insert(kind) {
                        mutator.keep(input);
                    }
                }
                Err(what) => {
                    report.broken = Some((input, what));
                    return report;
                }
            }
        }
    }
    report.kinds = kinds.len();
    report
}

fn judge(target: Target, input: &[u8], slowest: &mut Duration) -> Result<String, String> {
    let started = processor_time();
    let outcome = catch_unwind(AssertUnwindSafe(|| (target.check)(input)));
    let took = processor_time().saturating_sub(started);
    *slowest = took.max(*slowest);
    if took > SLOWEST {
        return Err(format!("it took {took:?}"));
    }
    outcome.unwrap_or_else(|_| Err("it panicked".to_owned())).map(|kind| without_numbers(&kind))
}

/// What this thread has used so far; it stands still where the kernel cannot tell.
fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}

/// Two errors that differ in a number are of one kind.
fn without_numbers(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_ascii_digit()).take(120).collect()
}

/// A text that a log may repeat: one line of bounded length, without control characters.
///
/// # Errors
/// When it is not.
pub fn is_fit_for_a_log(text: &str) -> Result<(), String> {
    if text.chars().count() > 1000 {
        return Err(format!("a text of {} bytes: {:?}", text.len(), start(text)));
    }
    is_one_line(text)
}

/// A text without control characters, of any length.
///
/// # Errors
/// When it is not.
pub fn is_one_line(text: &str) -> Result<(), String> {
    match text.chars().find(|letter| letter.is_control()) {
        Some(letter) => Err(format!("the text {:?} contains {letter:?}", start(text))),
        None => Ok(()),
    }
}

fn start(text: &str) -> String {
    text.chars().take(200).collect()
}
