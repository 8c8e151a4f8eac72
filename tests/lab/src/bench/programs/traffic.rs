//! The programs on two nodes under traffic, by the kernel's own statistics (`BPF_ENABLE_STATS`),
//! which are on only meanwhile: what a test run shows, in the company of everything else.

use std::time::Duration;

use anyhow::{Context as _, Result};
use aya::programs::SchedClassifier;
use aya::sys::{Stats, enable_stats};
use serde::Serialize;
use tartan_datapath::pins;
use tartan_golden::Hook;
use tartan_golden::fixture::{Memory, config};

use super::foreign;
use super::kernel::Kernel;
use crate::bench::contender::Contender;
use crate::bench::metric::Metric;
use crate::bench::sample;

/// Calls of a program whose cost is known, to see what the statistics cost.
const REPEAT: u32 = 200_000;

/// One program under traffic.
#[derive(Debug, Clone, Serialize)]
pub(in crate::bench) struct InTraffic {
    pub(in crate::bench) program: &'static str,
    /// Per call; what the statistics cost is taken off.
    pub(in crate::bench) nanoseconds: f64,
    pub(in crate::bench) calls: u64,
}

/// What the kernel has counted.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    time: Duration,
    calls: u64,
}

/// Nanoseconds per call while `metric` is measured.
///
/// # Errors
/// When the kernel has no such statistics, or the measurement fails.
pub(in crate::bench) fn measure(
    contender: &Contender,
    metric: Metric,
    seconds: f64,
) -> Result<Vec<InTraffic>> {
    let mut kernel = Kernel::load(&config())?;
    let case = foreign()?;
    kernel.reset(&case, &Memory::new())?;
    let plain = kernel.time(&case, REPEAT)?;
    let statistics = enable_stats(Stats::RunTime).context("BPF_ENABLE_STATS")?;
    kernel.time(&case, REPEAT)?;
    let counted = of(kernel.program(case.hook)?)?.each();
    let overhead = (counted - plain).max(0.0);
    let hooks = [Hook::PodEgress, Hook::UplinkIngress];
    let before = hooks.map(|hook| on_both_nodes(contender, hook));
    sample::measure(contender, metric, seconds)?;
    let mut all = Vec::new();
    for (hook, before) in hooks.into_iter().zip(before) {
        let during = on_both_nodes(contender, hook)?.since(before?);
        let nanoseconds = (during.each() - overhead).max(0.0);
        all.push(InTraffic { program: hook.program(), nanoseconds, calls: during.calls });
    }
    drop(statistics);
    Ok(all)
}

fn on_both_nodes(contender: &Contender, hook: Hook) -> Result<Count> {
    let mut sum = Count::default();
    for node in &contender.nodes {
        let pin = node.path(pins::program(hook.program()));
        let program = SchedClassifier::from_pin(&pin)
            .with_context(|| format!("no program at {}", pin.display()))?;
        let one = of(&program)?;
        sum = Count { time: sum.time + one.time, calls: sum.calls + one.calls };
    }
    Ok(sum)
}

fn of(program: &SchedClassifier) -> Result<Count> {
    let info = program.info()?;
    Ok(Count { time: info.run_time(), calls: info.run_count() })
}

impl Count {
    fn since(self, before: Self) -> Self {
        let time = self.time.saturating_sub(before.time);
        Self { time, calls: self.calls.saturating_sub(before.calls) }
    }

    /// Nanoseconds of one call.
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    fn each(self) -> f64 {
        self.time.as_secs_f64() * 1e9 / self.calls.max(1) as f64
    }
}
