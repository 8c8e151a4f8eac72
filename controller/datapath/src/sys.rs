//! `bpf(2)` itself, for what aya does not offer.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use nix::libc;

/// Commands of `enum bpf_cmd` in `include/uapi/linux/bpf.h`.
#[derive(Clone, Copy, Debug)]
#[repr(i64)]
pub(crate) enum Command {
    ProgLoad = 5,
    ObjGet = 7,
    ProgTestRun = 10,
    ObjGetInfoByFd = 15,
    ProgQuery = 16,
}

/// A prefix of `union bpf_attr`.
///
/// # Safety
/// The type is `repr(C)`, has no padding, and its pointers are to memory that lives and is as
/// long as the fields beside them say.
pub(crate) unsafe trait Attr {}

/// Asks the kernel; what it answers besides the result is in `attr`.
pub(crate) fn bpf<T: Attr>(command: Command, attr: &mut T) -> io::Result<i32> {
    // SAFETY: `attr` is a prefix of `union bpf_attr` and lives through the call; its pointers
    // hold what `Attr` promises.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command as libc::c_long, attr, size_of::<T>()) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        i32::try_from(result).map_err(io::Error::other)
    }
}

/// As [`bpf`], for commands that answer with a descriptor.
pub(crate) fn bpf_fd<T: Attr>(command: Command, attr: &mut T) -> io::Result<OwnedFd> {
    let fd = bpf(command, attr)?;
    // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A descriptor as attributes have it.
pub(crate) fn number(fd: BorrowedFd<'_>) -> io::Result<u32> {
    u32::try_from(fd.as_raw_fd()).map_err(io::Error::other)
}
