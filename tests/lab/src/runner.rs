//! Runs scenarios one after another, each in a lab of its own, and counts.

use std::env;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::process;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::libc;

use crate::cgroups::Cgroups;
use crate::sandbox::{Ended, Sandbox, require_root};
use crate::scenario::{Entry, SKIPPED, is_skip, tail};
use crate::scenarios::SCENARIOS;

/// Lines of a failed scenario's log that are shown: of its beginning, which says what was done,
const FIRST: usize = 25;
/// and of its end, which says what failed.
const LAST: usize = 60;
/// Of its end, when the failures are told once more.
const LAST_WORDS: usize = 12;

/// Flags of `tartan-lab test`.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag that a user types")]
pub struct Args {
    /// Only scenarios whose name contains this.
    filter: Option<String>,
    /// The long ones as well.
    #[arg(long)]
    all: bool,
    /// Show the logs of scenarios that pass as well.
    #[arg(long)]
    show_log: bool,
    /// Only print the names.
    #[arg(long)]
    list: bool,
    /// Only those that run programs of `cargo xtask tools`.
    #[arg(long)]
    with_tools: bool,
    /// Only those that run none of them.
    #[arg(long, conflicts_with = "with_tools")]
    without_tools: bool,
}

#[derive(Debug, Default)]
struct Tally {
    passed: u32,
    failures: Vec<Failure>,
    skipped: u32,
}

/// What went wrong, to be told once more at the end of a long run.
#[derive(Debug)]
struct Failure {
    name: &'static str,
    last_words: String,
}

enum Verdict {
    Passed,
    Failed(String),
    Skipped(String),
}

/// Runs what the flags ask for. The exit code is 0 only if nothing failed; where the variable CI
/// is set, a skipped scenario counts as failed.
///
/// # Errors
/// When the user is not root, a lab cannot be started, or the user interrupts.
pub fn run(args: &Args) -> Result<u8> {
    let chosen = choose(args);
    if args.list {
        for entry in chosen {
            println!("{}", entry.name);
        }
        return Ok(0);
    }
    require_root()?;
    let mut tally = Tally::default();
    for entry in chosen {
        print!("test {} ... ", entry.name);
        io::stdout().flush()?;
        let start = Instant::now();
        let (verdict, log) = run_entry(entry)?;
        let show = args.show_log && !matches!(verdict, Verdict::Failed(_));
        tally.count(entry.name, verdict, start.elapsed());
        if show {
            println!("{log}");
        }
    }
    println!();
    tally.show_failures();
    let failed = tally.failures.len();
    println!("{} passed, {failed} failed, {} skipped", tally.passed, tally.skipped);
    Ok(u8::from(failed > 0 || tally.nothing_ran()))
}

fn choose(args: &Args) -> Vec<&'static Entry> {
    let named = |entry: &&Entry| match args.filter.as_deref() {
        Some(filter) => {
            entry.name.contains(filter) && (args.all || !entry.long || entry.name == filter)
        }
        None => args.all || !entry.long,
    };
    let has_tools =
        |entry: &&Entry| if entry.tools { !args.without_tools } else { !args.with_tools };
    // A victim waits for somebody to kill it: another scenario starts it, by its whole name.
    let by_chance = |entry: &&Entry| {
        entry.name.ends_with("::victim") && args.filter.as_deref() != Some(entry.name)
    };
    SCENARIOS
        .iter()
        .copied()
        .flatten()
        .filter(named)
        .filter(has_tools)
        .filter(|entry| !by_chance(entry))
        .collect()
}

impl Tally {
    fn count(&mut self, name: &'static str, verdict: Verdict, took: Duration) {
        let seconds = took.as_secs_f64();
        match verdict {
            Verdict::Passed => {
                self.passed += 1;
                println!("ok ({seconds:.1} s)");
            }
            Verdict::Failed(log) => {
                println!("FAILED ({seconds:.1} s)\n{}\n", both_ends(&log));
                self.failures.push(Failure { name, last_words: tail(&log, LAST_WORDS) });
            }
            Verdict::Skipped(why) => {
                println!("skipped: {}", why.trim());
                if env::var_os("CI").is_some() {
                    println!("    in CI a skip is a failure");
                    self.failures.push(Failure { name, last_words: format!("skipped: {why}") });
                } else {
                    self.skipped += 1;
                }
            }
        }
    }

    fn nothing_ran(&self) -> bool {
        self.passed + self.skipped == 0 && self.failures.is_empty()
    }

    /// As cargo shows them, after hundreds of lines about what is well.
    fn show_failures(&self) {
        if self.failures.is_empty() {
            return;
        }
        println!("failures:\n");
        for Failure { name, last_words } in &self.failures {
            println!("---- {name} stdout ----\n{last_words}\n");
        }
    }
}

/// The verdict, and everything that the scenario wrote.
fn run_entry(entry: &Entry) -> Result<(Verdict, String)> {
    let log = memory_file()?;
    let sandbox = match spawn(entry, &log) {
        Err(error) if is_skip(&error) => {
            return Ok((Verdict::Skipped(error.to_string()), String::new()));
        }
        sandbox => sandbox?,
    };
    let ended = sandbox.wait(Some(Duration::from_secs(entry.timeout)))?;
    let text = read_all(log)?;
    let failed = |why: String| Verdict::Failed(format!("{text}{why}"));
    let verdict = match ended {
        Ended::Exited(0) => Verdict::Passed,
        Ended::Exited(code) if code == i32::from(SKIPPED) => Verdict::Skipped(tail(&text, 1)),
        Ended::Exited(code) => failed(format!("exit code {code}")),
        Ended::TimedOut => failed(format!("not done after {} s", entry.timeout)),
        Ended::Interrupted(signal) => {
            println!("interrupted by signal {signal}");
            process::exit(128 + signal)
        }
    };
    Ok((verdict, text))
}

/// The beginning and the end of a long text.
fn both_ends(log: &str) -> String {
    if log.lines().count() <= FIRST + LAST {
        return log.to_owned();
    }
    let first: Vec<_> = log.lines().take(FIRST).collect();
    format!("{}\n[...]\n{}", first.join("\n"), tail(log, LAST))
}

fn spawn(entry: &Entry, log: &File) -> Result<Sandbox> {
    let args = ["scenario", entry.name];
    if entry.kubelets {
        return Sandbox::spawn_with(Cgroups::make()?, &args, Some(log));
    }
    Sandbox::spawn(&args, Some(log))
}

/// A file without a name, which nobody has to remove.
fn memory_file() -> Result<File> {
    // SAFETY: the name is a C string that outlives the call.
    let raw = unsafe { libc::memfd_create(c"log".as_ptr(), libc::MFD_CLOEXEC) };
    if raw < 0 {
        return Err(io::Error::last_os_error()).context("cannot make a log in memory");
    }
    // SAFETY: the descriptor is new and nobody else's.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(raw) }))
}

fn read_all(mut file: File) -> Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
