//! The socket and its errors.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the kernel's vocabulary grows; what is unknown is skipped"
)]

use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_ECHO, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::request::Request;

/// Alignment of messages in a batch (RFC 3549, `NLMSG_ALIGNTO`).
const ALIGNMENT: usize = 4;
/// The kernel's sentence among an error's attributes (`NLMSGERR_ATTR_MSG`).
const ATTR_MSG: u16 = 1;
/// Length of `struct nlmsghdr`, which an error repeats.
const HEADER: usize = 16;

/// The kernel refused a request.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}{}{note}", if note.is_empty() { "" } else { ": " })]
pub struct NetlinkError {
    /// What the request was for.
    pub what: String,
    /// What the kernel said.
    pub source: io::Error,
    /// Its explanation, where it gives one.
    pub note: String,
}

impl NetlinkError {
    fn new(what: &str, source: io::Error) -> Self {
        Self { what: what.to_owned(), source, note: String::new() }
    }

    /// Whether the error is this `errno`.
    #[must_use]
    pub fn is(&self, errno: nix::errno::Errno) -> bool {
        self.source.raw_os_error() == Some(errno as i32)
    }
}

/// A socket to the kernel, bound for ever to the network namespace it was opened in.
#[derive(Debug)]
pub struct Rtnl {
    socket: Socket,
    sequence: u32,
}

impl Rtnl {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    ///
    /// What socket(2) says.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // Both only shorten or explain answers; a kernel without them still answers.
        let _ = socket.set_cap_ack(true);
        let _ = socket.set_ext_ack(true);
        Ok(Self { socket, sequence: 0 })
    }

    /// Runs requests in order with one system call; the kernel tries each even if one fails.
    ///
    /// # Errors
    ///
    /// The first failure.
    pub fn run(&mut self, requests: Vec<Request>) -> Result<(), NetlinkError> {
        let mut batch = Vec::new();
        let purposes: Vec<String> =
            requests.into_iter().map(|request| self.append(&mut batch, request)).collect();
        let first = purposes.first().map_or("netlink", String::as_str);
        self.send(&batch).map_err(|error| NetlinkError::new(first, error))?;
        let mut outcome = Ok(());
        for what in &purposes {
            let answer = self.acknowledgement(what);
            outcome = outcome.and(answer);
        }
        outcome
    }

    /// Runs a request and returns what the kernel made, where it says so: one wait for its lock
    /// where a question afterwards would be a second one.
    pub(super) fn run_echoed(
        &mut self,
        request: Request,
    ) -> Result<Option<RouteNetlinkMessage>, NetlinkError> {
        let Request { what, message, flags } = request;
        self.ask(&what, message, NLM_F_REQUEST | NLM_F_ACK | NLM_F_ECHO | flags)?;
        let mut made = None;
        while !self.receive(&what, &mut |message| made = Some(message))? {}
        Ok(made)
    }

    /// Puts a request into the batch and returns its purpose.
    fn append(&mut self, batch: &mut Vec<u8>, request: Request) -> String {
        let flags = NLM_F_REQUEST | NLM_F_ACK | request.flags;
        let message = self.message(request.message, flags);
        let start = batch.len();
        batch.resize(start + message.buffer_len().next_multiple_of(ALIGNMENT), 0);
        message.serialize(&mut batch[start..]);
        request.what
    }

    fn message(
        &mut self,
        inner: RouteNetlinkMessage,
        flags: u16,
    ) -> NetlinkMessage<RouteNetlinkMessage> {
        self.sequence += 1;
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(inner));
        message.finalize();
        message
    }

    fn acknowledgement(&mut self, what: &str) -> Result<(), NetlinkError> {
        self.receive(what, &mut |_| {}).map(|_| ())
    }

    /// Asks for one object.
    ///
    /// # Errors
    ///
    /// `ENODEV` and its like when there is none.
    pub fn get(
        &mut self,
        what: &str,
        question: RouteNetlinkMessage,
    ) -> Result<Option<RouteNetlinkMessage>, NetlinkError> {
        self.ask(what, question, NLM_F_REQUEST)?;
        let mut found = None;
        self.receive(what, &mut |message| found = Some(message))?;
        Ok(found)
    }

    /// Asks for every object of a kind.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn dump(
        &mut self,
        what: &str,
        question: RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        self.ask(what, question, NLM_F_REQUEST | NLM_F_DUMP)?;
        let mut found = Vec::new();
        while !self.receive(what, &mut |message| found.push(message))? {}
        Ok(found)
    }

    fn ask(
        &mut self,
        what: &str,
        question: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<(), NetlinkError> {
        let message = self.message(question, flags);
        let mut buffer = vec![0; message.buffer_len()];
        message.serialize(&mut buffer);
        self.send(&buffer).map_err(|error| NetlinkError::new(what, error))
    }

    fn send(&self, buffer: &[u8]) -> io::Result<()> {
        self.socket.send(buffer, 0).map(|_| ())
    }

    /// Reads one datagram and hands its objects on; `true` at the end of a dump or of a request
    /// that is acknowledged.
    fn receive(
        &mut self,
        what: &str,
        take: &mut dyn FnMut(RouteNetlinkMessage),
    ) -> Result<bool, NetlinkError> {
        let fail = |error| NetlinkError::new(what, error);
        let (datagram, _) = self.socket.recv_from_full().map_err(fail)?;
        let mut rest = datagram.as_slice();
        while rest.len() >= HEADER {
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                .map_err(|error| fail(io::Error::other(error.to_string())))?;
            let length = (message.header.length as usize).next_multiple_of(ALIGNMENT);
            if judge(what, message, take)? {
                return Ok(true);
            }
            rest = rest.get(length..).unwrap_or_default();
        }
        Ok(false)
    }
}

/// Takes one message apart; `true` at an end.
fn judge(
    what: &str,
    message: NetlinkMessage<RouteNetlinkMessage>,
    take: &mut dyn FnMut(RouteNetlinkMessage),
) -> Result<bool, NetlinkError> {
    match message.payload {
        NetlinkPayload::InnerMessage(inner) => take(inner),
        NetlinkPayload::Error(error) if error.code.is_some() => {
            let note = explanation(&error.header).unwrap_or_default();
            return Err(NetlinkError { what: what.to_owned(), source: error.to_io(), note });
        }
        NetlinkPayload::Done(_) | NetlinkPayload::Error(_) => return Ok(true),
        _ => {}
    }
    Ok(false)
}

/// The kernel's sentence in the attributes behind the repeated header.
fn explanation(echo: &[u8]) -> Option<String> {
    let mut rest = echo.get(HEADER..)?;
    loop {
        let length = usize::from(u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?);
        if kind == ATTR_MSG {
            let text = String::from_utf8_lossy(rest.get(4..length)?);
            return Some(text.trim_end_matches('\0').to_owned());
        }
        rest = rest.get(length.max(ALIGNMENT).next_multiple_of(ALIGNMENT)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_sentence_is_found_behind_other_attributes() {
        let mut echo = vec![0; HEADER];
        echo.extend_from_slice(&[8, 0, 2, 0, 1, 2, 3, 4]);
        echo.extend_from_slice(&[8, 0, 1, 0, b'n', b'o', b'!', 0]);
        assert_eq!(explanation(&echo).as_deref(), Some("no!"));
    }

    #[test]
    fn broken_attributes_explain_nothing_and_end() {
        for tail in [vec![], vec![1], vec![0, 0, 2, 0], vec![200, 0, 1, 0], vec![0; 64]] {
            let mut echo = vec![0; HEADER];
            echo.extend(tail);
            assert_eq!(explanation(&echo), None);
        }
    }
}
