//! `cargo xtask check`: the gates that every change passes, one line each.
//!
//! All gates run even when one fails. A failed gate prints the end of what its tool said and the
//! command that repairs it.

mod gates;
mod house;
mod links;
mod tree;

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::setup;
use crate::step::last_lines;

/// Lines of a failed tool's output that are printed.
const SHOWN: usize = 60;

/// What a gate found.
pub(crate) enum Outcome {
    /// Nothing wrong.
    Green,
    /// Something wrong: what the tool said, or what the rule found.
    Red(String),
}

/// One gate.
pub(crate) struct Gate {
    pub(crate) name: &'static str,
    /// What repairs it, ready to paste where it is a command.
    pub(crate) fix: &'static str,
    pub(crate) look: fn() -> Result<Outcome>,
}

/// Runs every gate.
pub(crate) fn run() -> Result<ExitCode> {
    setup::run()?;
    setup::install_pinned("cargo-deny", gates::CARGO_DENY, "`check` asks it about licences")?;
    let started = Instant::now();
    let mut red = Vec::new();
    for gate in gates::ALL {
        if !passes(gate) {
            red.push(gate.name);
        }
    }
    Ok(close(&red, started.elapsed().as_secs()))
}

fn passes(gate: &Gate) -> bool {
    let started = Instant::now();
    // A gate that cannot run lets nothing through, and the others still have something to say.
    let outcome = (gate.look)().unwrap_or_else(|error| Outcome::Red(format!("{error:#}")));
    let seconds = started.elapsed().as_secs_f32();
    match outcome {
        Outcome::Green => {
            println!("ok    {:<16} {seconds:>6.1} s", gate.name);
            true
        }
        Outcome::Red(found) => {
            println!("FAIL  {:<16} {seconds:>6.1} s", gate.name);
            println!("{}\n      fix: {}", indented(&last_lines(&found, SHOWN)), gate.fix);
            false
        }
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("      {line}")).collect::<Vec<_>>().join("\n")
}

fn close(red: &[&str], seconds: u64) -> ExitCode {
    let all = gates::ALL.len();
    println!(
        "note: advisories are not looked at, they need a database from the network: `cargo deny check advisories`"
    );
    if red.is_empty() {
        println!("check: all {all} gates are green ({seconds} s)");
        return ExitCode::SUCCESS;
    }
    println!("check: {} of {all} gates are red: {} ({seconds} s)", red.len(), red.join(", "));
    ExitCode::FAILURE
}

/// The outcome of a tool that says by its exit code whether all is well.
fn tool_outcome(command: &mut Command) -> Result<Outcome> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    if output.status.success() {
        return Ok(Outcome::Green);
    }
    let said = [output.stdout, output.stderr].concat();
    Ok(Outcome::Red(String::from_utf8_lossy(&said).trim_end().to_owned()))
}

/// The outcome of a rule that lists what breaks it.
fn list_outcome(found: &[String]) -> Outcome {
    if found.is_empty() { Outcome::Green } else { Outcome::Red(found.join("\n")) }
}

/// A folder for what a gate writes.
fn scratch(name: &str) -> Result<PathBuf> {
    Ok(crate::workspace::target_dir()?.join("xtask").join(name))
}
