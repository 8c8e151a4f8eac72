//! The loop: take an input, change it, run it, keep it if it reached something new.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::coverage::Counters;
use crate::mutator::{Rng, mutate};
use crate::targets::Target;

/// What a run came to.
#[derive(Debug, Default)]
pub struct Report {
    /// Inputs that were run.
    pub inputs: u64,
    /// Edges that were taken, of how many.
    pub edges: (usize, usize),
    /// Inputs that each reach something that those before them do not.
    pub kept: Vec<Vec<u8>>,
    /// The input that broke a rule, and the rule.
    pub broken: Option<(Vec<u8>, String)>,
}

/// Runs one input.
///
/// # Errors
/// What is broken, a panic included.
pub fn judge(target: &Target, input: &[u8]) -> Result<(), String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| (target.check)(input)));
    outcome.unwrap_or_else(|_| Err("it panicked".to_owned()))
}

/// Searches for so long, from these inputs on.
#[must_use]
pub fn search(
    target: &Target,
    counters: &mut Counters,
    mut start: Vec<Vec<u8>>,
    seed: u64,
    budget: Duration,
) -> Report {
    counters.forget();
    let mut report = Report::default();
    let mut rng = Rng(seed);
    // The shortest first: what is kept is small.
    start.sort_by_key(Vec::len);
    let mut start = start.into_iter();
    // What the code compared when it saw each input that was kept.
    let mut compared: Vec<Vec<(u64, u64)>> = Vec::new();
    let begun = Instant::now();
    // The clock is asked now and then only.
    while !report.inputs.is_multiple_of(64) || start.len() > 0 || begun.elapsed() < budget {
        let input = start.next().unwrap_or_else(|| {
            let parent = rng.below(report.kept.len());
            let mut input = report.kept.get(parent).cloned().unwrap_or_default();
            let compared = compared.get(parent).map_or(&[][..], Vec::as_slice);
            mutate(&mut rng, &mut input, &report.kept, compared);
            input
        });
        report.inputs += 1;
        counters.reset();
        if let Err(what) = judge(target, &input) {
            report.broken = Some((input, what));
            break;
        }
        let unequal = counters.unequal();
        if counters.is_new() {
            report.kept.push(input);
            compared.push(unequal);
        }
    }
    report.edges = (counters.taken(), counters.edges());
    report
}
