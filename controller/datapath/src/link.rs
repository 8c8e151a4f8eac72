//! What the kernel says of a pinned link. aya shows the program's id but not
//! the interface, so this asks the kernel itself (`bpf(2)`).

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::error::DatapathError;
use crate::sys::{Attr, Command, bpf, bpf_fd, number};

/// A pinned TCX link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkInfo {
    /// The program that it runs.
    pub(crate) program_id: u32,
    /// The interface that it is on; zero when the interface is gone.
    pub(crate) ifindex: u32,
}

/// The fields of `union bpf_attr` for `BPF_OBJ_GET`.
#[repr(C)]
#[derive(Default)]
struct ObjGet {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

// SAFETY: `repr(C)` without padding; `open` fills in a path that ends with a zero byte.
unsafe impl Attr for ObjGet {}

/// The fields of `union bpf_attr` for `BPF_OBJ_GET_INFO_BY_FD`.
#[repr(C)]
#[derive(Default)]
struct InfoByFd {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

// SAFETY: `repr(C)` without padding; `query` fills in a buffer as long as `info_len` says.
unsafe impl Attr for InfoByFd {}

/// The head of `struct bpf_link_info` as a TCX link fills it.
#[repr(C, align(8))]
#[derive(Default)]
struct RawLinkInfo {
    kind: u32,
    id: u32,
    program_id: u32,
    pad: u32,
    ifindex: u32,
    attach_type: u32,
    rest: [u64; 8],
}

/// Reads a pinned link; `None` when there is no pin.
pub(crate) fn info(path: &Path) -> Result<Option<LinkInfo>, DatapathError> {
    match open(path).and_then(|fd| query(&fd)) {
        Ok(info) => Ok(Some(info)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(DatapathError::io("cannot read the link", path, error)),
    }
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = ObjGet { pathname: path.as_ptr() as u64, ..ObjGet::default() };
    bpf_fd(Command::ObjGet, &mut attr)
}

fn query(fd: &OwnedFd) -> io::Result<LinkInfo> {
    let mut raw = RawLinkInfo::default();
    let mut attr = InfoByFd {
        bpf_fd: number(fd.as_fd())?,
        info_len: u32::try_from(size_of::<RawLinkInfo>()).map_err(io::Error::other)?,
        info: (&raw mut raw) as u64,
    };
    bpf(Command::ObjGetInfoByFd, &mut attr)?;
    Ok(LinkInfo { program_id: raw.program_id, ifindex: raw.ifindex })
}
