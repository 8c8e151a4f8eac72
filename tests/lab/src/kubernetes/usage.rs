//! What every program of the cluster uses while nothing happens.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::Result;

use crate::usage::Usage;

/// All processes of one name together.
#[derive(Debug, Clone, PartialEq)]
pub struct ProcessUsage {
    /// The file name of the program.
    pub program: String,
    /// How many there are.
    pub count: u32,
    /// Resident memory, in KiB; shared pages count for each.
    pub resident_kib: u64,
    /// Proportional memory, in KiB; shared pages count once.
    pub proportional_kib: u64,
    /// Part of one processor.
    pub processor: f64,
}

/// Watches every process of the lab for this long.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn at_rest(period: Duration) -> Result<Vec<ProcessUsage>> {
    let before = all()?;
    thread::sleep(period);
    let mut programs: BTreeMap<String, ProcessUsage> = BTreeMap::new();
    for (pid, (program, now)) in all()? {
        let Some((_, then)) = before.get(&pid) else { continue };
        let entry = programs.entry(program.clone()).or_insert_with(|| ProcessUsage {
            program,
            count: 0,
            resident_kib: 0,
            proportional_kib: 0,
            processor: 0.0,
        });
        entry.count += 1;
        entry.resident_kib += now.resident_kib;
        entry.proportional_kib += proportional_kib(pid).unwrap_or(0);
        entry.processor += now.share_since(then, period);
    }
    let mut all: Vec<_> = programs.into_values().collect();
    all.sort_by_key(|one| std::cmp::Reverse(one.proportional_kib));
    Ok(all)
}

/// The figures as people read them.
#[must_use]
pub fn table(all: &[ProcessUsage]) -> String {
    let mut text =
        "program                   count   RSS MiB   PSS MiB   % of one core\n".to_owned();
    for one in all {
        let [resident, proportional] = [one.resident_kib, one.proportional_kib].map(mebi);
        let (program, count, share) = (&one.program, one.count, one.processor * 100.0);
        // A String takes whatever is written to it.
        let _ = writeln!(
            text,
            "{program:25} {count:5}  {resident:8.1}  {proportional:8.1}        {share:8.2}"
        );
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal place")]
fn mebi(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// Every process that runs a program, by its number.
fn all() -> Result<BTreeMap<u32, (String, Usage)>> {
    let numbers = fs::read_dir("/proc")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    // Processes come and go.
    Ok(numbers.filter_map(|pid| Some((pid, (program(pid)?, Usage::of(pid).ok()?)))).collect())
}

/// The file name of what it was started as.
fn program(pid: u32) -> Option<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let first = line.split(|byte| *byte == 0).next()?;
    let name = first.rsplit(|byte| *byte == b'/').next()?;
    let name = String::from_utf8_lossy(name).into_owned();
    (!name.is_empty()).then_some(name)
}

/// Pss of `/proc/PID/smaps_rollup`.
fn proportional_kib(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_among_all_of_them() {
        let all = at_rest(Duration::from_millis(10)).unwrap();
        assert!(all.iter().any(|one| one.program.starts_with("tartan_lab") && one.count > 0));
        assert!(table(&all).lines().count() == all.len() + 1);
    }
}
