//! `tartanctl`: what a node is doing, and how to take it down again.

mod cleanup;
mod drops;
mod explain;
mod install;
mod log;
mod paths;
mod peers;
mod status;
mod trace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use nix::sys::signal::{SigHandler, Signal, signal};

use tartan_ctl::test::probe::{self, Probe};
use tartan_ctl::{output, test};

use crate::output::Format;

/// Shows what Tartan does on this node.
#[derive(Debug, Parser)]
#[command(name = "tartanctl", version, arg_required_else_help = true)]
struct Arguments {
    /// How to print: text for people, json for programs.
    #[arg(short, long, global = true, default_value = "text")]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What this node is set up for, why, and what is wrong. Exit code 1 when something is.
    Status,
    /// The other nodes, and leases that are not used.
    Peers,
    /// Packets that were dropped, by reason, with what to do about it.
    Drops {
        /// Show reasons that never occurred, too.
        #[arg(long)]
        all: bool,
    },
    /// Packets by the way that they took, and what happened on it.
    Paths,
    /// What would become of a packet and why: which program meets it, which peer it goes to.
    /// Sends nothing. Exit code 1 when it would be dropped.
    Explain(explain::Options),
    /// Sends one marked packet and tells which programs it meets, and what they do with it. Swaps
    /// the programs as `log` does. Exit code 1 when it is dropped or never seen.
    Trace(trace::Options),
    /// Logs packets by what becomes of them, until Ctrl-C. Swaps in a build of the programs
    /// that can log, and the usual one back at the end; no packet is lost.
    Log(log::Selection),
    /// Installs the CNI plugin into the container runtime's folder, by rename.
    InstallCni(install::Installation),
    /// Removes everything of Tartan's from this node: pins, programs, the overlay device,
    /// its route, files. Pods lose their network.
    Cleanup {
        /// Only list what would be removed.
        #[arg(long)]
        dry_run: bool,
    },
    /// Tests the pod network of a cluster: pods on every node, and all they say to each other.
    /// Exit code 1 when something does not work, 2 when the test could not run.
    Test(test::Options),
    /// What the test runs in its pods.
    #[command(subcommand, hide = true)]
    Probe(Probe),
}

fn main() -> ExitCode {
    let Arguments { output, command } = Arguments::parse();
    // These have something to put right before they end.
    if !matches!(command, Command::Log(_) | Command::Trace(_) | Command::Test(_)) {
        end_with_the_reader();
    }
    match run(output, &command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tartanctl: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// `tartanctl drops | head` ends quietly: Rust ignores SIGPIPE and would panic instead.
fn end_with_the_reader() {
    // SAFETY: no other thread runs yet, and the default action is no handler of ours.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
}

fn run(output: Format, command: &Command) -> Result<ExitCode> {
    match command {
        Command::Status => status::run(output),
        Command::Peers => peers::run(output),
        Command::Drops { all } => drops::run(output, *all),
        Command::Paths => paths::run(output),
        Command::Explain(options) => explain::run(output, options),
        Command::Trace(options) => trace::run(output, options),
        Command::Log(selection) => log::run(selection),
        Command::InstallCni(wanted) => install::run(output, wanted),
        Command::Cleanup { dry_run } => cleanup::run(output, *dry_run),
        Command::Test(options) => Ok(test::run(output, options)),
        Command::Probe(probe) => probe::run(probe),
    }
}
