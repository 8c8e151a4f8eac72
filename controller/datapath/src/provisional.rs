//! The hooks of a pod that has just been made.
//!
//! Attaching by TCX takes a grace period of RCU for each program, 8 to 16 ms, during which the
//! kernel's configuration lock is held: a hundred pods at once would wait for each other for
//! seconds. A `clsact` qdisc takes its filters at once. So the CNI plugin starts a pod with
//! these, the same programs in the same places, and the agent puts the lasting links in their
//! place when no pod is being made. Between the two both run, which counts a packet twice and
//! decides nothing else: the programs' verdict on what they have let pass is the same again.
//!
//! A directory beside the pins of the links says that a veth has them. The filters end with
//! the veth. Where the kernel has no TCX, they are the lasting ones.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use nix::net::if_::if_nametoindex;

use crate::clsact::{self, is_absence};
use crate::error::DatapathError;
use crate::hooks::Way;
use crate::pins;
use crate::pod_hooks::{HOOKS, attach_pod, interface, make_dir};
use crate::tc::{Filter, Tc};

/// Attaches both programs to the host's end of a new pod's veth, to be replaced by lasting links
/// later ([`attach_pod`](crate::attach_pod)). Says whether it could: another one's qdisc may be
/// in the place.
///
/// # Errors
/// When the agent did not run since boot, the veth is missing, or the kernel refuses.
pub fn attach_pod_provisionally(host_veth: &str) -> Result<bool, DatapathError> {
    if Way::chosen()? == Way::Clsact {
        return attach_pod(host_veth).map(|()| true);
    }
    let ifindex = interface(host_veth)?;
    let dir = make_dir(host_veth)?;
    let _lock = pins::lock(&dir)?;
    let failed = |e: io::Error| {
        DatapathError::kernel(format!("cannot attach programs to {host_veth} by clsact"), &e)
    };
    let tc = Tc::open().map_err(failed)?;
    // Before the qdisc: whoever finds the qdisc must know whose it is.
    make_mark(&dir)?;
    match clsact::make_qdisc(&tc, ifindex) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            remove_mark(&dir)?;
            return Ok(false);
        }
        outcome => outcome.map_err(failed)?,
    }
    for (name, side) in HOOKS {
        let program = name.open()?;
        let fd = program.fd().map_err(|e| DatapathError::kernel("cannot use a program", &e))?;
        tc.put_filter(ifindex, side, name.as_str(), fd.as_fd()).map_err(failed)?;
    }
    Ok(true)
}

/// Whether the lasting links of a pod are still to be attached.
#[must_use]
pub fn pod_is_provisional(host_veth: &str) -> bool {
    is_marked(&pins::pod_link_dir(host_veth))
}

/// Whether both programs run from the qdisc.
pub(crate) fn in_place(dir: &Path, ifindex: u32) -> Result<bool, DatapathError> {
    if !is_marked(dir) {
        return Ok(false);
    }
    let failed = |e: io::Error| DatapathError::kernel("cannot list the filters of a pod", &e);
    let tc = Tc::open().map_err(failed)?;
    for (_, side) in HOOKS {
        let filters = tc.filters(ifindex, side).map_err(failed)?;
        if !filters.iter().any(Filter::is_ours) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Takes the provisional hooks of a veth away, if it has them; what is gone is fine.
pub(crate) fn finish(dir: &Path, host_veth: &str) -> Result<(), DatapathError> {
    if !is_marked(dir) {
        return Ok(());
    }
    if let Ok(ifindex) = if_nametoindex(host_veth) {
        // The veth or the qdisc may have gone meanwhile.
        remove(ifindex).or_else(|e| if is_absence(&e) { Ok(()) } else { Err(e) }).map_err(|e| {
            DatapathError::kernel(format!("cannot take clsact off {host_veth}"), &e)
        })?;
    }
    remove_mark(dir)
}

/// Makes the provisional hooks the lasting ones.
pub(crate) fn keep(dir: &Path, ifindex: u32) -> Result<(), DatapathError> {
    if !is_marked(dir) {
        return Ok(());
    }
    clsact::adopt(ifindex)?;
    remove_mark(dir)
}

/// The qdisc goes as well, unless somebody else has come to use it.
fn remove(ifindex: u32) -> io::Result<()> {
    let tc = Tc::open()?;
    let mut others = false;
    for (_, side) in HOOKS {
        if tc.filters(ifindex, side)?.iter().any(Filter::is_ours) {
            tc.delete_filter(ifindex, side)?;
        }
        others |= !tc.filters(ifindex, side)?.is_empty();
    }
    if others { Ok(()) } else { tc.delete_qdisc(ifindex) }
}

fn mark(dir: &Path) -> PathBuf {
    dir.join("provisional")
}

fn is_marked(dir: &Path) -> bool {
    mark(dir).is_dir()
}

fn make_mark(dir: &Path) -> Result<(), DatapathError> {
    match fs::create_dir(mark(dir)) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(DatapathError::io("cannot create", mark(dir), error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn remove_mark(dir: &Path) -> Result<(), DatapathError> {
    match fs::remove_dir(mark(dir)) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(DatapathError::io("cannot remove", mark(dir), error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
