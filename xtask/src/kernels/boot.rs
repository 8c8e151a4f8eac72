//! What a guest boots: the kernel without its compression, and its modules in loading order.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};

use super::catalogue::MODULES;
use super::cpio;
use crate::workspace::tool;

/// Names in a folder of the cache.
pub(super) const KERNEL: &str = "vmlinux";
pub(super) const MODULES_CPIO: &str = "modules.cpio";

/// Makes both out of an unpacked package.
pub(super) fn make(unpacked: &Path, into: &Path) -> Result<()> {
    let modules = modules_dir(unpacked)?;
    let release = modules.file_name().context("no release")?.to_string_lossy().into_owned();
    let image = [unpacked.join("boot").join(format!("vmlinuz-{release}")), modules.join("vmlinuz")];
    let image = image.iter().find(|path| path.exists()).context("the package has no vmlinuz")?;
    decompress_kernel(&fs::read(image)?, &into.join(KERNEL))?;
    let root = into.join("root");
    collect(&modules, &release, &root.join("lib/modules").join(&release))?;
    cpio::pack(&root, &into.join(MODULES_CPIO))?;
    Ok(fs::remove_dir_all(&root)?)
}

fn modules_dir(unpacked: &Path) -> Result<PathBuf> {
    let places = ["lib/modules", "usr/lib/modules"].map(|place| unpacked.join(place));
    let dirs = places.iter().filter_map(|place| fs::read_dir(place).ok()).flatten().flatten();
    dirs.map(|entry| entry.path()).next().context("the package has no modules")
}

/// The ELF kernel inside a bzImage (`Documentation/arch/x86/boot.rst`): it boots as well and
/// saves the guest the slowest part of its start.
fn decompress_kernel(image: &[u8], into: &Path) -> Result<()> {
    let word = |at: usize| Some(u32::from_le_bytes(*image.get(at..)?.first_chunk()?) as usize);
    let payload = || {
        let setup = (usize::from(*image.get(497)?) + 1) * 512;
        let (offset, length) = (word(584)?, word(588)?);
        image.get(setup + offset..)?.get(..length)
    };
    let payload = payload().context("this vmlinuz is no bzImage")?;
    let program = match payload.first_chunk() {
        Some([0x28, 0xb5, 0x2f, 0xfd]) => "zstd",
        Some([0x02, 0x21, 0x4c, 0x18]) => "lz4",
        _ => "xz",
    };
    let mut command = tool(program);
    command.arg("-qdc").stdin(Stdio::piped()).stdout(File::create(into)?).stderr(Stdio::null());
    let mut child = command.spawn().with_context(|| format!("cannot start {program}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // Behind the payload comes its size, on which the program breaks off: the kernel is out.
        let _ = stdin.write_all(payload);
    }
    let _ = child.wait()?;
    let mut magic = [0; 4];
    std::io::Read::read_exact(&mut File::open(into)?, &mut magic)?;
    if magic == *b"\x7fELF" { Ok(()) } else { bail!("{program} gave no kernel") }
}

/// Copies what [`MODULES`] need, dependencies first, and writes their order down.
fn collect(modules: &Path, release: &str, into: &Path) -> Result<()> {
    fs::create_dir_all(into)?;
    let base = modules.ancestors().find(|dir| dir.ends_with("lib")).and_then(Path::parent);
    let base = base.context("modules lie below lib")?;
    let status = tool("depmod").arg("-b").arg(base).arg(release).stderr(Stdio::null()).status()?;
    if !status.success() {
        bail!("depmod fails: {status}");
    }
    let text = fs::read_to_string(modules.join("modules.dep"))?;
    let dependencies = dependencies(&text);
    let mut order = Vec::new();
    for path in MODULES.iter().filter_map(|name| dependencies.get(*name)).flatten() {
        let name = file_name(path);
        if !order.contains(&name) {
            plain_copy(&modules.join(path), &into.join(&name))?;
            order.push(name);
        }
    }
    fs::write(into.join("order"), order.join("\n") + "\n")?;
    Ok(())
}

/// Every module's files, those that it needs first.
fn dependencies(text: &str) -> BTreeMap<String, Vec<&str>> {
    let line = |line| {
        let (module, needs): (&str, &str) = str::split_once(line, ':')?;
        let name = file_name(module).split('.').next()?.replace('-', "_");
        let files = needs.split_whitespace().rev().chain([module]).collect();
        Some((name, files))
    };
    text.lines().filter_map(line).collect()
}

fn file_name(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.trim_end_matches(".xz").to_owned()
}

fn plain_copy(from: &Path, to: &Path) -> Result<()> {
    if from.extension().is_none_or(|extension| extension != "xz") {
        fs::copy(from, to)?;
        return Ok(());
    }
    let status = tool("xz").arg("-dc").arg(from).stdout(File::create(to)?).status()?;
    if status.success() { Ok(()) } else { bail!("cannot decompress {}", from.display()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_comes_after_what_it_needs() {
        let text = "kernel/net/br-net.ko.xz: kernel/a/bridge.ko.xz kernel/b/llc.ko.xz\n\
                    kernel/b/llc.ko.xz:\n";
        let dependencies = dependencies(text);
        let files = &dependencies["br_net"];
        assert_eq!(
            files[..],
            ["kernel/b/llc.ko.xz", "kernel/a/bridge.ko.xz", "kernel/net/br-net.ko.xz"]
        );
        assert_eq!(file_name(files[0]), "llc.ko");
    }

    #[test]
    fn what_is_no_kernel_is_refused() {
        assert!(decompress_kernel(&[0; 100], Path::new("/nowhere")).is_err());
    }
}
