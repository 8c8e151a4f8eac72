//! `cargo xtask e2e`: Kubernetes' own tests of the network, on a cluster with Tartan.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};
use clap::Args;

use crate::tools::Set;
use crate::{images, lab, workspace};

/// What the results are written to, in the tree.
const DOCUMENT: &str = "docs/CONFORMANCE.md";

/// Options of `cargo xtask e2e`.
#[derive(Args)]
pub(crate) struct Options {
    /// How kube-proxy translates Services
    #[arg(long, default_value = "both", value_parser = ["iptables", "nftables", "both"])]
    proxy: String,
    /// Who connects the pods: Tartan, or flannel to compare with
    #[arg(long, default_value = "tartan", value_parser = ["tartan", "flannel", "both"])]
    cni: String,
    /// Only tests of the network whose names match this regular expression, conformance or not
    #[arg(long, value_name = "REGEX")]
    focus: Option<String>,
    /// Add the tests of the network that are not for conformance: half an hour more per cluster
    #[arg(long)]
    more: bool,
    /// Write the results to docs/CONFORMANCE.md; for `--cni both` without --focus
    #[arg(long, conflicts_with = "focus")]
    document: bool,
}

/// Builds everything and runs the tests; the lab takes this process's place.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    lab::build()?;
    if !workspace::is_root() {
        eprintln!("{}", lab::needs_root("e2e")?);
        return Ok(ExitCode::FAILURE);
    }
    images::run(Set::E2e)?;
    let mut command = command()?;
    command.args([format!("--proxy={}", options.proxy), format!("--cni={}", options.cni)]);
    command.args(options.focus.as_ref().map(|focus| format!("--focus={focus}")));
    command.args(options.more.then_some("--more"));
    if options.document {
        command.arg("--document").arg(workspace::root().join(DOCUMENT));
    }
    Err(command.exec()).context("cannot start the lab")
}

/// The lab's part, whose logs go to the target folder.
pub(crate) fn command() -> Result<Command> {
    let mut command = lab::command()?;
    command.arg("e2e").arg("--output").arg(workspace::target_dir()?.join("e2e"));
    Ok(command)
}
