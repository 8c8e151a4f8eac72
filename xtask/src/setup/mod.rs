//! `cargo xtask setup`: everything that the other commands need, installed once.
//!
//! It promises to be idempotent and quick when nothing is missing, to say what it does before it
//! does it, and to print the exact commands where it may not or cannot install by itself.

mod cross;
mod debian;
mod linker;
mod llvm;
mod rust;

use anyhow::Result;

pub(crate) use self::cross::{CrossNeed, install as cross};
pub(crate) use self::linker::install_pinned;
use crate::tools::Set;

/// Makes sure of what a cluster of kubelets needs beside all that.
pub(crate) fn cluster(set: Set) -> Result<()> {
    debian::install(&debian::cluster_tools(set))
}

/// Makes sure of what boots other kernels.
pub(crate) fn kernels() -> Result<()> {
    debian::install(&debian::kernel_tools())
}

/// Makes sure of all of it.
pub(crate) fn run() -> Result<()> {
    let compiler = rust::Compiler::ask()?;
    rust::components(&compiler)?;
    let linker_missing = !linker::is_ready(&compiler);
    let mut wanted = debian::lab_tools();
    if linker_missing {
        wanted.extend(llvm::packages(&compiler)?);
    }
    debian::install(&wanted)?;
    if linker_missing {
        linker::install(&compiler)?;
    }
    println!(
        "setup: ready (rustc {}, LLVM {}, bpf-linker {})",
        compiler.release,
        compiler.llvm_major,
        linker::VERSION
    );
    Ok(())
}
