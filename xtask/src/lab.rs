//! Demo and benchmark: build everything, then become the lab.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::workspace::{self, cargo, product, shown};
use crate::{images, setup, tools};

/// What an operator installs, and the lab that runs it.
const BINARIES: [&str; 4] = ["tartand", "tartan-cni", "tartanctl", "tartan-lab"];

/// What cargo builds for every command, always together: with the example come the features that
/// the tests ask of dependencies, so that `build`, `check` and `test` compile those once. Images
/// are built without.
pub(crate) const BUILD: [&str; 5] = ["build", "--release", "--bins", "--example", GENERATOR];
/// What writes the generated documents.
pub(crate) const GENERATOR: &str = "surface";

/// Words for the lab.
#[derive(Args)]
pub(crate) struct Passed {
    /// Passed on to the lab as they are (`--help` after `--` lists them)
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) args: Vec<String>,
}

/// `cargo xtask build`.
pub(crate) fn build() -> Result<()> {
    setup::run()?;
    println!("build: release binaries and the eBPF object, some minutes the first time");
    let status = cargo(BUILD).status().context("cannot start cargo")?;
    if !status.success() {
        bail!("the build failed: correct what the compiler names above");
    }
    for name in BINARIES {
        println!("  {}", shown(&product(name)?));
    }
    Ok(())
}

/// `cargo xtask demo` and `bench`: the lab takes this process's place, so signals and the exit
/// code are its own.
pub(crate) fn run(subcommand: &str, passed: &Passed) -> Result<ExitCode> {
    build()?;
    let lab = product("tartan-lab")?;
    if !workspace::is_root() {
        eprintln!("{}", needs_root(subcommand)?);
        return Ok(ExitCode::FAILURE);
    }
    let error = command()?.arg(subcommand).args(&passed.args).exec();
    Err(error).with_context(|| format!("cannot start {}", lab.display()))
}

/// `cargo xtask bench`: with flannel and kube-proxy beside, where they can be built.
pub(crate) fn bench(passed: &Passed) -> Result<ExitCode> {
    let asks_for_help = passed.args.iter().any(|word| word == "--help" || word == "-h");
    if workspace::is_root()
        && !asks_for_help
        && let Err(error) = tools::run(tools::Set::Daily)
    {
        println!("tools: not built; what needs them is left out. {error:#}");
    }
    run("bench", passed)
}

/// The lab, told where the programs of `cargo xtask tools` and the test images are.
pub(crate) fn command() -> Result<Command> {
    let mut command = workspace::tool(&product("tartan-lab")?.to_string_lossy());
    command.env(tools::VARIABLE, tools::directory());
    command.env(images::VARIABLE, images::directory());
    Ok(command)
}

/// What to type instead, for a user who is not root.
pub(crate) fn needs_root(subcommand: &str) -> Result<String> {
    let lab = shown(&product("tartan-lab")?);
    Ok(format!(
        "The lab makes network namespaces and loads eBPF programs: it needs root. Run:\n    \
         sudo {}={} {}={} {lab} {subcommand}",
        tools::VARIABLE,
        tools::directory().display(),
        images::VARIABLE,
        images::directory().display(),
    ))
}
