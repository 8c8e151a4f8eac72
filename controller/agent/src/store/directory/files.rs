//! The file operations that leases are made of, each atomic by itself.
//!
//! A name is claimed by linking a complete file to it, which fails if the name
//! is taken; content is replaced by renaming. Both hold without the lock, on
//! NFS as well; the lock serialises agents that would only waste tries.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use nix::libc::O_NONBLOCK;
use tartan_core::{Lease, PodCidr, atomic_file};

use super::record;
use crate::store::{Fault, StoreError};

/// Everybody may read leases; only agents write them.
const MODE: u32 = 0o644;
const SUFFIX: &str = ".json";
/// What [`atomic_file::temporary_beside`] ends names with.
const TEMPORARY_SUFFIX: &str = ".tmp";
const LOCK_FILE: &str = ".lock";
/// No operation takes this long, even on a slow network file system.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
const LOCK_RETRY: Duration = Duration::from_millis(20);
/// A temporary file older than this was left by an agent that was killed.
const LEFTOVER_AGE: Duration = Duration::from_hours(1);
/// Far more than any lease: what is larger is something else.
const LARGEST_FILE: u64 = 64 * 1024;

/// What the directory holds.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Readable leases, in the order of their subnets.
    pub(super) leases: Vec<Lease>,
    /// Subnets whose file cannot be read: taken, by nobody knows whom.
    pub(super) unreadable: Vec<PodCidr>,
    /// What is wrong with those.
    pub(super) faults: Vec<Fault>,
}

/// Where the lease of `subnet` is kept.
pub(super) fn path_of(dir: &Path, subnet: PodCidr) -> PathBuf {
    dir.join(subnet.key() + SUFFIX)
}

/// Reads every lease. Files that are not named like one are none of our business.
pub(super) fn read_all(dir: &Path) -> Result<Listing, StoreError> {
    let failed = |source: io::Error| StoreError::unreadable(dir, source);
    let mut listing = Listing::default();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if let Some(name) = name.to_str().filter(|name| is_lease_name(name)) {
            read_into(&mut listing, dir, name);
        }
    }
    listing.leases.sort_by_key(|lease| lease.subnet);
    listing.faults.sort_by(|left, right| left.place.cmp(&right.place));
    Ok(listing)
}

/// Whether a file of this name is meant to be a lease.
pub(super) fn is_lease_name(name: &str) -> bool {
    name.ends_with(SUFFIX) && !name.starts_with('.')
}

/// Reads the lease of `subnet`; `None` if there is no such file.
pub(super) fn read_one(path: &Path, subnet: PodCidr) -> Result<Option<Lease>, String> {
    match read_text(path) {
        Ok(text) => record::parse(&text, subnet).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// Creates the lease's file; `false` if the name is taken.
pub(super) fn create(dir: &Path, lease: &Lease) -> Result<bool, StoreError> {
    let path = path_of(dir, lease.subnet);
    let temporary = write_temporary(&path, lease)?;
    let linked = fs::hard_link(&temporary, &path);
    // A leftover is swept up later; what counts is whether the link was made.
    drop(fs::remove_file(&temporary));
    match linked {
        Ok(()) => synced(dir).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(source) if lacks_hard_links(&source) => Err(StoreError::NoHardLinks { path, source }),
        Err(source) => Err(StoreError::io("create", &path, source)),
    }
}

/// Replaces the content of the lease's file, whatever it was.
pub(super) fn replace(dir: &Path, lease: &Lease) -> Result<(), StoreError> {
    let path = path_of(dir, lease.subnet);
    let temporary = write_temporary(&path, lease)?;
    if let Err(source) = fs::rename(&temporary, &path) {
        drop(fs::remove_file(&temporary));
        return Err(StoreError::io("write", &path, source));
    }
    synced(dir)
}

/// Removes a lease's file, but only if it still is `expected`; `false` if it is not.
///
/// It is moved aside first and looked at there: a lease renewed at the last moment goes back.
pub(super) fn remove(dir: &Path, expected: &Lease) -> Result<bool, StoreError> {
    let path = path_of(dir, expected.subnet);
    let aside = atomic_file::temporary_beside(&path);
    match fs::rename(&path, &aside) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(source) => return Err(StoreError::io("remove", &path, source)),
    }
    let is_expected =
        read_one(&aside, expected.subnet).is_ok_and(|found| found.as_ref() == Some(expected));
    if !is_expected {
        // If the name was claimed in between, the claim holds, and so does this refusal.
        drop(fs::hard_link(&aside, &path));
    }
    fs::remove_file(&aside).map_err(|source| StoreError::io("remove", &aside, source))?;
    Ok(is_expected)
}

/// Keeps other agents out until the result is dropped. `None` where files cannot be locked.
pub(super) fn lock(dir: &Path) -> Result<Option<File>, StoreError> {
    let path = dir.join(LOCK_FILE);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(MODE);
    let file = options.open(&path).map_err(|source| {
        if dir.is_dir() {
            StoreError::io("create", &path, source)
        } else {
            StoreError::unreadable(dir, source)
        }
    })?;
    let give_up = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::Error(_)) => return Ok(None),
            Err(TryLockError::WouldBlock) if Instant::now() < give_up => thread::sleep(LOCK_RETRY),
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Locked { path, seconds: LOCK_PATIENCE.as_secs() });
            }
        }
    }
}

/// Removes what agents left behind that were killed between two steps.
pub(super) fn sweep(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let is_temporary = entry.file_name().to_str().is_some_and(is_temporary_name);
        if is_temporary && is_leftover(&entry).unwrap_or(false) {
            drop(fs::remove_file(entry.path()));
        }
    }
}

fn is_temporary_name(name: &str) -> bool {
    name.starts_with('.') && name.contains(".json.") && name.ends_with(TEMPORARY_SUFFIX)
}

fn is_leftover(entry: &fs::DirEntry) -> io::Result<bool> {
    let age = SystemTime::now().duration_since(entry.metadata()?.modified()?);
    Ok(age.is_ok_and(|age| age > LEFTOVER_AGE))
}

fn read_into(listing: &mut Listing, dir: &Path, name: &str) {
    let path = dir.join(name);
    let Some(subnet) = name.strip_suffix(SUFFIX).and_then(PodCidr::from_key) else {
        listing.fault(&path, "the name is not that of a subnet, such as 10.244.1.0-24.json");
        return;
    };
    match read_one(&path, subnet) {
        Ok(Some(lease)) => listing.leases.push(lease),
        // Removed since the directory was read.
        Ok(None) => {}
        Err(what) => {
            listing.unreadable.push(subnet);
            listing.fault(&path, &what);
        }
    }
}

impl Listing {
    fn fault(&mut self, path: &Path, what: &str) {
        let what = format!("{what}: correct or remove the file");
        self.faults.push(Fault { place: path.display().to_string(), what });
    }
}

/// Never waits for a pipe, never reads what cannot be a lease.
fn read_text(path: &Path) -> io::Result<String> {
    let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > LARGEST_FILE {
        return Err(io::Error::other("not a regular file of a lease's size"));
    }
    let mut text = String::new();
    file.take(LARGEST_FILE).read_to_string(&mut text)?;
    Ok(text)
}

fn write_temporary(path: &Path, lease: &Lease) -> Result<PathBuf, StoreError> {
    let failed = |source| StoreError::io("write", path, source);
    let text = record::print(lease).map_err(|error| failed(error.into()))?;
    let temporary = atomic_file::temporary_beside(path);
    atomic_file::write_synced(&temporary, text.as_bytes(), MODE).map_err(|error| {
        drop(fs::remove_file(&temporary));
        failed(error)
    })?;
    Ok(temporary)
}

fn synced(dir: &Path) -> Result<(), StoreError> {
    atomic_file::sync_directory(dir).map_err(|source| StoreError::io("sync", dir, source))
}

/// What file systems without hard links answer (link(2): EPERM, or EOPNOTSUPP through FUSE).
fn lacks_hard_links(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(nix::libc::EPERM | nix::libc::EOPNOTSUPP))
}
