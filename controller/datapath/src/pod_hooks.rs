//! The two hooks on every pod's veth.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use nix::net::if_::if_nametoindex;

use crate::clsact;
use crate::error::DatapathError;
use crate::hooks::{Way, ensure, runs};
use crate::pins;
use crate::pod_wish;
use crate::programs::ProgramName;
use crate::provisional;
use crate::tc::Side;

/// The programs on a pod's veth. `pod_egress` comes first: a pod whose packets
/// nobody checks must not exist, not even for a moment.
pub(crate) const HOOKS: [(ProgramName, Side); 2] =
    [(ProgramName::PodEgress, Side::Ingress), (ProgramName::PodIngress, Side::Egress)];

/// Attaches both programs to the host's end of a pod's veth, or moves links
/// that are there to the pinned programs. Provisional hooks go when the links are there.
///
/// # Errors
/// When the agent did not run since boot, the veth is missing, or the kernel refuses.
pub fn attach_pod(host_veth: &str) -> Result<(), DatapathError> {
    let ifindex = interface(host_veth)?;
    let dir = make_dir(host_veth)?;
    // The agent repairs what it finds half done; the plugin may just be at it.
    let _lock = pins::lock(&dir)?;
    for (program, side) in HOOKS {
        ensure(&dir.join(program.as_str()), program, host_veth, ifindex, side)?;
    }
    match Way::chosen()? {
        Way::Tcx => provisional::finish(&dir, host_veth),
        Way::Clsact => provisional::keep(&dir, ifindex),
    }
}

pub(crate) fn interface(host_veth: &str) -> Result<u32, DatapathError> {
    if_nametoindex(host_veth)
        .map_err(|e| DatapathError::kernel(format!("cannot find the interface {host_veth}"), &e))
}

/// The directory of a pod's pins.
pub(crate) fn make_dir(host_veth: &str) -> Result<PathBuf, DatapathError> {
    let dir = pins::pod_link_dir(host_veth);
    match fs::create_dir(&dir) {
        Ok(()) => Ok(dir),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(dir),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(DatapathError::NotSetUp(pins::pod_links()))
        }
        Err(error) => Err(DatapathError::io("cannot create", dir, error)),
    }
}

/// Removes both links of a pod's veth, or its provisional hooks; what is gone is fine.
///
/// # Errors
/// When a pin or a hook cannot be removed.
pub fn detach_pod(host_veth: &str) -> Result<(), DatapathError> {
    let dir = pins::pod_link_dir(host_veth);
    let _lock = match pins::lock(&dir) {
        Ok(lock) => lock,
        Err(DatapathError::NotSetUp(_)) => return Ok(()),
        Err(error) => return Err(error),
    };
    for (program, _) in HOOKS {
        pins::remove(&dir.join(program.as_str()))?;
    }
    provisional::finish(&dir, host_veth)?;
    pod_wish::forget(&dir)?;
    match if_nametoindex(host_veth) {
        Ok(ifindex) => clsact::clear(ifindex)?,
        Err(_) => clsact::sweep()?,
    }
    match fs::remove_dir(&dir) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(DatapathError::io("cannot remove", dir, error)),
    }
}

/// Whether both programs run on the veth: the pinned ones, or for a new pod those of its making.
///
/// # Errors
/// When the kernel refuses.
pub fn pod_attached(host_veth: &str) -> Result<bool, DatapathError> {
    let Ok(ifindex) = if_nametoindex(host_veth) else {
        return Ok(false);
    };
    if provisional::in_place(&pins::pod_link_dir(host_veth), ifindex)? {
        return Ok(true);
    }
    let way = Way::chosen()?;
    for (program, side) in HOOKS {
        let pin = pins::pod_link_dir(host_veth).join(program.as_str());
        if !runs(way, &pin, program, ifindex, side)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Every veth that has pinned links, and whether it still exists.
///
/// # Errors
/// When the pins cannot be listed.
pub fn pod_pins() -> Result<Vec<(String, bool)>, DatapathError> {
    let dir = pins::pod_links();
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(DatapathError::io("cannot list", dir, error)),
    };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    Ok(names
        .map(|veth| {
            let alive = if_nametoindex(veth.as_str()).is_ok();
            (veth, alive)
        })
        .collect())
}
