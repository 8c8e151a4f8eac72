//! LLVM's development files, which bpf-linker is built against.

use std::env;
use std::path::PathBuf;

use anyhow::{Result, bail};

use super::debian::{Need, Proof};
use super::rust::Compiler;
use crate::workspace::{output_of, tool};

/// The LLVM versions that the pinned bpf-linker can be built with.
const SUPPORTED: std::ops::RangeInclusive<u32> = 21..=23;

/// What must be there to build bpf-linker for this compiler.
pub(crate) fn packages(compiler: &Compiler) -> Result<Vec<Need>> {
    let major = compiler.llvm_major;
    if !SUPPORTED.contains(&major) {
        bail!(
            "rustc {} emits LLVM {major} bitcode and bpf-linker {} reads LLVM {} to {}: use a Rust \
             release in between (`rustup default 1.95`)",
            compiler.release,
            super::linker::VERSION,
            SUPPORTED.start(),
            SUPPORTED.end()
        );
    }
    if env::var_os("LLVM_PREFIX").is_some() {
        own_prefix(compiler)?;
        return Ok(Vec::new());
    }
    let prefix = prefix(compiler);
    let file = |package: String, path: PathBuf| Need { package, proof: Proof::File(path) };
    Ok(vec![
        file(format!("llvm-{major}-dev"), prefix.join("lib/libLLVM.so")),
        file(format!("libclang-{major}-dev"), prefix.join("include/clang-c/Index.h")),
        file(format!("libpolly-{major}-dev"), prefix.join("lib/libPolly.a")),
        file("libzstd-dev".to_owned(), PathBuf::from("/usr/include/zstd.h")),
    ])
}

/// Where LLVM lies: `$LLVM_PREFIX`, or Debian's folder.
pub(crate) fn prefix(compiler: &Compiler) -> PathBuf {
    env::var_os("LLVM_PREFIX").map_or_else(
        || PathBuf::from(format!("/usr/lib/llvm-{}", compiler.llvm_major)),
        PathBuf::from,
    )
}

/// An LLVM of the user's own must be the compiler's version.
fn own_prefix(compiler: &Compiler) -> Result<()> {
    let config = prefix(compiler).join("bin/llvm-config");
    let version = output_of(tool(&config.to_string_lossy()).arg("--version")).unwrap_or_default();
    let wanted = format!("{}.", compiler.llvm_major);
    if version.starts_with(&wanted) {
        return Ok(());
    }
    let found = if version.is_empty() { "nothing that runs" } else { version.trim() };
    bail!(
        "LLVM_PREFIX is set, and {} is {found}, but rustc {} needs LLVM {}: unset it or point it \
         at an LLVM {}",
        config.display(),
        compiler.release,
        compiler.llvm_major,
        compiler.llvm_major
    )
}
