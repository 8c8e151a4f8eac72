//! The benchmark: host networking, the kernel's own ways, the real flannel and Tartan in one run.
//!
//! Each contender has its own pair of nodes on the same wire, and connection tracking on in both.
//! Every round measures every figure of every contender, beginning with another one each time;
//! ratios are taken within a round, so that what a machine does in the meantime cancels out. Both
//! nodes of a pair share this machine, so ratios count, not figures, and processor time beside
//! them. What must hold for the figures to mean what they say is checked in the same run.
//! No figure decides about the exit code.

mod args;
mod cni;
mod contender;
mod cpu;
mod goals;
mod ground;
mod html;
mod machine;
mod metric;
mod netstat;
mod offloads;
mod paths;
mod premises;
mod programs;
mod progress;
mod rate;
mod record;
mod results;
mod rules;
mod run;
mod sample;
mod stats;
mod table;
mod wires;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::holder;
use crate::sandbox::{Ended, Sandbox, require_root};
pub use args::Args;
use cni::CniAdd;
use goals::Verdict;
use machine::Machine;
use premises::Premises;
use programs::Programs;
use results::Results;

/// How long the machine is watched before the run.
const WATCH: Duration = Duration::from_millis(500);

/// Everything that a run found, for those who write it down.
struct Report<'a> {
    args: &'a Args,
    machine: Machine,
    results: Results,
    programs: Option<Programs>,
    cni: Option<CniAdd>,
    premises: Premises,
    verdicts: Vec<Verdict>,
    skipped: Vec<Skipped>,
}

/// What could not be measured here, and why.
#[derive(Debug, Clone, serde::Serialize)]
struct Skipped {
    what: String,
    why: String,
}

/// Measures in a lab. The exit code is 0 if everything could be measured.
///
/// # Errors
/// When the user is not root or the lab cannot be started.
pub fn run(args: &Args) -> Result<u8> {
    require_root()?;
    let words: Vec<_> = std::env::args().skip(2).collect();
    let inside: Vec<_> = ["bench"].into_iter().chain(words.iter().map(String::as_str)).collect();
    match Sandbox::spawn(&inside, None)?.wait(None)? {
        Ended::Exited(code) => Ok(u8::try_from(code).unwrap_or(1)),
        Ended::Interrupted(signal) => {
            args.files().try_for_each(remove_if_empty)?;
            eprintln!("\nstopped: no report was written, and nothing is left of the lab");
            Ok(u8::try_from(128 + signal).unwrap_or(1))
        }
        Ended::TimedOut => bail!("the benchmark was not done in time"),
    }
}

/// The run, in the lab's process 1.
///
/// # Errors
/// When something cannot be set up or measured.
pub fn inside(args: &Args) -> Result<u8> {
    // The lab covers some of the machine's directories: files are opened and facts read before.
    let mut json = args.json.as_deref().map(open).transpose()?;
    let mut html = args.html.as_deref().map(open).transpose()?;
    let machine = Machine::look()?;
    holder::prepare_lab()?;
    let start = Instant::now();
    let report = run::all(args, machine)?;
    table::print(&report);
    if let Some(file) = &mut json {
        record::write(file, &report)?;
    }
    if let Some(file) = &mut html {
        html::write(file, &report)?;
    }
    println!("\n{} in all", progress::shown(start.elapsed()));
    Ok(0)
}

/// An older report stays until there is a new one.
fn open(path: &Path) -> Result<File> {
    let file = File::options().write(true).create(true).truncate(false).open(path);
    file.with_context(|| format!("cannot write {}", path.display()))
}

/// Replaces what a file holds.
fn replace(file: &mut File, text: &str) -> Result<()> {
    file.set_len(0)?;
    file.write_all(text.as_bytes()).context("cannot write the report")
}

/// What [`open`] made for a run that was stopped.
fn remove_if_empty(path: &Path) -> Result<()> {
    let is_empty = path.metadata().is_ok_and(|file| file.is_file() && file.len() == 0);
    if is_empty { Ok(fs::remove_file(path)?) } else { Ok(()) }
}
