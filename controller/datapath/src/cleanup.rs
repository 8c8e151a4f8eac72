//! Taking everything of ours out of the kernel again.

use std::fs;
use std::path::{Path, PathBuf};

use crate::clsact;
use crate::error::DatapathError;
use crate::pins;
use crate::pod_hooks::pod_pins;
use crate::provisional;

/// Every pin of ours, and a directory for each interface that has our filters.
///
/// # Errors
/// When the pins cannot be listed.
pub fn leftovers() -> Result<Vec<PathBuf>, DatapathError> {
    let mut found = Vec::new();
    for dir in ["links", "programs", "maps"] {
        collect(&Path::new(pins::ROOT).join(dir), &mut found)?;
    }
    let filters = clsact::interfaces()?;
    found.extend(filters.iter().map(|ifindex| pins::clsact().join(ifindex.to_string())));
    Ok(found)
}

/// Removes every pin of ours and with it links, programs and maps. Returns
/// what it removed.
///
/// # Errors
/// When a pin cannot be removed; the others are gone then.
pub fn cleanup() -> Result<Vec<PathBuf>, DatapathError> {
    let found = leftovers()?;
    for (veth, _) in pod_pins()? {
        provisional::finish(&pins::pod_link_dir(&veth), &veth)?;
    }
    for ifindex in clsact::interfaces()? {
        clsact::clear(ifindex)?;
    }
    for path in found.iter().filter(|path| !path.is_dir()) {
        pins::remove(path)?;
    }
    if Path::new(pins::ROOT).exists() {
        fs::remove_dir_all(pins::ROOT)
            .map_err(|e| DatapathError::io("cannot remove", pins::ROOT, e))?;
    }
    Ok(found)
}

fn collect(dir: &Path, found: &mut Vec<PathBuf>) -> Result<(), DatapathError> {
    if !dir.exists() {
        return Ok(());
    }
    let entries = fs::read_dir(dir).map_err(|e| DatapathError::io("cannot list", dir, e))?;
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}
