//! Processor time of the whole machine.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// Units of `/proc/stat` per second: `USER_HZ`, which is 100 on every architecture of Linux that
/// has BPF.
const HZ: f64 = 100.0;
/// Positions of idle and iowait after the word `cpu`.
const IDLE: [usize; 2] = [3, 4];
/// Position of what a hypervisor gave to others.
const STOLEN: usize = 7;

/// A point in time, with the idle time of all CPUs until then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    at: Instant,
    idle: f64,
    stolen: f64,
    cpus: usize,
}

impl Moment {
    pub(super) fn now() -> Result<Self> {
        let text = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
        let Times { idle, stolen, cpus } =
            parse(&text).context("/proc/stat has no line of all CPUs")?;
        Ok(Self { at: Instant::now(), idle, stolen, cpus })
    }

    /// Seconds that the CPUs worked since then, all together.
    ///
    /// The kernel keeps idle time exactly, and work only by its ticks: work is what is left.
    #[expect(clippy::cast_precision_loss, reason = "a number of CPUs")]
    pub(super) fn busy_since(&self) -> Result<f64> {
        let now = Self::now()?;
        let all = (now.at - self.at).as_secs_f64() * now.cpus as f64;
        Ok((all - (now.idle - self.idle)).max(0.0))
    }

    /// Part of the CPUs' time since then that a hypervisor gave to others.
    #[expect(clippy::cast_precision_loss, reason = "a number of CPUs")]
    pub(super) fn stolen_since(&self) -> Result<f64> {
        let now = Self::now()?;
        let all = (now.at - self.at).as_secs_f64() * now.cpus as f64;
        Ok((now.stolen - self.stolen).max(0.0) / all)
    }
}

/// Seconds of all CPUs, and their number.
#[derive(Debug, PartialEq)]
struct Times {
    idle: f64,
    stolen: f64,
    cpus: usize,
}

/// What part of the machine others use, from 0 to 1, measured for `time`.
#[expect(clippy::cast_precision_loss, reason = "a number of CPUs")]
pub(super) fn used_by_others(time: Duration) -> Result<f64> {
    let start = Moment::now()?;
    thread::sleep(time);
    Ok(start.busy_since()? / (time.as_secs_f64() * start.cpus as f64))
}

fn parse(text: &str) -> Option<Times> {
    let all: Vec<f64> =
        text.lines().next()?.split_whitespace().skip(1).flat_map(str::parse).collect();
    let idle = IDLE.iter().map(|at| all.get(*at)).sum::<Option<f64>>()?;
    let stolen = all.get(STOLEN).copied().unwrap_or(0.0);
    let cpus = text.lines().skip(1).take_while(|line| line.starts_with("cpu")).count();
    Some(Times { idle: idle / HZ, stolen: stolen / HZ, cpus })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_iowait_of_all_cpus_are_idle() {
        let text = "cpu  10 0 20 300 50 0 1 7 0 0\ncpu0 5 0 10 150\ncpu1 5 0 10 150\nintr 1\n";
        assert_eq!(parse(text), Some(Times { idle: 3.5, stolen: 0.07, cpus: 2 }));
        assert_eq!(parse("nonsense"), None);
    }
}
