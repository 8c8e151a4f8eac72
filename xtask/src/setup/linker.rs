//! Programs that cargo builds for us: bpf-linker, and through it any other pinned one.

use std::fs;
use std::process::Command;

use anyhow::Result;

use super::llvm;
use super::rust::Compiler;
use crate::workspace::{cargo_home, output_of, tool};
use crate::{step, workspace};

/// The bpf-linker that the eBPF object is linked with, here and in CI.
pub(crate) const VERSION: &str = "0.13.0";

/// Whether this bpf-linker runs and reads what this compiler emits.
///
/// `cargo install` notes the features; of a bpf-linker that came another way (a package, a
/// prebuilt one) the version has to be enough.
pub(crate) fn is_ready(compiler: &Compiler) -> bool {
    let said = output_of(tool("bpf-linker").arg("--version")).unwrap_or_default();
    if said.trim() != format!("bpf-linker {VERSION}") {
        return false;
    }
    let installs = fs::read_to_string(cargo_home().join(".crates2.json")).unwrap_or_default();
    let feature = format!("\"llvm-{}\"", compiler.llvm_major);
    noted(&installs).is_none_or(|entry| entry.contains(&feature))
}

/// What cargo noted about the installed bpf-linker.
fn noted(installs: &str) -> Option<&str> {
    let start = installs.find(&format!("\"bpf-linker {VERSION} "))?;
    let entry = &installs[start..];
    Some(&entry[..entry.find('}').unwrap_or(entry.len())])
}

/// Builds bpf-linker with the compiler's own LLVM version.
pub(crate) fn install(compiler: &Compiler) -> Result<()> {
    let prefix = llvm::prefix(compiler);
    let feature = format!("llvm-{}", compiler.llvm_major);
    let mut command = install_command("bpf-linker", VERSION);
    command.args(["--no-default-features", "--features", &feature]).env("LLVM_PREFIX", prefix);
    let title = format!("setup: bpf-linker {VERSION} for LLVM {}", compiler.llvm_major);
    println!("{title}: built from source, about a minute on two cores");
    step::run(&title, &mut command)
}

/// Makes sure of a cargo subcommand at one version.
pub(crate) fn install_pinned(name: &str, version: &str, why: &str) -> Result<()> {
    let said = output_of(tool(name).arg("--version")).unwrap_or_default();
    if said.trim() == format!("{name} {version}") {
        return Ok(());
    }
    println!("{name} {version}: {why}; built from source, some minutes on two cores");
    step::run(&format!("setup: {name} {version}"), &mut install_command(name, version))
}

fn install_command(name: &str, version: &str) -> Command {
    let mut command = workspace::cargo(["install", "--locked", name, "--version", version]);
    // The caller's target folder would keep hundreds of megabytes of it for ever.
    command.env_remove("CARGO_TARGET_DIR");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_its_own_entry_among_cargos_notes() {
        let installs = format!(
            r#"{{"installs":{{"a 1.0.0 (r)":{{"features":["llvm-22"]}},"bpf-linker {VERSION} (r)":{{"features":["llvm-23"]}},"b 1 (r)":{{}}}}}}"#
        );
        let entry = noted(&installs).unwrap();
        assert!(entry.contains("llvm-23") && !entry.contains("llvm-22"));
    }

    #[test]
    fn a_linker_that_cargo_did_not_install_has_no_entry() {
        assert_eq!(noted("{\"installs\":{}}"), None);
    }
}
