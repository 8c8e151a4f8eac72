//! `cargo xtask test --kernels`: the lab's scenarios on Debian's real kernels, each in a virtual
//! machine without KVM, disk or network card.
//!
//! Kernels are downloaded and unpacked once per version, into the cache. A kernel that cannot be
//! had is skipped, and the reason printed.

mod archive;
mod boot;
mod catalogue;
mod cpio;
mod guest;
mod root;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow};

use self::archive::Archive;
use self::catalogue::{KERNELS, Kernel, MODULES};
use self::guest::Report;
use crate::tally::Tally;
use crate::tools::cache::{Cache, Place};
use crate::{lab, setup, workspace};

/// Guests at a time: each keeps one processor busy.
const LANES: usize = 2;

/// Runs the matrix; `word` chooses a kernel by its release line, or scenarios by a name.
pub(crate) fn run(word: Option<&str>) -> Result<Tally> {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        println!("SKIP the kernels: they are for x86_64 machines that run Linux");
        return Ok(Tally { passed: 0, failed: 0, skipped: 1 });
    }
    if let Err(error) = setup::kernels() {
        println!("SKIP the kernels: {error:#}");
        return Ok(Tally { passed: 0, failed: 0, skipped: 1 });
    }
    lab::build()?;
    let is_line = KERNELS.iter().any(|kernel| Some(kernel.line) == word);
    let wanted = |kernel: &&Kernel| !is_line || Some(kernel.line) == word;
    let kernels: Vec<_> = KERNELS.iter().filter(wanted).collect();
    let place = workspace::target_dir()?.join("kernels");
    fs::create_dir_all(&place)?;
    let common = place.join("root.cpio");
    let words: Vec<_> = word.filter(|_| !is_line).into_iter().collect();
    root::make(&place.join("root"), &common, &words)?;
    let bootable = bootable(&kernels)?;
    let rows = run_all(&bootable, &common, &place);
    Ok(print(&rows))
}

/// What a kernel boots from, or why there is nothing.
type Bootable<'a> = (&'a Kernel, Result<PathBuf>);

fn bootable<'a>(kernels: &[&'a Kernel]) -> Result<Vec<Bootable<'a>>> {
    let cache = Cache::open(Place::Kernels)?;
    let archive = Archive::open(&cache.links().join("apt"), kernels);
    let dir = |kernel: &Kernel| match &archive {
        Ok(archive) => fetch(&cache, archive, kernel),
        Err(error) => Err(anyhow!("{error:#}")),
    };
    // One that was fetched before is better than none.
    let known = |kernel: &Kernel, error| {
        let link = cache.links().join(kernel.line);
        let Ok(dir) = fs::canonicalize(&link) else { return Err(error) };
        println!("kernels: {}: {error:#}; the one in the cache will do", kernel.line);
        Ok(dir)
    };
    Ok(kernels
        .iter()
        .map(|kernel| (*kernel, dir(kernel).or_else(|error| known(kernel, error))))
        .collect())
}

fn fetch(cache: &Cache, archive: &Archive, kernel: &Kernel) -> Result<PathBuf> {
    let found = archive.newest(kernel)?;
    let key = format!("{}_{}-{:x}", found.release, found.version, fingerprint())
        .replace([':', '/', '~'], "_");
    let dir = cache.links().join(&key);
    if !cache.has(&key) {
        let scratch = cache.scratch()?;
        let unpacked = scratch.join("unpacked");
        archive.unpack(&found, &unpacked)?;
        boot::make(&unpacked, &scratch)?;
        fs::remove_dir_all(&unpacked)?;
        cache.keep(&scratch, &key)?;
    }
    cache.link(kernel.line, &dir)?;
    Ok(dir)
}

/// What is made of a package depends on the modules that are asked for.
fn fingerprint() -> u32 {
    let bytes = MODULES.iter().flat_map(|name| name.bytes());
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// One line of the table.
struct Row<'a> {
    kernel: &'a Kernel,
    seconds: u64,
    outcome: Result<Report>,
    log: PathBuf,
}

fn run_all<'a>(kernels: &[Bootable<'a>], common: &Path, place: &Path) -> Vec<Row<'a>> {
    // The newest are the slowest: they come first.
    let (queue, rows) = (Mutex::new(0..kernels.len()), Mutex::new(Vec::new()));
    let next = || queue.lock().ok()?.next_back();
    thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                while let Some(index) = next() {
                    let Some((kernel, dir)) = kernels.get(index) else { return };
                    let row = run_one(kernel, dir.as_ref(), common, place);
                    println!("kernels: {} took {} s", kernel.line, row.seconds);
                    if let Ok(mut rows) = rows.lock() {
                        rows.push((index, row));
                    }
                }
            });
        }
    });
    let mut rows = rows.into_inner().unwrap_or_default();
    rows.sort_by_key(|(index, _)| *index);
    rows.into_iter().map(|(_, row)| row).collect()
}

fn run_one<'a>(
    kernel: &'a Kernel,
    dir: Result<&PathBuf, &anyhow::Error>,
    common: &Path,
    place: &Path,
) -> Row<'a> {
    let start = Instant::now();
    let log = place.join(format!("{}.log", kernel.line));
    let outcome = dir.map_err(|error| anyhow!("SKIP {error:#}")).and_then(|dir| {
        let initrd = place.join(format!("{}.initrd", kernel.line));
        let archives = [fs::read(common)?, fs::read(dir.join(boot::MODULES_CPIO))?];
        fs::write(&initrd, archives.concat()).context("cannot write a guest's archive")?;
        let force = if kernel.supported { "" } else { "any-kernel" };
        guest::run(&dir.join(boot::KERNEL), &initrd, force, &log)
    });
    Row { kernel, seconds: start.elapsed().as_secs(), outcome, log }
}

/// The table, kernel by scenario, and its sum.
fn print(rows: &[Row<'_>]) -> Tally {
    let mut sum = Tally::default();
    println!();
    for row in rows {
        match &row.outcome {
            Ok(report) => sum += print_report(row, report),
            Err(error) => {
                let text = format!("{error:#}");
                let skipped = text.starts_with("SKIP ");
                println!("{:6} {text}", row.kernel.line);
                sum +=
                    Tally { passed: 0, failed: i64::from(!skipped), skipped: i64::from(skipped) };
            }
        }
    }
    sum
}

fn print_report(row: &Row<'_>, report: &Report) -> Tally {
    let mut sum = Tally::default();
    let note = if row.kernel.supported { "" } else { " (too old, let in for this test)" };
    println!("{:6} {}{note}, {} s", row.kernel.line, report.release, row.seconds);
    for (name, verdict) in &report.scenarios {
        println!("       {verdict:8} {name}");
        match verdict.as_str() {
            "ok" => sum.passed += 1,
            "skipped" => sum.skipped += 1,
            _ => sum.failed += 1,
        }
    }
    if !report.done {
        println!("       FAILED   it did not come to its end");
        sum.failed += 1;
    }
    if sum.failed > 0 {
        println!("       its console: {}", row.log.display());
    }
    sum
}
