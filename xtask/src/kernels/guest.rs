//! One guest: QEMU in software, and what its console says.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::workspace::tool;

/// A guest that says nothing more is ended then.
const LIMIT: Duration = Duration::from_mins(15);
const POLL: Duration = Duration::from_millis(100);

/// How a guest's run ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Report {
    /// What `uname -r` says there.
    pub(super) release: String,
    /// Scenarios with the lab's word for each: `ok`, `FAILED`, `skipped`.
    pub(super) scenarios: Vec<(String, String)>,
    /// Whether it came to its end. QEMU's exit status is 0 after a panic, too.
    pub(super) done: bool,
}

/// Boots a kernel with an archive and waits for its end.
pub(super) fn run(kernel: &Path, initrd: &Path, force: &str, log: &Path) -> Result<Report> {
    let mut command = qemu(kernel, initrd, force);
    let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    let mut child = command.spawn().context("cannot start qemu-system-x86_64")?;
    wait(&mut child)?;
    Ok(read(&String::from_utf8_lossy(&fs::read(log)?)))
}

/// `q35` without KVM and with one translating thread: slower than others, and never flaky.
fn qemu(kernel: &Path, initrd: &Path, force: &str) -> Command {
    let mut command = tool("qemu-system-x86_64");
    command.args(["-machine", "q35", "-accel", "tcg,thread=single", "-cpu", "max", "-smp", "2"]);
    command.args(["-m", "1536", "-nodefaults", "-no-user-config", "-display", "none"]);
    command.args(["-serial", "stdio", "-no-reboot"]);
    command.arg("-kernel").arg(kernel).arg("-initrd").arg(initrd);
    let force = if force.is_empty() { String::new() } else { format!(" tartan.force={force}") };
    command.arg("-append").arg(format!("console=ttyS0 panic=-1 quiet{force}"));
    command
}

fn wait(child: &mut Child) -> Result<()> {
    let end = Instant::now() + LIMIT;
    while child.try_wait()?.is_none() {
        if Instant::now() >= end {
            child.kill()?;
            child.wait()?;
            return Ok(());
        }
        sleep(POLL);
    }
    Ok(())
}

fn read(console: &str) -> Report {
    let mut report = Report::default();
    for line in console.lines().map(str::trim) {
        if let Some(release) = line.strip_prefix("GUEST release ") {
            release.clone_into(&mut report.release);
        }
        report.done |= line == "GUEST done";
        let verdict = line.strip_prefix("test ").and_then(|line| line.split_once(" ... "));
        if let Some((name, verdict)) = verdict {
            let word = verdict.split([' ', ':']).next().unwrap_or_default();
            report.scenarios.push((name.to_owned(), word.to_owned()));
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_console_tells_what_passed_and_whether_it_came_to_its_end() {
        let report = read(
            "x\r\nGUEST release 6.1.0\r\ntest a::b ... ok (3.2 s)\r\n\
                           test c ... skipped: no\r\nGUEST done\r\n",
        );
        assert_eq!(report.release, "6.1.0");
        let words: Vec<_> = report.scenarios.iter().map(|(_, word)| word.as_str()).collect();
        assert_eq!(words, ["ok", "skipped"]);
        assert!(report.done);
        assert!(!read("GUEST release 6.1.0\nKernel panic\n").done);
    }
}
