//! The Rust toolchain: which one runs, and its components.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::step;
use crate::workspace::{has_program, output_of, tool};

/// The compiler that cargo uses here.
pub(crate) struct Compiler {
    /// Its version, like `1.95.0`.
    pub(crate) release: String,
    /// The LLVM that it was built with: what it emits, bpf-linker must read.
    pub(crate) llvm_major: u32,
    /// The folder that holds its components.
    sysroot: PathBuf,
}

impl Compiler {
    /// Asks `rustc` itself.
    pub(crate) fn ask() -> Result<Self> {
        let version = output_of(rustc().arg("-vV")).context(
            "`rustc -vV` does not run: install Rust 1.95 or later from https://rustup.rs",
        )?;
        let sysroot = output_of(rustc().args(["--print", "sysroot"]))
            .context("`rustc --print sysroot` does not run: reinstall the Rust toolchain")?;
        Ok(Self {
            release: field(&version, "release: ")?.to_owned(),
            llvm_major: llvm_major(&version)?,
            sysroot: PathBuf::from(sysroot.trim()),
        })
    }

    /// Whether the standard library for a target is there.
    pub(crate) fn has_target(&self, target: &str) -> bool {
        self.sysroot.join("lib/rustlib").join(target).join("lib").is_dir()
    }

    fn missing_components(&self) -> Vec<&'static str> {
        [
            ("rust-src", "lib/rustlib/src/rust/library/core/src/lib.rs"),
            ("clippy", "bin/cargo-clippy"),
            ("rustfmt", "bin/rustfmt"),
        ]
        .into_iter()
        .filter(|(_, file)| !self.sysroot.join(file).exists())
        .map(|(component, _)| component)
        .collect()
    }
}

/// Adds the components that are missing: rust-src holds the `core` that is built for BPF.
pub(crate) fn components(compiler: &Compiler) -> Result<()> {
    let missing = compiler.missing_components();
    if missing.is_empty() {
        return Ok(());
    }
    if !has_program("rustup") {
        bail!(
            "this toolchain ({}) lacks {} and there is no rustup to add it: install Rust 1.95 or \
             later from https://rustup.rs, or these components from where your rustc came",
            compiler.sysroot.display(),
            missing.join(", ")
        );
    }
    let title = format!("setup: rustup component add {}", missing.join(" "));
    step::run(&title, tool("rustup").args(["component", "add"]).args(missing))
}

fn rustc() -> Command {
    tool("rustc")
}

fn field<'a>(version: &'a str, key: &str) -> Result<&'a str> {
    version
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .with_context(|| format!("`rustc -vV` prints no line `{key}`: is it a Rust compiler?"))
}

fn llvm_major(version: &str) -> Result<u32> {
    let llvm = field(version, "LLVM version: ")?;
    let major = llvm.split('.').next().unwrap_or_default();
    major.parse().with_context(|| format!("`rustc -vV` names no LLVM version: {llvm}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION: &str =
        "rustc 1.95.0 (59807616e 2026-04-14)\nrelease: 1.95.0\nLLVM version: 22.1.2\n";

    #[test]
    fn the_llvm_major_is_read_from_the_compiler() {
        assert_eq!(llvm_major(VERSION).unwrap(), 22);
    }

    #[test]
    fn a_compiler_without_llvm_is_an_error() {
        assert!(llvm_major("release: 1.95.0\n").is_err());
    }
}
