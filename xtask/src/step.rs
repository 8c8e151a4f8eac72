//! One long step: a command whose output goes to a log while a line tells how far it is.
//!
//! On a terminal the line is rewritten in place; elsewhere one is added every 20 seconds. A step
//! that fails prints the end of its log and where the whole of it is.

use std::fs::{self, File};
use std::io::{IsTerminal as _, Write as _, stdout};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::workspace;

/// How often a running command is looked at: short enough that a quick step ends at once.
const POLL: Duration = Duration::from_millis(50);
/// How often a log without a terminal learns that the step still runs.
const REMINDER: Duration = Duration::from_secs(20);
/// Lines of a failed step's log that are printed.
const TAIL: usize = 40;
/// Columns that a progress line may take.
const WIDTH: usize = 79;

/// Runs `command` under `title` and fails when it fails.
pub(crate) fn run(title: &str, command: &mut Command) -> Result<()> {
    let (status, log) = watch(title, command)?;
    if status.success() {
        return Ok(());
    }
    eprintln!("{}", tail(&log));
    bail!("{title}: {command:?} ended with {status}; its whole output is in {}", log.display())
}

fn watch(title: &str, command: &mut Command) -> Result<(ExitStatus, PathBuf)> {
    let log = log_path(title)?;
    let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let errors = file.try_clone()?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(errors)
        .spawn()
        .with_context(|| format!("cannot start {command:?}"))?;
    let mut progress = Progress::start(title);
    let status = wait(&mut child, &log, &mut progress)?;
    progress.end(status.success());
    Ok((status, log))
}

fn wait(child: &mut Child, log: &Path, progress: &mut Progress<'_>) -> Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        progress.tick(log);
        sleep(POLL);
    }
}

fn log_path(title: &str) -> Result<PathBuf> {
    let dir = workspace::target_dir()?.join("xtask");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let name = title.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    Ok(dir.join(format!("{name}.log")))
}

/// The last lines of a log.
pub(crate) fn tail(log: &Path) -> String {
    last_lines(&read_lossy(log), TAIL)
}

fn read_lossy(log: &Path) -> String {
    String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned()
}

/// The last `count` lines of `text`.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines = text.lines().collect::<Vec<_>>();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

struct Progress<'a> {
    title: &'a str,
    started: Instant,
    terminal: bool,
    reminded: Instant,
}

impl<'a> Progress<'a> {
    fn start(title: &'a str) -> Self {
        let now = Instant::now();
        let progress =
            Self { title, started: now, terminal: stdout().is_terminal(), reminded: now };
        if !progress.terminal {
            println!("{title} ...");
        }
        progress
    }

    fn tick(&mut self, log: &Path) {
        let seconds = self.started.elapsed().as_secs();
        if self.terminal {
            let said = read_lossy(log);
            let said = said.lines().last().unwrap_or_default().trim();
            rewrite(&format!("{} ... {seconds} s  {said}", self.title));
        } else if self.reminded.elapsed() >= REMINDER {
            self.reminded = Instant::now();
            println!("{} ... {seconds} s", self.title);
        }
    }

    fn end(&self, success: bool) {
        let word = if success { "done" } else { "FAILED" };
        let line =
            format!("{}: {word} in {:.1} s", self.title, self.started.elapsed().as_secs_f32());
        if self.terminal {
            rewrite(&line);
            println!();
        } else {
            println!("{line}");
        }
    }
}

fn rewrite(line: &str) {
    let line = line.chars().take(WIDTH).collect::<String>();
    print!("\r\x1b[2K{line}");
    // A terminal that is gone is no reason to stop the step.
    let _ = stdout().flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_lines_keeps_the_end() {
        assert_eq!(last_lines("a\nb\nc", 2), "b\nc");
    }

    #[test]
    fn last_lines_of_a_short_text_is_the_text() {
        assert_eq!(last_lines("a", 5), "a");
    }
}
