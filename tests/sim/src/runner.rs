//! Many seeds, over threads; each simulation by itself has one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::mutant::Mutant;
use crate::trace::Trace;
use crate::world::{Figures, Violation, World};

/// What many seeds came to.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// How many seeds were run.
    pub seeds: u64,
    /// The sum of their figures.
    pub figures: Figures,
    /// How long it took.
    pub took: Duration,
    /// The first seed that broke a promise, and how.
    pub broken: Option<(u64, Violation)>,
}

/// Runs one seed.
///
/// # Errors
/// The promise that was not kept.
pub fn run(seed: u64, mutant: Option<Mutant>) -> Result<Figures, Violation> {
    World::new(seed, mutant, Trace::off()).run()
}

/// Runs one seed and tells what happened: all of it, or the end of it.
#[must_use]
pub fn explain(seed: u64, mutant: Option<Mutant>, aloud: bool) -> String {
    let mut world = World::new(seed, mutant, Trace::on(aloud));
    match world.run() {
        Ok(figures) => format!("seed {seed}: every promise was kept\n{figures:?}"),
        Err(Violation { promise, what, step, at }) => format!(
            "seed {seed}, step {step}, {at} ms: broken promise: {promise}\n{what}\n\nThe end of what \
             happened (all of it: TARTAN_SEED={seed} cargo test -p tartan-sim seeds -- --nocapture)\n{}",
            world.trace().tail()
        ),
    }
}

/// Runs the seeds `first..first + count`, or up to the first broken promise.
#[must_use]
pub fn run_many(first: u64, count: u64, mutant: Option<Mutant>) -> Summary {
    let started = Instant::now();
    let next = AtomicU64::new(first);
    let stop_at = AtomicU64::new(first + count);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut summary = Summary::default();
    std::thread::scope(|scope| {
        let worker = || work(&next, &stop_at, mutant);
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        for worker in workers {
            if let Ok(part) = worker.join() {
                summary.add(part);
            }
        }
    });
    summary.took = started.elapsed();
    summary
}

fn work(next: &AtomicU64, stop_at: &AtomicU64, mutant: Option<Mutant>) -> Summary {
    let mut summary = Summary::default();
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= stop_at.load(Ordering::Relaxed) {
            return summary;
        }
        summary.seeds += 1;
        match run(seed, mutant) {
            Ok(figures) => summary.figures.add(figures),
            Err(violation) => {
                stop_at.fetch_min(seed, Ordering::Relaxed);
                summary.blame(seed, violation);
            }
        }
    }
}

impl Summary {
    fn add(&mut self, part: Self) {
        self.seeds += part.seeds;
        self.figures.add(part.figures);
        if let Some((seed, violation)) = part.broken {
            self.blame(seed, violation);
        }
    }

    fn blame(&mut self, seed: u64, violation: Violation) {
        if self.broken.as_ref().is_none_or(|(first, _)| seed < *first) {
            self.broken = Some((seed, violation));
        }
    }
}

impl Figures {
    fn add(&mut self, other: Self) {
        self.steps += other.steps;
        self.passes += other.passes;
        self.faults += other.faults;
        self.comparisons += other.comparisons;
        self.overtaken += other.overtaken;
        self.forgotten += other.forgotten;
    }
}
