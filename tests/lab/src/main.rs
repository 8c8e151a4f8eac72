//! `tartan-lab`: the demo, the namespace tests, and a cluster to look at.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use tartan_lab::tools::{self, Tool};
use tartan_lab::{bench, cluster_up, demo, holder, runner, sandbox, scenario};

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
    /// Measures Tartan beside the host's network and the kernel's vxlan.
    Bench(bench::Args),
    /// Runs the scenarios, each in a lab of its own.
    Test(runner::Args),
    /// A cluster with a real API server.
    Cluster {
        #[command(subcommand)]
        action: cluster_up::Action,
    },
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
    Holder {
        name: String,
        #[arg(long)]
        plain: bool,
    },
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
    Cluster(cluster_up::Args),
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("tartan-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<u8> {
    match command {
        Command::Demo => demo::run(),
        Command::Bench(_) => bench::run(),
        Command::Test(args) => runner::run(&args),
        Command::Cluster { action } => cluster_up::run(&action),
        Command::Keeper { args } => Ok(u8::try_from(sandbox::keep(&args)?).unwrap_or(u8::MAX)),
        Command::Inside { what } => inside(what),
        Command::Holder { name, plain } => holder::hold(&name, plain).map(|()| 0),
        Command::Tool { tool } => tools::run(tool).map(|()| 0),
    }
}

fn inside(what: Inside) -> Result<u8> {
    match what {
        Inside::Scenario { name } => holder::prepare_lab().and_then(|()| scenario::run_one(&name)),
        Inside::Demo => holder::prepare_lab().and_then(|()| demo::inside()),
        Inside::Bench(args) => bench::inside(&args),
        Inside::Cluster(args) => {
            let outer = cluster_up::outer_pid()?;
            holder::prepare_lab().and_then(|()| cluster_up::inside(&args, &outer))
        }
    }
}
