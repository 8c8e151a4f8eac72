//! `cargo xtask fuzz`: the decisions about packets under coverage-guided fuzzing.
//!
//! Stable Rust can ask LLVM for its instrumentation, so no other toolchain is needed. What is built
//! with it lies in a target folder of its own.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, ensure};

use crate::lab::Passed;
use crate::workspace::{self, cargo};

/// A counter per edge, and the operands of comparisons (LLVM's SanitizerCoverage).
const INSTRUMENTATION: [&str; 4] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=3",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// Builds the search with instrumentation and runs it with the user's words.
pub(crate) fn run(passed: &Passed) -> Result<ExitCode> {
    let host = host()?;
    let folder = workspace::target_dir()?.join("fuzz");
    println!("fuzz: building with instrumentation");
    let mut build = cargo(["build", "--quiet", "--release", "--package=tartan-fuzz", "--target"]);
    build.args([&host, "--target-dir"]).arg(&folder);
    // With a target named, cargo keeps the flags away from what runs at build time. An overflow
    // panics: the packets are strangers'.
    build.env("RUSTFLAGS", INSTRUMENTATION.join(" "));
    build.env("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "true");
    let status = build.status().context("cannot start cargo")?;
    ensure!(status.success(), "the build failed: correct what the compiler names above");
    let program = folder.join(host).join("release/tartan-fuzz");
    let mut fuzz = Command::new(&program);
    let words: &[OsString] = &passed.args.iter().map(OsString::from).collect::<Vec<_>>();
    let status = fuzz.args(words).status();
    let status = status.with_context(|| format!("cannot start {}", program.display()))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn host() -> Result<String> {
    let told = workspace::output_of(Command::new("rustc").arg("-vV"));
    let line =
        told.as_deref().and_then(|text| text.lines().find_map(|it| it.strip_prefix("host: ")));
    line.map(str::to_owned).context("rustc does not say its host: check that rustc -vV runs")
}
