//! The XDP program on the uplink: loaded and attached only where an operator asked for it.
//!
//! Its link alone is pinned. In the driver's own mode or not at all: the kernel's stand-in for
//! drivers that cannot runs behind GRO, where nothing is won.

use std::fs;
use std::path::Path;

use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::{XdpLink, XdpMode};
use aya::programs::{ProgramError, Xdp};
use tartan_common::features::Features;

use crate::error::DatapathError;
use crate::link;
use crate::object::object;
use crate::pins;
use crate::programs::{load, refused};

/// The program's name, and its link's.
pub const UPLINK_XDP: &str = "uplink_xdp";

/// Where the program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpState {
    /// On no interface.
    Absent,
    /// On the interface with this index.
    On(u32),
}

/// Looks where the program is.
///
/// # Errors
/// When the kernel refuses.
pub fn xdp_state() -> Result<XdpState, DatapathError> {
    Ok(match link::info(&pins::node_link(UPLINK_XDP))? {
        Some(link) if link.ifindex != 0 => XdpState::On(link.ifindex),
        Some(_) | None => XdpState::Absent,
    })
}

/// Brings this binary's program to the interface, in its driver: in place of another build's if
/// that is there.
///
/// # Errors
/// When the kernel or the driver refuses, as where somebody else's XDP program runs.
pub fn attach_xdp(ifindex: u32, features: Features) -> Result<(), DatapathError> {
    let pin = pins::node_link(UPLINK_XDP);
    let mut ebpf = load(object(), None, features)?;
    let failed = |cause: String| DatapathError::Kernel {
        what: format!("cannot load the program {UPLINK_XDP}"),
        cause,
    };
    let program = ebpf.program_mut(UPLINK_XDP);
    let program = program.ok_or_else(|| failed("it is not in the object".to_owned()))?;
    let program: &mut Xdp = program.try_into().map_err(|e| failed(format!("{e}")))?;
    program.load().map_err(|e| refused(UPLINK_XDP, &e))?;
    if xdp_state()? == XdpState::On(ifindex) {
        update(&pin, program)
    } else {
        pins::remove(&pin)?;
        create(&pin, program, ifindex)
    }
}

/// Takes the program off; says whether it was there.
///
/// # Errors
/// When the pin cannot be removed.
pub fn detach_xdp() -> Result<bool, DatapathError> {
    pins::remove(&pins::node_link(UPLINK_XDP))
}

fn update(pin: &Path, program: &mut Xdp) -> Result<(), DatapathError> {
    let failed = |e: &(dyn std::error::Error + 'static)| {
        DatapathError::kernel(format!("cannot move {} to the new program", pin.display()), e)
    };
    let pinned = PinnedLink::from_pin(pin).map_err(|e| failed(&e))?;
    let link = XdpLink::try_from(FdLink::from(pinned)).map_err(|e| failed(&e))?;
    let id = program.attach_to_link(link).map_err(|e| failed(&e))?;
    // Taken out again, or dropping the program would detach a link that is pinned elsewhere.
    program.take_link(id).map_err(|e| failed(&e))?;
    Ok(())
}

fn create(pin: &Path, program: &mut Xdp, ifindex: u32) -> Result<(), DatapathError> {
    let what = || "cannot attach the XDP program to the uplink".to_owned();
    let id = program.attach_to_if_index(ifindex, XdpMode::Driver).map_err(|e| attach_error(&e))?;
    let link = program.take_link(id).map_err(|e| DatapathError::kernel(what(), &e))?;
    let link = FdLink::try_from(link).map_err(|e| DatapathError::kernel(what(), &e))?;
    if let Some(dir) = pin.parent() {
        fs::create_dir_all(dir).map_err(|e| DatapathError::io("cannot create", dir, e))?;
    }
    link.pin(pin).map_err(|e| DatapathError::kernel(what(), &e))?;
    Ok(())
}

/// What the driver means by its refusal.
fn attach_error(error: &ProgramError) -> DatapathError {
    let what = "cannot attach the XDP program to the uplink".to_owned();
    let ProgramError::SyscallError(call) = error else {
        return DatapathError::kernel(what, error);
    };
    let why = match call.io_error.raw_os_error() {
        Some(nix::libc::EOPNOTSUPP) => "its driver has no XDP",
        Some(nix::libc::EBUSY) => "another XDP program runs there",
        Some(nix::libc::EINVAL | nix::libc::ERANGE) => {
            "its driver cannot as the device is set up: look at its MTU, LRO and GRO_HW"
        }
        _ => "the driver refuses",
    };
    DatapathError::Kernel { what, cause: format!("{why} ({})", call.io_error) }
}
