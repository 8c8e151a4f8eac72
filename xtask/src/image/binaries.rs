//! The programs of the image: static, for one processor, and checked to be that.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::arch::Arch;
use crate::step;
use crate::workspace::{cargo, cargo_home, root};

/// The packages, whose programs bear their names.
pub(crate) const PROGRAMS: [&str; 3] = ["tartand", "tartan-cni", "tartanctl"];

/// `PT_INTERP`: the program wants a dynamic loader, which the image does not have.
const INTERPRETER: u32 = 3;

/// Builds the programs; returns the folder that holds them.
pub(crate) fn build(arch: &Arch, target: &Path) -> Result<PathBuf> {
    let mut command = cargo(["build", "--locked", "--profile=dist", "--bins"]);
    command
        .args(PROGRAMS.map(|name| format!("--package={name}")))
        .arg(format!("--target={}", arch.target))
        .arg("--target-dir")
        .arg(target)
        .envs(arch.environment());
    same_everywhere(&mut command);
    step::run(&format!("image: programs for {}", arch.name), &mut command)?;
    let folder = target.join(arch.target).join("dist");
    for name in PROGRAMS {
        let path = folder.join(name);
        let content =
            fs::read(&path).with_context(|| format!("the build left no {}", path.display()))?;
        check(&content, arch).with_context(|| path.display().to_string())?;
    }
    Ok(folder)
}

/// Panic messages name source files: not by where this tree or cargo's cache happens to lie.
fn same_everywhere(command: &mut Command) {
    let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    let mut flags = env::var("RUSTFLAGS").map(|own| vec![own]).unwrap_or_default();
    flags.extend([remap(root(), "tartan"), remap(&cargo_home(), "cargo")]);
    flags.push("-Ctarget-feature=+crt-static -Crelocation-model=static".to_owned());
    command.env_remove("CARGO_ENCODED_RUSTFLAGS").env("RUSTFLAGS", flags.join(" "));
}

/// A static program of this processor, by its ELF header (little-endian, 64 bits).
fn check(content: &[u8], arch: &Arch) -> Result<()> {
    if !content.starts_with(b"\x7fELF\x02\x01") {
        bail!("is no 64-bit ELF program: is another tool in the linker's place?");
    }
    let machine = u16::from_le_bytes(field(content, 18)?);
    if machine != arch.machine {
        bail!("is for machine {machine} and not {} ({})", arch.machine, arch.name);
    }
    if segments(content)?.contains(&INTERPRETER) {
        bail!("wants a dynamic loader: see that nothing in RUSTFLAGS takes +crt-static away");
    }
    Ok(())
}

/// The types of the program's segments.
fn segments(content: &[u8]) -> Result<Vec<u32>> {
    let start = usize::try_from(u64::from_le_bytes(field(content, 32)?))?;
    let size = usize::from(u16::from_le_bytes(field(content, 54)?));
    let count = usize::from(u16::from_le_bytes(field(content, 56)?));
    (0..count).map(|n| Ok(u32::from_le_bytes(field(content, start + n * size)?))).collect()
}

fn field<const N: usize>(content: &[u8], at: usize) -> Result<[u8; N]> {
    let bytes = content.get(at..at + N).context("the ELF header is cut off")?;
    Ok(bytes.try_into()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(machine: u16, segment: u32) -> Vec<u8> {
        let mut elf = vec![0; 64 + 56];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[18..20].copy_from_slice(&machine.to_le_bytes());
        elf[32] = 64;
        elf[54] = 56;
        elf[56] = 1;
        elf[64..68].copy_from_slice(&segment.to_le_bytes());
        elf
    }

    #[test]
    fn a_static_program_of_the_right_processor_passes() {
        assert!(check(&header(183, 1), &Arch::ARM64).is_ok());
    }

    #[test]
    fn another_processor_a_loader_and_a_stump_are_refused() {
        assert!(check(&header(62, 1), &Arch::ARM64).is_err());
        assert!(check(&header(183, INTERPRETER), &Arch::ARM64).is_err());
        assert!(check(&header(183, 1)[..60], &Arch::ARM64).is_err());
        assert!(check(b"#!/bin/sh", &Arch::ARM64).is_err());
    }
}
