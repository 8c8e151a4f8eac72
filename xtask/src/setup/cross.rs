//! What compiling for another libc or processor takes: Rust's own library for it, and a C
//! compiler for the few dependencies that are not all Rust.

use std::path::PathBuf;

use anyhow::{Result, bail};

use super::debian::{self, Need, Proof};
use super::rust;
use crate::step;
use crate::workspace::{has_program, tool};

/// Something that a Debian package brings.
pub(crate) enum CrossNeed {
    /// A program on the path.
    Program { package: &'static str, program: &'static str },
    /// A file.
    File { package: &'static str, path: &'static str },
}

impl CrossNeed {
    fn need(self) -> Need {
        let (package, proof) = match self {
            Self::Program { package, program } => (package, Proof::Program(program)),
            Self::File { package, path } => (package, Proof::File(PathBuf::from(path))),
        };
        Need { package: package.to_owned(), proof }
    }
}

/// Makes sure of everything for one target.
pub(crate) fn install(target: &str, needs: Vec<CrossNeed>) -> Result<()> {
    library(target)?;
    debian::install(&needs.into_iter().map(CrossNeed::need).collect::<Vec<_>>())
}

fn library(target: &str) -> Result<()> {
    let compiler = rust::Compiler::ask()?;
    if compiler.has_target(target) {
        return Ok(());
    }
    if !has_program("rustup") {
        bail!(
            "this toolchain has no standard library for {target} and there is no rustup to add it: \
             install Rust 1.95 or later from https://rustup.rs"
        );
    }
    let title = format!("setup: rustup target add {target}");
    step::run(&title, tool("rustup").args(["target", "add", target]))
}
