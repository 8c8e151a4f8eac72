//! A pod's wish for the host stack, as it outlives its entry in the pods' map: a directory beside
//! the pins of its links.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::DatapathError;
use crate::pins;

/// Notes that the pod behind `host_veth` asks for the host stack; its programs are attached.
///
/// # Errors
/// When the directory cannot be made.
pub fn remember_pod_wish(host_veth: &str) -> Result<(), DatapathError> {
    let mark = mark(&pins::pod_link_dir(host_veth));
    match fs::create_dir(&mark) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(DatapathError::io("cannot create", mark, error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whether the pod behind `host_veth` asked for the host stack.
#[must_use]
pub fn pod_wishes_stack(host_veth: &str) -> bool {
    mark(&pins::pod_link_dir(host_veth)).is_dir()
}

/// Forgets the wish; none is fine.
pub(crate) fn forget(dir: &Path) -> Result<(), DatapathError> {
    match fs::remove_dir(mark(dir)) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(DatapathError::io("cannot remove", mark(dir), error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn mark(dir: &Path) -> PathBuf {
    dir.join("fast-path-off")
}
