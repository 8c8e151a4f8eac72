//! A netlink socket of netfilter's: dumps are read to their end, and a batch's answers are all
//! read before the next request.

use std::io;
use std::os::fd::AsFd;

use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, setsockopt, sockopt};
use nix::sys::time::TimeVal;

use super::attributes::Attributes;
use super::uapi::{
    BATCH_BEGIN, BATCH_END, DUMP, DUMP_INTERRUPTED, NETLINK_NETFILTER, NFNL_SUBSYS_NFTABLES,
    NLMSG_DONE, NLMSG_ERROR, REQUEST, message,
};
use super::writer::Writer;
use crate::NetfilterError;

/// Larger than any datagram that the kernel makes of a dump.
const BUFFER: usize = 256 * 1024;
/// The kernel answers at once; this is for a kernel that does not answer at all.
const PATIENCE: TimeVal = TimeVal::new(10, 0);
/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// `struct nfgenmsg`.
const GENERIC_HEADER: usize = 4;
const ALIGNMENT: usize = 4;
/// Beside the messages themselves, what the kernel counts against a send buffer.
const SEND_OVERHEAD: usize = 4096;

/// Whether a dump is of one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dump {
    /// It is.
    Whole,
    /// Something changed meanwhile.
    Interrupted,
}

/// What the kernel said to one message of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) sequence: u32,
    /// 0, or an error's number.
    pub(super) errno: i32,
}

#[derive(Debug)]
pub(super) struct NetfilterSocket {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
    sendable: usize,
}

/// One message of a datagram.
struct Frame<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    payload: &'a [u8],
}

impl NetfilterSocket {
    pub(super) fn open() -> Result<Self, NetfilterError> {
        let mut socket = Socket::new(NETLINK_NETFILTER).map_err(no_socket)?;
        socket.bind_auto().map_err(io_error("bind a netlink socket"))?;
        socket.set_cap_ack(true).map_err(io_error("set up a netlink socket"))?;
        setsockopt(&socket.as_fd(), sockopt::ReceiveTimeout, &PATIENCE)
            .map_err(|errno| io_error("set up a netlink socket")(errno.into()))?;
        Ok(Self { socket, sequence: 0, buffer: Vec::with_capacity(BUFFER), sendable: 0 })
    }

    /// The next message's number.
    pub(super) fn next(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// Asks for one thing; `each` gets the answer.
    pub(super) fn get(
        &mut self,
        kind: u8,
        each: impl FnMut(u8, &Attributes) -> Result<(), NetfilterError>,
    ) -> Result<Dump, NetfilterError> {
        self.request(kind, 0, 0, |_| {}, each)
    }

    /// Asks for everything of a kind; `each` gets the family and the attributes of each.
    pub(super) fn dump(
        &mut self,
        kind: u8,
        family: u8,
        body: impl FnOnce(&mut Writer),
        each: impl FnMut(u8, &Attributes) -> Result<(), NetfilterError>,
    ) -> Result<Dump, NetfilterError> {
        self.request(kind, DUMP, family, body, each)
    }

    fn request(
        &mut self,
        kind: u8,
        flags: u16,
        family: u8,
        body: impl FnOnce(&mut Writer),
        mut each: impl FnMut(u8, &Attributes) -> Result<(), NetfilterError>,
    ) -> Result<Dump, NetfilterError> {
        let sequence = self.next();
        let mut request = Writer::default();
        request.message(kind, REQUEST | flags, sequence, family, body);
        let bytes = request.finish().ok_or_else(too_long)?;
        self.socket
            .send_to(&bytes, &SocketAddr::new(0, 0), 0)
            .map_err(io_error("ask the kernel about nf_tables"))?;
        let mut reading = Reading { dump: Dump::Whole, failed: None, over: false };
        while !reading.over {
            self.receive(0)?;
            for frame in frames(&self.buffer) {
                let frame = frame?;
                if frame.sequence == sequence {
                    reading.take(&frame, &mut each);
                    reading.over |= flags & DUMP == 0;
                }
            }
        }
        reading.failed.map_or(Ok(reading.dump), Err)
    }

    /// Sends a batch; the kernel has answered all of it when this returns.
    pub(super) fn batch(&mut self, bytes: &[u8]) -> Result<Vec<Answer>, NetfilterError> {
        self.make_room(bytes.len())?;
        self.socket
            .send_to(bytes, &SocketAddr::new(0, 0), 0)
            .map_err(io_error("send a transaction to the kernel"))?;
        let mut answers = Vec::new();
        while self.receive(MsgFlags::MSG_DONTWAIT.bits())? {
            for frame in frames(&self.buffer) {
                let frame = frame?;
                if frame.kind == NLMSG_ERROR {
                    answers.push(Answer { sequence: frame.sequence, errno: errno(frame.payload) });
                }
            }
        }
        Ok(answers)
    }

    /// Waits until no transaction is half in force. The kernel takes the lock of transactions
    /// for an empty one too, and leaves it at that (`nf_tables_commit`).
    pub(super) fn settle(&mut self) -> Result<(), NetfilterError> {
        let resource = u16::from(NFNL_SUBSYS_NFTABLES);
        let (begin, end) = (self.next(), self.next());
        let mut empty = Writer::default();
        empty.framed(BATCH_BEGIN, REQUEST, begin, 0, resource, |_| {});
        empty.framed(BATCH_END, REQUEST, end, 0, resource, |_| {});
        let bytes = empty.finish().ok_or_else(too_long)?;
        match self.batch(&bytes)?.iter().find(|answer| answer.errno != 0) {
            Some(Answer { errno, .. }) => {
                let error = io::Error::from_raw_os_error(*errno);
                Err(io_error("wait for nf_tables to settle")(error))
            }
            None => Ok(()),
        }
    }

    /// A batch is one datagram: the send buffer has to hold it.
    fn make_room(&mut self, length: usize) -> Result<(), NetfilterError> {
        let needed = length + SEND_OVERHEAD;
        if needed > self.sendable {
            let socket = self.socket.as_fd();
            setsockopt(&socket, sockopt::SndBufForce, &needed)
                .or_else(|_| setsockopt(&socket, sockopt::SndBuf, &needed))
                .map_err(|errno| io_error("enlarge a netlink socket's buffer")(errno.into()))?;
            self.sendable = needed;
        }
        Ok(())
    }

    /// One datagram into the buffer; `false` when there is none and `flags` say not to wait.
    fn receive(&mut self, flags: i32) -> Result<bool, NetfilterError> {
        loop {
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer, flags | MsgFlags::MSG_TRUNC.bits()) {
                Ok(length) if length > self.buffer.len() => {
                    return Err(NetfilterError::Malformed(format!("{length} bytes in one answer")));
                }
                Ok(_) => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && flags != 0 => {
                    return Ok(false);
                }
                Err(error) => return Err(io_error("read the kernel's answer")(error)),
            }
        }
    }
}

/// The state of a dump that is being read.
struct Reading {
    dump: Dump,
    failed: Option<NetfilterError>,
    over: bool,
}

impl Reading {
    fn take(
        &mut self,
        frame: &Frame,
        each: &mut impl FnMut(u8, &Attributes) -> Result<(), NetfilterError>,
    ) {
        if frame.flags & DUMP_INTERRUPTED != 0 {
            self.dump = Dump::Interrupted;
        }
        if matches!(frame.kind, NLMSG_DONE | NLMSG_ERROR) {
            self.over = true;
            self.end(errno(frame.payload));
        } else if self.failed.is_none() {
            self.failed = element(frame.payload, each).err();
        }
    }

    /// What is asked for may be gone by now; that is a change like any other.
    fn end(&mut self, errno: i32) {
        const CHANGED: [Errno; 3] = [Errno::ENOENT, Errno::EINTR, Errno::EAGAIN];
        if CHANGED.contains(&Errno::from_raw(errno)) {
            self.dump = Dump::Interrupted;
        } else if errno != 0 {
            let error = io::Error::from_raw_os_error(errno);
            self.failed.get_or_insert(io_error("read nf_tables")(error));
        }
    }
}

fn element(
    payload: &[u8],
    each: &mut impl FnMut(u8, &Attributes) -> Result<(), NetfilterError>,
) -> Result<(), NetfilterError> {
    let (header, body) = payload
        .split_first_chunk::<GENERIC_HEADER>()
        .ok_or_else(|| NetfilterError::Malformed("a message without its header".into()))?;
    each(header[0], &Attributes::parse(body)?)
}

fn frames(bytes: &[u8]) -> impl Iterator<Item = Result<Frame<'_>, NetfilterError>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let first = split(rest);
        rest = first.as_ref().map_or(&[], |(_, after)| after);
        Some(match first {
            Some((frame, _)) => Ok(frame),
            None => Err(NetfilterError::Malformed("a netlink message is cut off".into())),
        })
    })
}

fn split(bytes: &[u8]) -> Option<(Frame<'_>, &[u8])> {
    let (header, _) = bytes.split_first_chunk::<HEADER>()?;
    let word = |at: usize| u32::from_ne_bytes(std::array::from_fn(|index| header[at + index]));
    let length = usize::try_from(word(0)).ok()?;
    let frame = Frame {
        kind: u16::from_ne_bytes([header[4], header[5]]),
        flags: u16::from_ne_bytes([header[6], header[7]]),
        sequence: word(8),
        payload: bytes.get(HEADER..length)?,
    };
    Some((frame, bytes.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default()))
}

/// The positive number of the error that a message of type "error" or "done" begins with.
fn errno(payload: &[u8]) -> i32 {
    payload.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code).saturating_neg())
}

pub(super) fn no_socket(error: io::Error) -> NetfilterError {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EPROTONOSUPPORT | Errno::EAFNOSUPPORT | Errno::ESOCKTNOSUPPORT) => {
            NetfilterError::Unsupported("nf_tables")
        }
        _ => io_error("open a netlink socket")(error),
    }
}

pub(super) fn io_error(what: &str) -> impl FnOnce(io::Error) -> NetfilterError {
    let what = what.to_owned();
    move |source| NetfilterError::Io { what, source }
}

fn too_long() -> NetfilterError {
    NetfilterError::Malformed("a name is too long for netlink".into())
}

/// The number of the ruleset in force. A kernel without nf_tables calls the question invalid
/// (`nfnetlink_rcv_msg` in `net/netfilter/nfnetlink.c`), which it never is otherwise.
pub(super) fn generation(socket: &mut NetfilterSocket) -> Result<u32, NetfilterError> {
    let mut found = None;
    let asked = socket.get(message::GET_GENERATION, |_, attributes| {
        found = attributes.number(1);
        Ok(())
    });
    if let Err(NetfilterError::Io { source, .. }) = &asked
        && is_unknown(source)
    {
        return Err(NetfilterError::Unsupported("nf_tables"));
    }
    asked?;
    found.ok_or_else(|| NetfilterError::Malformed("no generation".into()))
}

/// What the kernel says about a part of netfilter that it does not have.
fn is_unknown(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::EINVAL | Errno::EOPNOTSUPP))
}
