//! The gates, in the order in which they run: the quick ones first.

use std::env::consts::ARCH;

use anyhow::Result;

use super::{Gate, Outcome, house, links, scratch, tool_outcome};
use crate::docs::{self, Kind};
use crate::workspace::{cargo, tool};

/// The cargo-deny that judges licences and sources: pinned, so that a new one is a decision.
pub(crate) const CARGO_DENY: &str = "0.20.2";

/// Every gate.
pub(crate) const ALL: &[Gate] = &[
    Gate { name: "lockfile", fix: "cargo update --workspace", look: lockfile },
    Gate { name: "fmt", fix: "cargo fmt --all", look: fmt },
    Gate { name: "house rules", fix: "CONTRIBUTING.md, Style", look: house::rules },
    Gate { name: "links", fix: "correct the path in the Markdown file", look: links::rules },
    Gate { name: "licences", fix: "deny.toml, or another dependency", look: licences },
    Gate {
        name: "clippy",
        fix: "edit; some of it mends itself by cargo clippy --fix --allow-dirty --workspace",
        look: clippy_host,
    },
    Gate { name: "clippy for BPF", fix: "edit ebpf/ or common/", look: clippy_bpf },
    Gate { name: "rustdoc", fix: "edit the named doc comment", look: rustdoc },
    Gate { name: "generated files", fix: "cargo xtask docs", look: generated },
    Gate {
        name: "public surface",
        fix: "undo the change, or decide it: cargo xtask docs, and a line in docs/decisions/",
        look: surface,
    },
];

fn lockfile() -> Result<Outcome> {
    tool_outcome(&mut cargo(["metadata", "--locked", "--format-version=1", "--quiet"]))
}

fn fmt() -> Result<Outcome> {
    // Names the files alone: the command that mends them needs no more.
    tool_outcome(&mut cargo(["fmt", "--all", "--", "--check", "-l"]))
}

/// Advisories stay out: their database is not on a package registry.
fn licences() -> Result<Outcome> {
    let mut command = tool("cargo-deny");
    command.args(["--workspace", "--color=never", "check"]);
    tool_outcome(command.args(["--hide-inclusion-graph", "bans", "licenses", "sources"]))
}

/// In the release profile, so that the build scripts (the eBPF object) run once for all commands.
fn clippy_host() -> Result<Outcome> {
    let mut command =
        cargo(["clippy", "--quiet", "--workspace", "--all-targets", "--release", "--"]);
    tool_outcome(command.args(["-D", "warnings"]))
}

/// Both builds of the programs: the plain one, and the one that can log packets.
fn clippy_bpf() -> Result<Outcome> {
    match clippy_bpf_with("")? {
        Outcome::Green => clippy_bpf_with("log"),
        red @ Outcome::Red(_) => Ok(red),
    }
}

/// Apart from the host's: in one run, features of host crates would leak into the `no_std` build.
/// Its own target folder keeps `RUSTC_BOOTSTRAP` from invalidating everybody's build scripts.
fn clippy_bpf_with(features: &str) -> Result<Outcome> {
    let mut command = cargo(["clippy", "--quiet", "--package=tartan-ebpf", "--release"]);
    command
        .args(["--target=bpfel-unknown-none", "-Zbuild-std=core", "--features", features])
        .arg("--target-dir")
        .arg(scratch("clippy-bpf")?)
        .args(["--", "-D", "warnings"])
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", format!("--cfg=bpf_target_arch=\"{ARCH}\""));
    tool_outcome(&mut command)
}

fn rustdoc() -> Result<Outcome> {
    let mut command = cargo(["doc", "--quiet", "--workspace", "--no-deps", "--release"]);
    tool_outcome(command.env("RUSTDOCFLAGS", "-D warnings"))
}

fn generated() -> Result<Outcome> {
    docs::compare(&scratch("docs")?, Kind::Document)
}

fn surface() -> Result<Outcome> {
    docs::compare(&scratch("docs")?, Kind::Surface)
}
