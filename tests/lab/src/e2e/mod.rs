//! Kubernetes' own tests of a cluster's network, on the lab's cluster: `tartan-lab e2e`.
//!
//! Each pod network and each mode of kube-proxy has a cluster of its own, one after the other. A
//! run that leaves nothing out can write docs/CONFORMANCE.md, whose figures are then all of the
//! same run. A test that fails with Tartan fails the run, unless its cause is known and not
//! Tartan: `explanations.json` says so.

mod document;
mod explanations;
mod files;
mod ginkgo;
mod inside;
mod options;
mod results;

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use self::explanations::Explanations;
use self::files::Folder;
pub use self::inside::run as inside;
pub use self::options::{Args, Inside};
use self::options::{Network, Part};
use self::results::{Results, Run};
use crate::cgroups::Cgroups;
use crate::sandbox::{Ended, Sandbox, require_root};
use crate::scenario::{SKIPPED, is_skip};

/// How long one cluster may take with all its tests.
const LIMIT: Duration = Duration::from_hours(2);

/// Runs the tests that the flags choose. The exit code is 0 if none failed with Tartan without an
/// explanation.
///
/// # Errors
/// When the user is not root, a file cannot be written, or a cluster does not come up.
pub fn run(args: &Args) -> Result<u8> {
    require_root()?;
    let folder = Folder::make(&args.output)?;
    let explanations = Explanations::known()?;
    let mut results = Results::default();
    for part in args.parts() {
        match one(&part, &folder) {
            Ok(Some(run)) => {
                run.print(&explanations);
                results.runs.push(run);
            }
            Ok(None) => return Ok(skipped()),
            Err(error) if is_skip(&error) => {
                println!("SKIP Kubernetes' own tests. {error:#}");
                return Ok(skipped());
            }
            Err(error) => return Err(error.context(part.title())),
        }
    }
    if let Some(path) = &args.document {
        write(path, &document::text(&results, &explanations)?)?;
    }
    Ok(close(&results, &explanations))
}

fn skipped() -> u8 {
    println!("\n0 passed, 0 failed, 1 skipped");
    0
}

/// The closing line counts what was run with Tartan; another pod network is there to compare with.
fn close(results: &Results, explanations: &Explanations) -> u8 {
    let own = || results.runs.iter().filter(|run| run.network == Network::Tartan);
    let own: Vec<_> =
        if own().next().is_some() { own().collect() } else { results.runs.iter().collect() };
    let passed: usize = own.iter().map(|run| run.passed().count()).sum();
    let failed: usize = own.iter().map(|run| run.unexplained(explanations).count()).sum();
    println!("\n{passed} passed, {failed} failed, 0 skipped");
    u8::from(failed > 0 || passed == 0)
}

/// One cluster and its tests; nothing when something for it is missing.
fn one(part: &Part, folder: &Folder) -> Result<Option<Run>> {
    println!("\n{}", part.title());
    let words = [part.words(), vec![format!("--folder={}", folder.number())]].concat();
    let words: Vec<_> = ["e2e"].into_iter().chain(words.iter().map(String::as_str)).collect();
    match Sandbox::spawn_with(Cgroups::make()?, &words, None)?.wait(Some(LIMIT))? {
        Ended::Exited(0) => folder.read_results(part).map(Some),
        Ended::Exited(code) if code == i32::from(SKIPPED) => Ok(None),
        Ended::Exited(_) => bail!("the cluster or its tests did not run; see above"),
        Ended::TimedOut => bail!("the tests were not done within {LIMIT:?}"),
        Ended::Interrupted(signal) => bail!("stopped by signal {signal}; nothing is left"),
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    println!("\nwritten: {}", path.display());
    Ok(())
}
