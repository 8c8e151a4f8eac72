//! System calls that the standard library does not wrap.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr;

use nix::libc;

/// Datagrams per system call.
const BATCH: u32 = 64;

/// Segments that this connection sent again.
pub(super) fn retransmits(stream: &TcpStream) -> io::Result<u32> {
    // SAFETY: tcp_info is plain integers, for which all zeroes is a value.
    let mut info: libc::tcp_info = unsafe { zeroed() };
    let mut length = length_of::<libc::tcp_info>();
    // SAFETY: the pointer and the length describe `info`, which outlives the call.
    let status = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            ptr::from_mut(&mut info).cast(),
            &raw mut length,
        )
    };
    if status == 0 { Ok(info.tcpi_total_retrans) } else { Err(io::Error::last_os_error()) }
}

/// Asks for a receive buffer of this many bytes, beyond the limit of ordinary users.
pub(super) fn receive_buffer(socket: &impl AsRawFd, bytes: i32) -> io::Result<()> {
    set_option(socket, (libc::SOL_SOCKET, libc::SO_RCVBUFFORCE), bytes)
}

/// Sets an option, named by level and number, whose value is an `int`.
pub(super) fn set_option(
    socket: &impl AsRawFd,
    (level, name): (i32, i32),
    value: i32,
) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `value`, which outlives the call.
    let status = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            ptr::from_ref(&value).cast(),
            length_of::<i32>(),
        )
    };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Many equal datagrams, or many received ones, per system call.
pub(super) struct Batch {
    // The headers point into the vectors, and these into the buffers; neither is touched again.
    headers: Vec<libc::mmsghdr>,
    _vectors: Vec<libc::iovec>,
    _buffers: Vec<Vec<u8>>,
}

impl Batch {
    /// A batch of datagrams of this size.
    pub(super) fn new(size: usize) -> Self {
        let mut buffers = vec![vec![0x5a_u8; size]; BATCH as usize];
        let mut vectors: Vec<_> = buffers
            .iter_mut()
            .map(|buffer| libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: size })
            .collect();
        let headers = vectors.iter_mut().map(header).collect();
        Self { headers, _vectors: vectors, _buffers: buffers }
    }

    /// Sends the batch on a connected socket; how many datagrams the kernel took.
    pub(super) fn send(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.send_some(socket, BATCH)
    }

    /// Sends so many of the batch, but no more than it has, as [`Batch::send`].
    pub(super) fn send_some(&mut self, socket: &UdpSocket, count: u32) -> io::Result<usize> {
        let count = count.min(BATCH);
        // SAFETY: headers, vectors and buffers live as long as `self`, and BATCH is their number.
        let count =
            unsafe { libc::sendmmsg(socket.as_raw_fd(), self.headers.as_mut_ptr(), count, 0) };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    /// Receives at least one datagram; how many and how many bytes.
    pub(super) fn receive(&mut self, socket: &UdpSocket) -> io::Result<(usize, u64)> {
        // SAFETY: as above; the kernel writes into the buffers, which nobody else reads.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH,
                libc::MSG_WAITFORONE,
                ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        let bytes = self.headers.iter().take(count).map(|header| u64::from(header.msg_len)).sum();
        Ok((count, bytes))
    }
}

fn header(vector: &mut libc::iovec) -> libc::mmsghdr {
    // SAFETY: msghdr is integers and pointers, for which all zeroes is a value.
    let mut header: libc::mmsghdr = unsafe { zeroed() };
    header.msg_hdr.msg_iov = vector;
    header.msg_hdr.msg_iovlen = 1;
    header
}

/// The size of a C structure as the socket calls take it.
#[expect(clippy::cast_possible_truncation, reason = "C structures are smaller than 4 GiB")]
pub(super) fn length_of<T>() -> libc::socklen_t {
    size_of::<T>() as libc::socklen_t
}
