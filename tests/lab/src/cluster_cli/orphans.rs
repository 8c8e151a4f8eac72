//! Process 1 of a pid namespace inherits every process whose parent has ended, and must ask for
//! its end: those of container runtimes, those that a user's shell left.

use std::collections::BTreeSet;
use std::fs;

use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use super::census::pids;

/// What the lab's own code starts, and asks for by itself; it runs as `/proc/self/exe`.
const OWN: [&str; 2] = ["exe", "tartan-lab"];
/// The kernel keeps no more of a program's name.
const NAME: usize = 15;

/// Ended processes that nobody has asked for yet.
#[derive(Debug, Default)]
pub(super) struct Orphans(BTreeSet<u32>);

impl Orphans {
    /// Asks for those that were there at the last call already, but for `programs`: whoever
    /// started one of those asks by itself, soon for the rest as well.
    pub(super) fn reap(&mut self, programs: &[&str]) {
        let ended: BTreeSet<_> = pids().filter(|pid| is_orphan(*pid, programs)).collect();
        for pid in ended.intersection(&self.0).filter_map(|pid| i32::try_from(*pid).ok()) {
            // Somebody may have been faster.
            let _ = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
        }
        self.0 = ended;
    }
}

fn is_orphan(pid: u32, programs: &[&str]) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    ended_child(&stat).is_some_and(|name| {
        !programs.iter().chain(&OWN).any(|program| program.get(..NAME).unwrap_or(program) == name)
    })
}

/// The name of a process that has ended and whose parent is process 1 (proc(5)).
fn ended_child(stat: &str) -> Option<&str> {
    let (head, rest) = stat.rsplit_once(") ")?;
    let (_, name) = head.split_once(" (")?;
    rest.starts_with("Z 1 ").then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_ended_child_of_process_1_is_an_orphan() {
        assert_eq!(ended_child("9 (a b) Z 1 2 3"), Some("a b"));
        assert_eq!(ended_child("9 (sleep) S 1 2 3"), None);
        assert_eq!(ended_child("9 (sleep) Z 12 2 3"), None);
    }
}
