//! Socket options that the standard library does not have, and names for errors.

use std::ffi::c_int;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::ptr;

use nix::libc;
use thiserror::Error;

use super::wire::Way;

/// Whether a router may split what we send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fragments {
    /// Nobody may: don't-fragment is set, whatever is known of the way.
    Forbidden,
    /// Everybody may, we ourselves to begin with.
    Allowed,
}

/// Sets or clears don't-fragment.
pub(super) fn set_fragments(socket: &UdpSocket, fragments: Fragments) -> io::Result<()> {
    let (level, name) = if socket.local_addr()?.is_ipv4() {
        (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER)
    } else {
        (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER)
    };
    let value: c_int = match fragments {
        Fragments::Forbidden => libc::IP_PMTUDISC_PROBE,
        Fragments::Allowed => libc::IP_PMTUDISC_DONT,
    };
    // SAFETY: the pointer and the length describe `value`, which outlives the call.
    let status = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            ptr::from_ref(&value).cast(),
            length_of_int(),
        )
    };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The MTU of the way that a connected socket sends by.
pub(super) fn mtu(socket: &UdpSocket) -> io::Result<u32> {
    let (level, name) = if socket.local_addr()?.is_ipv4() {
        (libc::IPPROTO_IP, libc::IP_MTU)
    } else {
        (libc::IPPROTO_IPV6, libc::IPV6_MTU)
    };
    let (mut value, mut length): (c_int, _) = (0, length_of_int());
    // SAFETY: the pointers are to `value` and its length, which outlive the call.
    let status = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            name,
            ptr::from_mut(&mut value).cast(),
            &raw mut length,
        )
    };
    if status == 0 { Ok(value.unsigned_abs()) } else { Err(io::Error::last_os_error()) }
}

/// `c_int` as the system calls measure it.
fn length_of_int() -> libc::socklen_t {
    // Four bytes on every Linux.
    4
}

/// An unused port on any address of the family of `of`.
pub(super) fn any_port(of: &SocketAddr) -> SocketAddr {
    match of {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

/// The first address of a name with a port.
pub(super) fn resolve(to: &str) -> io::Result<SocketAddr> {
    let first = to.to_socket_addrs()?.next();
    first.ok_or_else(|| io::Error::other(format!("{to} has no address")))
}

/// An address without the disguise that it has on a socket for both families.
pub(super) fn plain(address: &SocketAddr) -> IpAddr {
    address.ip().to_canonical()
}

/// A datagram that got lost.
#[derive(Debug, Error)]
#[error("lost on the way {}", match .0 { Way::There => "there", Way::Back => "back" })]
pub(super) struct Lost(pub(super) Way);

/// Where it was lost, if the error says so.
pub(super) fn way(error: &io::Error) -> Option<Way> {
    error.get_ref()?.downcast_ref::<Lost>().map(|lost| lost.0)
}

/// An error in words that are the same for all causes that mean the same.
pub(super) fn name(error: &io::Error) -> String {
    const WORDS: [(io::ErrorKind, &str); 6] = [
        (io::ErrorKind::WouldBlock, "no answer"),
        (io::ErrorKind::TimedOut, "no answer"),
        (io::ErrorKind::ConnectionRefused, "refused"),
        (io::ErrorKind::ConnectionReset, "reset"),
        (io::ErrorKind::HostUnreachable, "unreachable"),
        (io::ErrorKind::NetworkUnreachable, "unreachable"),
    ];
    if error.raw_os_error() == Some(libc::EMSGSIZE) {
        return "a hop has a smaller MTU".to_owned();
    }
    let known = WORDS.iter().find(|(kind, _)| *kind == error.kind());
    known.map_or_else(|| error.to_string(), |(_, word)| (*word).to_owned())
}
