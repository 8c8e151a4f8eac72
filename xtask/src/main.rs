//! Every developer command of Tartan. CI calls nothing else.
//!
//! The crate promises that each command first makes sure of what it needs (`setup`), says what
//! it does before it does it, and exits non-zero exactly when something is wrong. It has few
//! dependencies, because its own build is the first thing that a newcomer waits for.

mod check;
mod cluster;
mod docs;
mod e2e;
mod fuzz;
mod image;
mod images;
mod kernels;
mod lab;
mod manifest;
mod setup;
mod step;
mod tally;
mod tee;
mod test;
mod tools;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Every developer command of Tartan.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what the others need (they call it first): packages, rust-src, bpf-linker
    Setup,
    /// Build the binaries and the eBPF object, optimised, into target/release
    Build,
    /// All gates: format, lints (host and BPF), documentation, generated files, licences
    Check,
    /// Run all tests: unit, property, object, and the lab's (root)
    Test(test::Options),
    /// Three nodes and six pods in network namespaces, and all they say to each other (root)
    Demo(lab::Passed),
    /// Measure against host networking, the kernel's own ways and the real flannel (root)
    Bench(lab::Passed),
    /// Search for packets that break a rule: TARGET, --seconds N, --seed N, --replay FILE, --save
    Fuzz(lab::Passed),
    /// Build the programs that tests run beside Tartan: a control plane, flannel, CNI plugins
    Tools(tools::Options),
    /// A real Kubernetes cluster in namespaces: up, down, status, logs, exec, kubectl, fault (root)
    Cluster {
        #[command(subcommand)]
        action: cluster::Action,
    },
    /// Run Kubernetes' own tests of the network on a cluster with Tartan (root)
    E2e(e2e::Options),
    /// Regenerate the generated documents in docs/ and docs/surface/
    Docs,
    /// Make the images that a cluster of kubelets runs for tests, and the product's own
    Images(images::Options),
    /// Make the container images: static, from scratch, for amd64 and arm64
    Image(image::Options),
    /// Render deploy/kube-tartan.yml from the Helm chart, or compare it
    Manifest(manifest::Options),
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Setup => setup::run()?,
        Command::Build => lab::build()?,
        Command::Check => return check::run(),
        Command::Test(options) => return test::run(&options),
        Command::Demo(passed) => return lab::run("demo", &passed),
        Command::Bench(passed) => return lab::bench(&passed),
        Command::Fuzz(passed) => return fuzz::run(&passed),
        Command::Tools(options) => tools::run(options.set())?,
        Command::Cluster { action } => return cluster::run(&action),
        Command::E2e(options) => return e2e::run(&options),
        Command::Docs => docs::run()?,
        Command::Images(options) => images::run(options.set())?,
        Command::Image(options) => image::run(&options)?,
        Command::Manifest(options) => return manifest::run(&options),
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn demo_passes_unknown_words_to_the_lab() {
        let cli = Cli::parse_from(["cargo xtask", "demo", "--keep", "3"]);
        let Command::Demo(passed) = cli.command else { panic!("not demo") };
        assert_eq!(passed.args, ["--keep", "3"]);
    }
}
