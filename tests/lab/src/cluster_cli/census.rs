//! Which programs run in the lab, since when, and how often they came back: read from `/proc`, so
//! that it is true whoever started them.

use std::collections::BTreeMap;
use std::fs;
use std::os::linux::fs::MetadataExt as _;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::report::{Life, Program};

/// Ticks of a process's start time per second: `USER_HZ`, the same on every architecture that
/// Kubernetes runs on.
const TICKS: u64 = 100;

/// A program that should run somewhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Expected {
    /// The node; `None` for the control plane.
    pub(super) node: Option<String>,
    /// What the command line calls it.
    pub(super) name: &'static str,
    /// The file name of what is executed.
    pub(super) executable: &'static str,
}

/// A process as `/proc` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    pid: u32,
    /// In ticks since the machine started.
    started: u64,
    frozen: bool,
}

/// What is remembered of one program.
#[derive(Debug, Default)]
struct Record {
    now: Option<Process>,
    restarts: u32,
    lost: Option<Instant>,
}

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Census(BTreeMap<Expected, Record>);

impl Census {
    /// Looks at all processes. `network_of` tells a node's network namespace.
    pub(super) fn update(
        &mut self,
        expected: &[Expected],
        network_of: impl Fn(&str) -> Option<u64>,
    ) {
        let all = processes();
        self.0.retain(|known, _| expected.contains(known));
        for wanted in expected {
            let network = match &wanted.node {
                Some(node) => network_of(node),
                None => network_namespace("self"),
            };
            let here = all.iter().filter(|one| network.is_some() && one.network == network);
            let same = here.filter(|one| one.executable == wanted.executable);
            // A helper of the same program comes later.
            let found = same.map(|one| one.process).min_by_key(|process| process.started);
            self.0.entry(wanted.clone()).or_default().see(found);
        }
    }

    /// The programs of a node, or of the control plane.
    pub(super) fn programs(&self, node: Option<&str>) -> Vec<Program> {
        let here = self.0.iter().filter(|(known, _)| known.node.as_deref() == node);
        here.map(|(known, record)| record.report(known)).collect()
    }

    /// The process of a program of a node.
    pub(super) fn pid(&self, node: &str, name: &str) -> Option<u32> {
        self.programs(Some(node)).into_iter().find(|program| program.name == name)?.pid
    }
}

impl Record {
    fn see(&mut self, found: Option<Process>) {
        match (self.now, found) {
            (Some(_), None) => self.lost = Some(Instant::now()),
            (Some(old), Some(new)) if old.pid != new.pid => self.restarts += 1,
            (None, Some(_)) if self.lost.take().is_some() => self.restarts += 1,
            (Some(_) | None, _) => {}
        }
        self.now = found;
    }

    fn report(&self, known: &Expected) -> Program {
        let life = match (self.now, self.lost) {
            (Some(process), _) if process.frozen => Life::Frozen,
            (Some(process), _) => Life::Running { seconds: age(process.started) },
            (None, Some(since)) => Life::Ended { seconds: since.elapsed().as_secs() },
            (None, None) => Life::NeverSeen,
        };
        Program {
            name: known.name.to_owned(),
            executable: known.executable.to_owned(),
            pid: self.now.map(|process| process.pid),
            life,
            restarts: self.restarts,
        }
    }
}

struct Found {
    process: Process,
    executable: String,
    network: Option<u64>,
}

fn processes() -> Vec<Found> {
    pids().filter_map(look_at).collect()
}

/// Every process of the lab.
pub(super) fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Nothing when it has ended meanwhile.
fn look_at(pid: u32) -> Option<Found> {
    let exe = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let name = exe.file_name()?.to_str()?;
    let executable = name.trim_end_matches(" (deleted)").to_owned();
    let (state, started) = parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
    if has_ended(state) {
        return None;
    }
    let process = Process { pid, started, frozen: state == 'T' };
    Some(Found { process, executable, network: network_namespace(&pid.to_string()) })
}

/// When a process started, in ticks since the machine did; nothing once it has ended.
pub(super) fn started_at(process: &str) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (state, started) = parse_stat(&stat)?;
    (!has_ended(state)).then_some(started)
}

fn has_ended(state: char) -> bool {
    matches!(state, 'Z' | 'X')
}

/// The state and the start time (fields 3 and 22 of proc(5)).
fn parse_stat(stat: &str) -> Option<(char, u64)> {
    // The name before may hold anything, blanks and parentheses as well.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

/// The inode of a process's network namespace.
pub(super) fn network_namespace(process: &str) -> Option<u64> {
    fs::metadata(format!("/proc/{process}/ns/net")).ok().map(|file| file.st_ino())
}

/// SIGKILL to everything that shares the mounts of this holder of a node, but not to the holder.
pub(super) fn kill_all_of(holder: u32) {
    let mounts = |pid: u32| fs::metadata(format!("/proc/{pid}/ns/mnt")).ok().map(|ns| ns.st_ino());
    let Some(own) = mounts(holder) else { return };
    for pid in pids().filter(|pid| *pid != holder && mounts(*pid) == Some(own)) {
        if let Ok(pid) = i32::try_from(pid) {
            // It may have ended meanwhile.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// Seconds since a process started.
fn age(started: u64) -> u64 {
    let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let now: u64 = uptime.split('.').next().and_then(|now| now.parse().ok()).unwrap_or_default();
    now.saturating_sub(started / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32) -> Process {
        Process { pid, started: 0, frozen: false }
    }

    #[test]
    fn a_program_that_comes_back_was_restarted_once() {
        let mut record = Record::default();
        for found in [None, Some(process(5)), Some(process(5)), None, None, Some(process(9))] {
            record.see(found);
        }
        assert_eq!((record.restarts, record.lost), (1, None));
    }

    #[test]
    fn a_program_that_comes_back_between_two_looks_was_restarted_too() {
        let mut record = Record::default();
        record.see(Some(process(5)));
        record.see(Some(process(6)));
        assert_eq!(record.restarts, 1);
    }

    #[test]
    fn stat_is_read_behind_a_name_with_blanks_and_parentheses() {
        let stat = "12 (a) b) (c) S 1 12 12 0 -1 4194304 1 0 0 0 1 2 0 0 20 0 1 0 7654 8 9";
        assert_eq!(parse_stat(stat), Some(('S', 7654)));
    }

    #[test]
    fn this_very_program_is_found() {
        let exe = std::env::current_exe().unwrap();
        let own = Expected {
            node: None,
            name: "own",
            executable: exe.file_name().unwrap().to_str().unwrap().to_owned().leak(),
        };
        let mut census = Census::default();
        census.update(std::slice::from_ref(&own), |_| None);
        let programs = census.programs(None);
        assert!(matches!(programs[0].life, Life::Running { .. }), "{programs:?}");
    }
}
