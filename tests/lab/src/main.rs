//! `tartan-lab`: the demo, the namespace tests, and a cluster to look at.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use tartan_lab::tools::{self, Tool};
use tartan_lab::{bench, cgroups, cluster_cli, demo, e2e, holder, runner, sandbox, scenario};

/// Nodes, pods and a wire in namespaces of this machine. Needs root; leaves nothing.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows the whole path on three nodes; ends in PASS or FAIL.
    Demo,
    /// Measures Tartan beside the host's network, the kernel's own ways and the real flannel.
    Bench(bench::Args),
    /// Runs the scenarios, each in a lab of its own.
    Test(runner::Args),
    /// Runs Kubernetes' own tests of the network on a cluster.
    E2e(e2e::Args),
    /// A cluster to look at, to work with and to break.
    #[command(subcommand)]
    Cluster(cluster_cli::Action),
    #[command(hide = true)]
    Supervisor(cluster_cli::supervisor::Args),
    #[command(hide = true)]
    Keeper {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    #[command(hide = true)]
    Inside {
        #[command(subcommand)]
        what: Inside,
    },
    #[command(hide = true)]
    Holder { name: String, kind: holder::Kind },
    #[command(hide = true)]
    Janitor { dirs: Vec<PathBuf> },
    #[command(hide = true)]
    Tool {
        #[command(subcommand)]
        tool: Tool,
    },
}

/// What process 1 of a lab does.
#[derive(Debug, Subcommand)]
enum Inside {
    Scenario { name: String },
    Demo,
    Bench(bench::Args),
    Cluster(cluster_cli::Options),
    E2e(e2e::Inside),
}

fn main() -> ExitCode {
    match run(parse().command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("tartan-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Speaks of itself by the name under which the user called it.
fn parse() -> Cli {
    let mut command = Cli::command();
    if let Some(name) = cluster_cli::called() {
        command = command.bin_name(name);
    }
    Cli::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
}

fn run(command: Command) -> Result<u8> {
    match command {
        Command::Demo => demo::run(),
        Command::Bench(args) => bench::run(&args),
        Command::Test(args) => runner::run(&args),
        Command::E2e(args) => e2e::run(&args),
        Command::Cluster(action) => cluster_cli::run(action),
        Command::Supervisor(args) => cluster_cli::supervisor::run(&args),
        Command::Keeper { args } => Ok(u8::try_from(sandbox::keep(&args)?).unwrap_or(u8::MAX)),
        Command::Inside { what } => inside(what),
        Command::Holder { name, kind } => holder::hold(&name, kind).map(|()| 0),
        Command::Janitor { dirs } => cgroups::clean_up_after(&dirs).map(|()| 0),
        Command::Tool { tool } => tools::run(tool).map(|()| 0),
    }
}

fn inside(what: Inside) -> Result<u8> {
    match what {
        Inside::Scenario { name } => holder::prepare_lab().and_then(|()| scenario::run_one(&name)),
        Inside::Demo => holder::prepare_lab().and_then(|()| demo::inside()),
        Inside::Bench(args) => bench::inside(&args),
        Inside::E2e(options) => e2e::inside(&options),
        Inside::Cluster(options) => {
            let outside = cluster_cli::inside::Outside::ask()?;
            holder::prepare_lab().and_then(|()| cluster_cli::inside::run(&options, &outside))
        }
    }
}
