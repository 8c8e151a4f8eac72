//! What a scenario is, and how one runs inside its lab.

use std::fmt;
use std::fs;
use std::time::Instant;

use anyhow::{Context as _, Error, Result};

use crate::lab::Lab;
use crate::paths;
use crate::scenarios::SCENARIOS;
use crate::wire::Wire;

/// Exit code of a skipped scenario.
pub(crate) const SKIPPED: u8 = 77;

/// One row of the table of scenarios.
#[derive(Debug)]
pub struct Entry {
    /// Its name, by file and case: `cni_lifecycle::fifty_cycles_leave_nothing`.
    pub name: &'static str,
    /// It is killed after this many seconds.
    pub timeout: u64,
    /// Long ones run only with `--all`, or when the filter names them.
    pub long: bool,
    /// Whether it runs programs of `cargo xtask tools`.
    pub tools: bool,
    /// Whether it starts kubelets, which need control groups.
    pub kubelets: bool,
    /// The scenario itself.
    pub run: fn(&mut Scenario) -> Result<()>,
}

impl Entry {
    /// A scenario of at most 60 s.
    #[must_use]
    pub const fn new(name: &'static str, run: fn(&mut Scenario) -> Result<()>) -> Self {
        Self { name, timeout: 60, long: false, tools: false, kubelets: false, run }
    }

    /// With another limit, in seconds.
    #[must_use]
    pub const fn within(mut self, seconds: u64) -> Self {
        self.timeout = seconds;
        self
    }

    /// Not part of the daily run.
    #[must_use]
    pub const fn long(mut self) -> Self {
        self.long = true;
        self
    }

    /// Runs programs that [`go_tools`](crate::go_tools) finds: `cargo xtask test` builds them
    /// first.
    #[must_use]
    pub const fn with_tools(mut self) -> Self {
        self.tools = true;
        self
    }

    /// Runs a whole cluster: with containers in control groups of their own.
    #[must_use]
    pub const fn with_kubelets(mut self) -> Self {
        self.kubelets = true;
        self
    }
}

/// A scenario under way.
#[derive(Debug)]
pub struct Scenario {
    start: Instant,
}

impl Scenario {
    /// The scenario's lab, with this wire. Call it once.
    ///
    /// # Errors
    /// When the kernel refuses a link.
    pub fn lab(&mut self, wire: Wire) -> Result<Lab> {
        self.note(format!("wire: {wire:?}"));
        Lab::new(wire)
    }

    /// Writes a line into the scenario's log, which is shown when it fails.
    pub fn note(&self, text: impl fmt::Display) {
        println!("[{:7.3}] {text}", self.start.elapsed().as_secs_f64());
    }
}

/// The error of a scenario that cannot run here.
#[derive(Debug)]
struct Skip(String);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}

/// Ends a scenario that cannot run on this machine: `return Err(skip("no nft"))`.
#[must_use]
pub fn skip(why: impl Into<String>) -> Error {
    Error::new(Skip(why.into()))
}

/// Whether this error says that something cannot run on this machine.
pub(crate) fn is_skip(error: &Error) -> bool {
    error.is::<Skip>()
}

/// Runs the scenario of this name, in the lab's process 1.
///
/// # Errors
/// When there is no such scenario.
pub fn run_one(name: &str) -> Result<u8> {
    let entry = SCENARIOS.iter().copied().flatten().find(|entry| entry.name == name);
    let entry = entry.with_context(|| format!("no scenario {name}; see tartan-lab test --list"))?;
    let mut scenario = Scenario { start: Instant::now() };
    let Err(error) = (entry.run)(&mut scenario) else { return Ok(0) };
    if let Some(Skip(why)) = error.downcast_ref() {
        println!("{why}");
        return Ok(SKIPPED);
    }
    // The reason comes last: what is shown of a long log is its end.
    show_logs();
    scenario.note(format!("failed: {error:#}"));
    Ok(1)
}

/// The ends of what background processes wrote.
pub(crate) fn show_logs() {
    for entry in fs::read_dir(paths::LOGS).into_iter().flatten().flatten() {
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        println!("--- {}", entry.file_name().to_string_lossy());
        println!("{}", tail(&text, 25));
    }
}

/// The last lines of a text.
#[must_use]
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<_> = text.lines().collect();
    let from = all.len().saturating_sub(lines);
    all.get(from..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_the_last_lines_or_all_of_them() {
        assert_eq!(tail("a\nb\nc", 2), "b\nc");
        assert_eq!(tail("a", 5), "a");
    }
}
