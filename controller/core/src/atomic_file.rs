//! A file that readers see whole or not at all.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Mode of the directories that are made on the way, whatever the umask.
const DIRECTORY_MODE: u32 = 0o755;

/// Replaces the content of `path`, with exactly `mode`, whatever the umask.
///
/// The bytes go to a temporary file in the same directory, are synced, and are renamed into
/// place: after a crash the old or the new content is there. Missing parents are made.
///
/// # Errors
/// Whatever the file system says; then `path` is unchanged and the temporary file is gone.
pub fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let parent = parent_of(path);
    create_parents(&parent)?;
    let temporary = temporary_beside(path);
    let written =
        write_synced(&temporary, content, mode).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // The first error is the one to report; a leftover is harmless.
        drop(fs::remove_file(&temporary));
        return Err(error);
    }
    sync_directory(&parent)
}

/// Writes a new file and syncs it; fails if it is already there.
///
/// # Errors
/// Whatever the file system says.
pub fn write_synced(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(content)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

/// A name that no other writer uses, in the directory of `path`, hidden and ending in `.tmp`.
///
/// It is random: process numbers repeat, between the nodes that share a directory and between
/// the lives of a container.
#[must_use]
pub fn temporary_beside(path: &Path) -> PathBuf {
    let random = RandomState::new().build_hasher().finish();
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{random:016x}.tmp"));
    parent_of(path).join(name)
}

/// Makes a rename or a new name in `directory` outlive a crash.
///
/// # Errors
/// Whatever the file system says, except that it cannot do this.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    match File::open(directory)?.sync_all() {
        // Some file systems do not sync directories; their content is as good as it gets.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        other => other,
    }
}

fn parent_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        Some(_) | None => PathBuf::from("."),
    }
}

fn create_parents(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    create_parents(&parent_of(directory))?;
    match DirBuilder::new().mode(DIRECTORY_MODE).create(directory) {
        Ok(()) => fs::set_permissions(directory, Permissions::from_mode(DIRECTORY_MODE)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_and_mode_are_those_asked_for_and_nothing_is_left_beside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/flannel/subnet.env");
        write(&path, b"one", 0o644).unwrap();
        write(&path, b"two", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o755);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn temporary_names_do_not_repeat() {
        let path = Path::new("dir/file");
        let names: std::collections::BTreeSet<PathBuf> =
            (0..100).map(|_| temporary_beside(path)).collect();
        assert_eq!(names.len(), 100);
        assert!(names.iter().all(|name| name.parent() == Some(Path::new("dir"))));
    }

    #[test]
    fn a_write_that_fails_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("taken");
        fs::create_dir(&path).unwrap();
        assert!(write(&path, b"x", 0o644).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(write(&dir.path().join("taken/x"), b"x", 0o644).is_ok());
        assert!(write(&dir.path().join("taken/x/y"), b"x", 0o644).is_err());
    }

    #[test]
    fn readers_never_see_half_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write(&path, &[b'a'; 4096], 0o644).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..50 {
                    let letter = if round % 2 == 0 { b'b' } else { b'a' };
                    write(&path, &[letter; 4096], 0o644).unwrap();
                }
            });
            for _ in 0..500 {
                let seen = fs::read(&path).unwrap();
                assert!(seen.len() == 4096 && seen.iter().all(|byte| *byte == seen[0]));
            }
        });
    }
}
