//! `cargo xtask cluster up`: a cluster to look at, with a real API server, until Ctrl-C.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};

use crate::{lab, tools};

/// What to do with a cluster.
#[derive(Subcommand)]
pub(crate) enum Action {
    /// Bring one up, check it, and keep it until Ctrl-C; nothing of it is left then
    Up(Up),
}

#[derive(Args)]
pub(crate) struct Up {
    /// How much of a cluster
    #[arg(long, value_enum, default_value_t = Tier::L1)]
    tier: Tier,
    /// How many nodes (1 to 20)
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=20))]
    nodes: u8,
    /// Leave at once, with the verdict of the checks as exit code
    #[arg(long)]
    exit: bool,
}

/// How much of a cluster is real.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Tier {
    /// etcd, kube-apiserver, kube-controller-manager; nodes are namespaces with an agent each
    L1,
}

/// Runs the action.
pub(crate) fn run(action: &Action) -> Result<ExitCode> {
    let Action::Up(up) = action;
    let Tier::L1 = up.tier;
    let mut args = vec!["up".to_owned(), "--nodes".to_owned(), up.nodes.to_string()];
    args.extend(up.exit.then(|| "--exit".to_owned()));
    tools::run()?;
    lab::run("cluster", &lab::Passed { args })
}
