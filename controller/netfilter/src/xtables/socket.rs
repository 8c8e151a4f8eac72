//! A table, by the socket options of `include/uapi/linux/netfilter_ipv4/ip_tables.h` and its
//! IPv6 twin: the only place that hands memory to the kernel.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{SockFlag, SockType, socket};

use super::blob::Info;
use super::bytes::put;
use super::encode::unwritable;
use super::layout::{COUNTER, Layout, TABLE_NAME};
use crate::NetfilterError;

/// `IPT_SO_GET_INFO` and `IPT_SO_SET_REPLACE`; the same numbers for IPv6.
const INFO: libc::c_int = 64;
const REPLACE: libc::c_int = 64;
/// `IPT_SO_GET_ENTRIES` and `IPT_SO_SET_ADD_COUNTERS`.
const ENTRIES: libc::c_int = 65;
const ADD_COUNTERS: libc::c_int = 65;

/// The length of `struct ipt_getinfo`.
const INFO_LENGTH: usize = 84;
/// The length of `struct ipt_get_entries` and `struct xt_counters_info` before what follows.
const HEAD: usize = 40;
/// The length of `struct ipt_replace` before its entries.
const REPLACE_HEAD: usize = 96;

/// What a replacement came to.
#[derive(Debug)]
pub(super) enum Replaced {
    /// It was done; these were the counters of the old entries, 16 bytes each.
    Done(Vec<u8>),
    /// Somebody else was faster: nothing was changed.
    Stale,
}

/// A socket in the calling thread's network namespace.
#[derive(Debug)]
pub(super) struct Socket {
    fd: OwnedFd,
    layout: &'static Layout,
}

impl Socket {
    /// Opens one.
    pub(super) fn open(layout: &'static Layout) -> Result<Self, NetfilterError> {
        match socket(layout.domain, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None) {
            Ok(fd) => Ok(Self { fd, layout }),
            Err(Errno::EAFNOSUPPORT) => Err(NetfilterError::Unsupported("IPv6")),
            Err(errno) => Err(NetfilterError::Io {
                what: format!("open a socket for {} tables", layout.family),
                source: errno.into(),
            }),
        }
    }

    /// The structures of its family.
    pub(super) fn layout(&self) -> &'static Layout {
        self.layout
    }

    /// The outline of a table. One that is not there is made by asking.
    pub(super) fn info(&self, table: &str) -> Result<Info, NetfilterError> {
        let mut buffer = request(INFO_LENGTH, table)?;
        self.get(INFO, &mut buffer).map_err(|source| self.refused("describe", table, source))?;
        Info::parse(&buffer)
            .ok_or_else(|| NetfilterError::Malformed(format!("the outline of table {table}")))
    }

    /// The entries of a table; `None` when it is no longer of that size.
    pub(super) fn entries(
        &self,
        table: &str,
        info: &Info,
    ) -> Result<Option<Vec<u8>>, NetfilterError> {
        let mut buffer = request(HEAD + info.size as usize, table)?;
        put(&mut buffer, TABLE_NAME, &info.size.to_ne_bytes());
        match self.get(ENTRIES, &mut buffer) {
            Ok(()) => Ok(Some(buffer.split_off(HEAD))),
            Err(Errno::EAGAIN) => Ok(None),
            Err(source) => Err(self.refused("read", table, source)),
        }
    }

    /// Puts these entries, described by `info`, in the place of `old` many.
    pub(super) fn replace(
        &self,
        table: &str,
        info: &Info,
        entries: &[u8],
        old: u32,
    ) -> Result<Replaced, NetfilterError> {
        let mut counters = vec![0_u8; old as usize * COUNTER];
        let mut buffer = request(REPLACE_HEAD, table)?;
        info.write_replace(&mut buffer, old);
        put(&mut buffer, 88, &counters.as_mut_ptr().expose_provenance().to_ne_bytes());
        buffer.extend_from_slice(entries);
        match self.set(REPLACE, &buffer) {
            Ok(()) => Ok(Replaced::Done(counters)),
            Err(Errno::EAGAIN) => Ok(Replaced::Stale),
            Err(source) => Err(self.refused("change", table, source)),
        }
    }

    /// Adds to the counters of all entries of a table, 16 bytes each.
    pub(super) fn add_counters(&self, table: &str, counters: &[u8]) -> Result<(), NetfilterError> {
        let mut buffer = request(HEAD, table)?;
        let number = u32::try_from(counters.len() / COUNTER).unwrap_or(u32::MAX);
        put(&mut buffer, TABLE_NAME, &number.to_ne_bytes());
        buffer.extend_from_slice(counters);
        let what = "give back the counters of the changed";
        self.set(ADD_COUNTERS, &buffer).map_err(|source| self.refused(what, table, source))
    }

    fn get(&self, option: libc::c_int, buffer: &mut [u8]) -> Result<(), Errno> {
        let mut length = socket_length(buffer)?;
        // SAFETY: `buffer` is exclusively borrowed for the call, and `length` is its length: the
        // kernel writes no more than that.
        let outcome = unsafe {
            libc::getsockopt(
                self.fd.as_raw_fd(),
                self.layout.level,
                option,
                buffer.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        Errno::result(outcome).map(drop)
    }

    fn set(&self, option: libc::c_int, buffer: &[u8]) -> Result<(), Errno> {
        let length = socket_length(buffer)?;
        // SAFETY: the kernel reads `length` bytes of `buffer`, which is borrowed for the call.
        // Through the one pointer in it (`REPLACE` only) it writes the counters of as many entries
        // as the head says, for which `replace` keeps a vector of that size alive.
        let outcome = unsafe {
            libc::setsockopt(
                self.fd.as_raw_fd(),
                self.layout.level,
                option,
                ptr::from_ref(buffer).cast(),
                length,
            )
        };
        Errno::result(outcome).map(drop)
    }

    fn refused(&self, verb: &str, table: &str, errno: Errno) -> NetfilterError {
        if errno == Errno::ENOPROTOOPT {
            return NetfilterError::Unsupported(
                "xtables (load the module ip_tables or ip6_tables)",
            );
        }
        let advice = if errno == Errno::EPERM { "; give it CAP_NET_ADMIN" } else { "" };
        let what = format!("{verb} table {table} of {} xtables{advice}", self.layout.family);
        NetfilterError::Refused { what, source: io::Error::from(errno) }
    }
}

fn socket_length(buffer: &[u8]) -> Result<libc::socklen_t, Errno> {
    libc::socklen_t::try_from(buffer.len()).map_err(|_| Errno::E2BIG)
}

/// Zeros that begin with a table's name.
fn request(length: usize, table: &str) -> Result<Vec<u8>, NetfilterError> {
    if table.is_empty() || table.len() >= TABLE_NAME || table.contains('\0') {
        let why = format!("a table's name has at most {} bytes", TABLE_NAME - 1);
        return Err(unwritable(format!("ask for table {table:?}"), why));
    }
    let mut buffer = vec![0; length];
    put(&mut buffer, 0, table.as_bytes());
    Ok(buffer)
}
