//! `cargo xtask test`: cargo's tests, then the lab's, and one closing line for both.
//!
//! Everything is tested in the release profile, as it is run. The crates that only compute are
//! tested in the dev profile, where an arithmetic overflow panics: they parse what strangers send.

use std::env;
use std::process::{Command, ExitCode};

use anyhow::Result;
use clap::Args;

use crate::tally::Tally;
use crate::tools::Set;
use crate::{e2e, images, kernels, lab, setup, tee, tools, workspace};

/// Crates without I/O, tested with overflow checks.
const PURE: [&str; 3] = ["tartan-common", "tartan-core", "tartan-fuzz"];

/// How long each parser is fuzzed; a daily run takes the tests' own default.
const FUZZ_SECONDS: &str = "TARTAN_FUZZ_SECONDS";

/// A failure that no test runner counted: a build error, a crash.
const UNCOUNTED: Tally = Tally { passed: 0, failed: 1, skipped: 0 };

/// The lab's two parts: scenarios that run none of the programs of `cargo xtask tools` come first.
/// They leave most of the processor to whoever builds those meanwhile, as CI does.
const WITHOUT_TOOLS: &str = "--without-tools";
const WITH_TOOLS: &str = "--with-tools";

/// How a runner's lines are read.
struct Reader {
    read: fn(&str) -> Option<Tally>,
    /// Whether the lines that were understood are shown: the lab's closing line is not, so that
    /// the one for everything stands alone.
    shown: bool,
    /// Whether running no test at all is no failure.
    may_be_empty: bool,
}

/// Options of `cargo xtask test`.
#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag that a user types")]
pub(crate) struct Options {
    /// Add the slow suites
    #[arg(long)]
    all: bool,
    /// Only the tests that need neither root nor namespaces
    #[arg(long, conflicts_with = "lab")]
    unit: bool,
    /// Only the lab's tests
    #[arg(long)]
    lab: bool,
    /// Only the matrix of Debian's kernels, in virtual machines; a release line runs it alone
    #[arg(long, conflicts_with_all = ["unit", "lab", "all"])]
    kernels: bool,
    /// Only tests whose name contains this
    filter: Option<String>,
}

/// Runs the tests; the exit code is a failure when one failed, or was skipped in CI.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if options.kernels {
        let tally = kernels::run(options.filter.as_deref())?;
        return Ok(verdict(tally, env::var_os("CI").is_some()));
    }
    if options.unit {
        setup::run()?;
    } else {
        lab::build()?;
    }
    let mut sum = Tally::default();
    if !options.lab {
        // The manifest's test renders the chart with a program of theirs.
        if !options.unit && options.filter.is_none() && workspace::is_root() {
            build_tools(|| tools::run(Set::Chart));
        }
        run_cargo(pure_tests(), options, &mut sum)?;
        run_cargo(other_tests(), options, &mut sum)?;
    }
    if !options.unit {
        run_lab(options, &mut sum)?;
    }
    if options.all && !options.unit && options.filter.is_none() {
        run_e2e(&mut sum)?;
    }
    Ok(verdict(sum, env::var_os("CI").is_some()))
}

fn pure_tests() -> Command {
    let mut command = workspace::cargo(["test", "--no-fail-fast"]);
    command.args(PURE.map(|name| format!("--package={name}")));
    command
}

fn other_tests() -> Command {
    let mut command = workspace::cargo(["test", "--no-fail-fast", "--workspace", "--release"]);
    command.args(PURE.map(|name| format!("--exclude={name}")));
    command
}

fn run_cargo(mut command: Command, options: &Options, sum: &mut Tally) -> Result<()> {
    command.args(["--quiet", "--", "--show-output"]).args(&options.filter);
    if options.all && env::var_os(FUZZ_SECONDS).is_none() {
        command.env(FUZZ_SECONDS, "60");
    }
    count(
        &mut command,
        sum,
        &Reader { read: Tally::of_cargo_line, shown: true, may_be_empty: false },
    )
}

fn run_lab(options: &Options, sum: &mut Tally) -> Result<()> {
    if !workspace::is_root() {
        println!("SKIP the lab. {}", lab::needs_root("test")?);
        *sum += Tally { passed: 0, failed: 0, skipped: 1 };
        return Ok(());
    }
    run_scenarios(options, WITHOUT_TOOLS, sum)?;
    if has_scenarios(options, WITH_TOOLS)? {
        // For the slow suites all images as well.
        let all = options.all;
        build_tools(|| if all { images::run(Set::E2e) } else { tools::run(Set::Daily) });
        run_scenarios(options, WITH_TOOLS, sum)?;
    }
    Ok(())
}

fn run_scenarios(options: &Options, part: &str, sum: &mut Tally) -> Result<()> {
    // The word may be meant for other tests alone, and the lab calls that a mistake.
    let may_be_empty = options.filter.is_some();
    if may_be_empty && !has_scenarios(options, part)? {
        return Ok(());
    }
    let reader = Reader { read: Tally::of_closing_line, shown: false, may_be_empty };
    count(&mut lab_tests(options, part)?, sum, &reader)
}

fn lab_tests(options: &Options, part: &str) -> Result<Command> {
    let mut command = lab::command()?;
    command.args(["test", part]).args(options.all.then_some("--all")).args(&options.filter);
    Ok(command)
}

/// Whether scenarios of this part are chosen.
fn has_scenarios(options: &Options, part: &str) -> Result<bool> {
    let names = workspace::output_of(lab_tests(options, part)?.arg("--list"));
    Ok(names.is_some_and(|names| !names.trim().is_empty()))
}

/// Builds programs that tests run. Where that fails the other tests run on, and those that need
/// what is missing are skipped.
fn build_tools(build: impl FnOnce() -> Result<()>) {
    println!();
    if let Err(error) = build() {
        println!("tools: not built; tests that need them are skipped. {error:#}");
    }
}

/// Kubernetes' own tests, the last of the slow suites.
fn run_e2e(sum: &mut Tally) -> Result<()> {
    if !workspace::is_root() {
        return Ok(());
    }
    let reader = Reader { read: Tally::of_closing_line, shown: false, may_be_empty: false };
    count(&mut e2e::command()?, sum, &reader)
}

/// Runs `command` and adds what its lines say. A command that fails without having counted a
/// failure did not build, or crashed: that is one.
fn count(command: &mut Command, sum: &mut Tally, reader: &Reader) -> Result<()> {
    println!("\n$ {}", described(command));
    let mut own = None;
    let status = tee::run(command, |line| {
        let delta = (reader.read)(line);
        if let Some(delta) = delta {
            *own.get_or_insert_default() += delta;
        }
        delta.is_none() || reader.shown
    })?;
    let counted = own.unwrap_or_default();
    *sum += counted;
    let matched_none = reader.may_be_empty && own == Some(Tally::default());
    if !status.success() && counted.failed == 0 && !matched_none {
        println!("error: {} ended with {status} and named no failed test", described(command));
        *sum += UNCOUNTED;
    }
    Ok(())
}

fn described(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    let words = words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>();
    words.join(" ")
}

/// Prints the closing line, alone, as the last one.
fn verdict(tally: Tally, ci: bool) -> ExitCode {
    let faults = faults(tally, ci);
    for fault in &faults {
        println!("\n{fault}");
    }
    println!("\n{}", tally.closing_line());
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Why a run is not green. In CI a skipped test proves nothing, so it counts as a fault.
fn faults(tally: Tally, ci: bool) -> Vec<&'static str> {
    let Tally { passed, failed, skipped } = tally;
    [
        (
            failed > 0,
            "Tests failed: each is named above. A word runs it alone: cargo xtask test WORD",
        ),
        (ci && skipped > 0, "CI is set, and there a skip is a failure: see the SKIP lines above."),
        (passed + failed + skipped == 0, "No test ran: the options and the word leave none."),
    ]
    .into_iter()
    .filter_map(|(holds, text)| holds.then_some(text))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_green(passed: i64, failed: i64, skipped: i64, ci: bool) -> bool {
        faults(Tally { passed, failed, skipped }, ci).is_empty()
    }

    #[test]
    fn a_failed_test_is_a_failure() {
        assert!(!is_green(9, 1, 0, false));
    }

    #[test]
    fn a_skip_is_a_failure_in_ci_alone() {
        assert!(is_green(9, 0, 1, false));
        assert!(!is_green(9, 0, 1, true));
    }

    #[test]
    fn a_run_without_tests_is_a_failure() {
        assert!(!is_green(0, 0, 0, false));
    }

    #[test]
    fn all_passed_is_green() {
        assert!(is_green(9, 0, 0, true));
    }
}
