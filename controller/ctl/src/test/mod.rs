//! `tartanctl test`: shows that a cluster's pod network works, or what does not.
//!
//! Probes run as pods of Tartan's own image on every node and are asked through the API server,
//! so that it works from wherever kubectl does. All of it lies in one namespace, which is gone
//! afterwards, also after an error or an interruption.

mod agents;
mod asking;
mod check;
mod cleaning;
mod cluster;
#[cfg(test)]
mod flow;
mod ground;
mod interrupts;
mod kube;
mod narrator;
mod objects;
mod options;
mod outcome;
mod plan;
mod policy;
pub mod probe;
mod report;
mod runner;
mod scenario;
mod stage;
mod survey;
mod suspects;

use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use self::interrupts::Signals;
use self::kube::KubeCluster;
use self::narrator::Narrator;
use self::outcome::{Outcome, Report};
use crate::output::{self, Format};

pub use self::options::Options;
pub use self::scenario::{SCENARIOS, Scenario};

/// Exit codes of `tartanctl test`.
pub const EXIT_CODES: [(u8, &str); 3] = [
    (
        0,
        "every scenario passed or was skipped with its reason; or --list or --cleanup did its work",
    ),
    (1, "a scenario failed: the summary says which, what it means and where to look"),
    (2, "the test could not run, or not to its end: no cluster, no rights, a signal, --timeout"),
];

/// Runs the test, and says on standard error why it could not.
#[must_use]
pub fn run(format: Format, options: &Options) -> ExitCode {
    match test(format, options) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("tartanctl test: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn test(format: Format, options: &Options) -> Result<u8> {
    if options.list {
        list(format)?;
        return Ok(0);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(against_cluster(format, options))
}

async fn against_cluster(format: Format, options: &Options) -> Result<u8> {
    let mut signals = Signals::new()?;
    // Standard output is the results': programs read it.
    let out: Box<dyn Write> = match format {
        Format::Text => Box::new(io::stdout()),
        Format::Json => Box::new(io::stderr()),
    };
    let mut narrator = Narrator::new(out);
    let file = options.kubeconfig.as_deref();
    let cluster = KubeCluster::new(file, options.context.as_deref()).await?;
    narrator.say(&format!("cluster {}", cluster.server))?;
    if options.cleanup {
        cleaning::remove_leftovers(&cluster, &mut narrator, &mut signals).await?;
        return Ok(0);
    }
    let report = runner::run(&cluster, options, &mut narrator, &mut signals).await?;
    publish(format, options, &report, &mut narrator)?;
    Ok(exit_code(&report))
}

fn publish(
    format: Format,
    options: &Options,
    report: &Report,
    narrator: &mut Narrator<impl Write>,
) -> Result<()> {
    if let Some(file) = &options.junit {
        fs::write(file, report::junit::document(report))
            .with_context(|| format!("cannot write {}: name another --junit", file.display()))?;
    }
    match format {
        Format::Text => Ok(narrator.say(report::text::summary(report).trim_end())?),
        Format::Json => output::json(&report::json::document(report)),
    }
}

fn exit_code(report: &Report) -> u8 {
    let failed = report.rows.iter().any(|row| matches!(row.done.outcome, Outcome::Failed(_)));
    match (report.cut, failed) {
        (Some(_), _) => 2,
        (None, true) => 1,
        (None, false) => 0,
    }
}

fn list(format: Format) -> Result<()> {
    match format {
        Format::Json => output::json(&SCENARIOS.iter().map(listed).collect::<Vec<_>>()),
        Format::Text => {
            for scenario in SCENARIOS {
                println!("{:2} {:20} {}", scenario.number(), scenario.id, scenario.shows);
            }
            Ok(())
        }
    }
}

fn listed(scenario: &Scenario) -> serde_json::Value {
    serde_json::json!({
        "number": scenario.number(),
        "id": scenario.id,
        "shows": scenario.shows,
    })
}
