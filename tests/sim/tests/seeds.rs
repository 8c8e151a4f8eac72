//! Every seed keeps every promise.

use tartan_sim::runner::{explain, run_many};

/// As many as fit into a minute of two cores; without optimisation a sample.
const SEEDS: u64 = if cfg!(debug_assertions) { 300 } else { 10_000 };

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn seeds_keep_every_promise() {
    if let Some(seed) = number("TARTAN_SEED") {
        let text = explain(seed, None, true);
        println!("{text}");
        assert!(!text.contains("broken promise"), "{text}");
        return;
    }
    let count = number("TARTAN_SEEDS").unwrap_or(SEEDS);
    let summary = run_many(0, count, None);
    println!("{} seeds in {:?}: {:?}", summary.seeds, summary.took, summary.figures);
    if let Some((seed, _)) = summary.broken {
        panic!("{}", explain(seed, None, false));
    }
}
