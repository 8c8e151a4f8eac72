//! What a process has used, as the kernel counts it.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// The kernel's unit of time in `/proc/PID/stat` (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// Processor time and memory of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// In user and kernel mode, of all its threads, since its start.
    pub processor: Duration,
    /// Resident now, in KiB.
    pub resident_kib: u64,
    /// Resident at most, in KiB.
    pub peak_kib: u64,
}

impl Usage {
    /// Of a process that runs.
    ///
    /// # Errors
    /// When there is none of this number.
    pub fn of(pid: u32) -> Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        Ok(Self {
            processor: TICK
                * ticks(&stat).with_context(|| format!("not as proc(5) says: {stat}"))?,
            resident_kib: kib(&status, "VmRSS:").context("no VmRSS")?,
            peak_kib: kib(&status, "VmHWM:").context("no VmHWM")?,
        })
    }

    /// Part of one processor since `before`, `elapsed` ago; 1.0 is all of it.
    #[must_use]
    pub fn share_since(&self, before: &Self, elapsed: Duration) -> f64 {
        self.processor.saturating_sub(before.processor).as_secs_f64() / elapsed.as_secs_f64()
    }
}

/// utime and stime, the 14th and 15th field; the second is a name that may hold blanks.
fn ticks(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut field = || fields.next()?.parse::<u32>().ok();
    Some(field()? + field()?)
}

fn kib(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_times_are_added_whatever_the_name_is() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 2 0 0 0 30 12 0 0 20 0";
        assert_eq!(ticks(stat), Some(42));
    }

    #[test]
    fn memory_is_found_by_its_name() {
        assert_eq!(kib("VmHWM:\t  90 kB\nVmRSS:\t  80 kB\n", "VmRSS:"), Some(80));
    }

    #[test]
    fn this_process_uses_something() {
        assert!(Usage::of(std::process::id()).unwrap().resident_kib > 0);
    }
}
