//! The `clsact` qdisc and its filters, by rtnetlink (`linux/pkt_sched.h`, `linux/pkt_cls.h`).
//! aya attaches there as well, but neither takes the qdisc away nor tells what it finds.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::libc;

/// `RTM_*` of `linux/rtnetlink.h`, and the kernel's two ways to end an answer.
const NEW_QDISC: u16 = 36;
const DEL_QDISC: u16 = 37;
const GET_QDISC: u16 = 38;
const NEW_FILTER: u16 = 44;
const DEL_FILTER: u16 = 45;
const GET_FILTER: u16 = 46;
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// `NLM_F_*`.
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const ECHO: u16 = 8;
const DUMP: u16 = 0x300;
const NEW: u16 = 0x600;
/// Made if it is missing, else replaced.
const PUT: u16 = 0x400;

const CLSACT: u32 = 0xffff_fff1;
/// `TC_H_ROOT`: the parent of the qdisc that everything passes.
const ROOT: u32 = 0xffff_ffff;
const CLSACT_HANDLE: u32 = 0xffff_0000;
/// Every EtherType, in network byte order as `tcm_info` has it.
const ALL_PROTOCOLS: u32 = 0x0003_u16.to_be() as u32;
/// Our place among filters: before all others, whose verdict may be the last word.
const PRIORITY: u32 = 1;
/// Ours alone: another one's `bpf` filter may share the priority.
const HANDLE: u32 = 0x7a27_a400;
/// What the names of our filters begin with; the program's name follows.
const NAMESPACE: &str = "tartan:";

/// `TCA_KIND`, `TCA_OPTIONS`, and those of the classifier `bpf`.
const KIND: u16 = 1;
const OPTIONS: u16 = 2;
const BPF_FD: u16 = 6;
const BPF_NAME: u16 = 7;
const BPF_FLAGS: u16 = 8;
const BPF_ID: u16 = 11;
const DIRECT_ACTION: u32 = 1;

/// Lengths of `struct nlmsghdr`, of `struct tcmsg` and of both.
const HEADER: usize = 16;
const TCMSG: usize = 20;
const HEAD: usize = HEADER + TCMSG;
/// The kernel's answers are at most this long.
const BUFFER: usize = 32 * 1024;

/// A side of the qdisc: the parent of its filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Side {
    /// What the interface receives.
    Ingress = 0xffff_fff2,
    /// What it sends.
    Egress = 0xffff_fff3,
}

/// A filter that somebody put there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    priority: u32,
    handle: u32,
    /// Its classifier, such as `u32`.
    pub(crate) kind: String,
    name: String,
    /// The program that it runs, if it is one of the classifier `bpf`.
    pub(crate) program: Option<u32>,
}

/// A qdisc that somebody put there, or the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Qdisc {
    pub(crate) ifindex: u32,
    parent: u32,
    pub(crate) kind: String,
}

impl Qdisc {
    /// Whether all that the interface sends has to pass it.
    pub(crate) fn is_root(&self) -> bool {
        self.parent == ROOT
    }

    /// Whether it has sides with filters, and does nothing itself.
    pub(crate) fn has_sides(&self) -> bool {
        self.parent == CLSACT
    }
}

/// The interfaces whose qdisc, or a filter that is not ours, changed by what a datagram of the
/// kernel's tells those who listen to traffic control (`RTNLGRP_TC`). Of filters that went with somebody else's `clsact` nobody is told.
#[must_use]
pub fn strange_links(datagram: &[u8]) -> Vec<u32> {
    let mut links = Vec::new();
    let mut rest = datagram;
    while let Some((message, body, after)) = split(rest) {
        let strange = match message {
            // A `clsact` is made for every new pod and does nothing itself; its filters are told of.
            NEW_QDISC | DEL_QDISC => read_qdisc(body).is_some_and(|qdisc| qdisc.kind != "clsact"),
            NEW_FILTER | DEL_FILTER => {
                read_filter(body).is_some_and(|filter| !filter.is_ours() && !filter.is_our_place())
            }
            _ => false,
        };
        let ifindex = body.get(4..).and_then(|at| at.first_chunk()).copied();
        links.extend(ifindex.filter(|_| strange).map(u32::from_ne_bytes));
        rest = after;
    }
    links
}

impl Filter {
    /// Whether it is in the place that [`Tc::put_filter`] takes, and named as it names.
    pub(crate) fn is_ours(&self) -> bool {
        self.program_name().is_some()
    }

    /// Whether it is ours and runs the program of this name.
    pub(crate) fn runs(&self, name: &str) -> bool {
        self.program_name() == Some(name)
    }

    /// Whether it is a line of the kernel's about the place that ours is in, and no filter.
    pub(crate) fn is_our_place(&self) -> bool {
        self.priority == PRIORITY && self.handle == 0 && self.kind == "bpf"
    }

    /// The name of the program that it runs, if it is ours.
    pub(crate) fn program_name(&self) -> Option<&str> {
        let in_place = self.priority == PRIORITY && self.handle == HANDLE && self.program.is_some();
        self.name.strip_prefix(NAMESPACE).filter(|_| in_place)
    }
}

/// A socket.
pub(crate) struct Tc(Socket);

impl Tc {
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self(socket))
    }

    /// Fails with `EEXIST` where there is a `clsact` or an `ingress` qdisc.
    pub(crate) fn add_qdisc(&self, ifindex: u32) -> io::Result<()> {
        let message = Message::new(NEW_QDISC, ACK | NEW, ifindex, CLSACT_HANDLE, CLSACT, 0);
        self.ask(message.attribute(KIND, b"clsact\0")).map(drop)
    }

    /// Takes the qdisc away, with all its filters.
    pub(crate) fn delete_qdisc(&self, ifindex: u32) -> io::Result<()> {
        let message = Message::new(DEL_QDISC, ACK, ifindex, CLSACT_HANDLE, CLSACT, 0);
        self.ask(message).map(drop)
    }

    /// The kind of the qdisc that has the two sides, or the one: `clsact` or `ingress`.
    pub(crate) fn qdisc(&self, ifindex: u32) -> io::Result<Option<String>> {
        // Without an echo the answer goes to the kernel's listeners, and not to who asked.
        let message = Message::new(GET_QDISC, ACK | ECHO, ifindex, 0, CLSACT, 0);
        let answers = match self.ask(message) {
            Ok(answers) => answers,
            // Never was there, and was there once.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINVAL)) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        Ok(answers.iter().find_map(|body| kind(body)))
    }

    /// Every qdisc of every interface.
    pub(crate) fn qdiscs(&self) -> io::Result<Vec<Qdisc>> {
        let answers = self.ask(Message::new(GET_QDISC, DUMP, 0, 0, 0, 0))?;
        Ok(answers.iter().filter_map(|message| read_qdisc(message)).collect())
    }

    /// Runs a program on a side, in place of ours that is there: its answer is the verdict.
    pub(crate) fn put_filter(
        &self,
        ifindex: u32,
        side: Side,
        name: &str,
        program: BorrowedFd<'_>,
    ) -> io::Result<()> {
        let options = Attributes::default()
            .with(BPF_FD, &program.as_raw_fd().to_ne_bytes())
            .with(BPF_NAME, format!("{NAMESPACE}{name}\0").as_bytes())
            .with(BPF_FLAGS, &DIRECT_ACTION.to_ne_bytes());
        let message = Message::new(NEW_FILTER, ACK | PUT, ifindex, HANDLE, side as u32, info());
        self.ask(message.attribute(KIND, b"bpf\0").attribute(OPTIONS, &options.0)).map(drop)
    }

    /// Takes our filter away from a side.
    pub(crate) fn delete_filter(&self, ifindex: u32, side: Side) -> io::Result<()> {
        let message = Message::new(DEL_FILTER, ACK, ifindex, HANDLE, side as u32, info());
        self.ask(message.attribute(KIND, b"bpf\0")).map(drop)
    }

    /// What is on a side; nothing where there is no such qdisc.
    pub(crate) fn filters(&self, ifindex: u32, side: Side) -> io::Result<Vec<Filter>> {
        let answers = self.ask(Message::new(GET_FILTER, DUMP, ifindex, 0, side as u32, 0))?;
        Ok(answers.iter().filter_map(|message| read_filter(message)).collect())
    }

    /// Sends a request and collects what is answered, but for the end of it.
    fn ask(&self, message: Message) -> io::Result<Vec<Vec<u8>>> {
        self.0.send(&message.finish()?, 0)?;
        let mut answers = Vec::new();
        let mut buffer = vec![0; BUFFER];
        loop {
            let length = self.0.recv(&mut &mut buffer[..], 0)?;
            let mut rest = buffer.get(..length).unwrap_or_default();
            while let Some((kind, message, after)) = split(rest) {
                match kind {
                    ERROR => return outcome(message).map(|()| answers),
                    DONE => return Ok(answers),
                    _ => answers.push(message.to_vec()),
                }
                rest = after;
            }
        }
    }
}

const fn info() -> u32 {
    PRIORITY << 16 | ALL_PROTOCOLS
}

/// The first message of a datagram: its type, its body, and what follows.
fn split(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::try_from(u32::from_ne_bytes(*bytes.first_chunk()?)).ok()?;
    let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
    let body = bytes.get(HEADER..length)?;
    Some((kind, body, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

fn outcome(body: &[u8]) -> io::Result<()> {
    match body.first_chunk().map(|code| i32::from_ne_bytes(*code)) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(-code)),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn read_filter(body: &[u8]) -> Option<Filter> {
    let word = |at: usize| Some(u32::from_ne_bytes(*body.get(at..)?.first_chunk()?));
    let (handle, info) = (word(8)?, word(16)?);
    let options = attribute(body.get(TCMSG..)?, OPTIONS);
    let name = options.and_then(|options| attribute(options, BPF_NAME)).and_then(text);
    let program = options.and_then(|options| attribute(options, BPF_ID));
    let program = program.and_then(|id| id.first_chunk()).map(|id| u32::from_ne_bytes(*id));
    let (name, kind) = (name.unwrap_or_default(), kind(body).unwrap_or_default());
    Some(Filter { priority: info >> 16, handle, kind, name, program })
}

fn read_qdisc(body: &[u8]) -> Option<Qdisc> {
    let word = |at: usize| Some(u32::from_ne_bytes(*body.get(at..)?.first_chunk()?));
    Some(Qdisc { ifindex: word(4)?, parent: word(12)?, kind: kind(body)? })
}

/// The kind of the qdisc or the filter that a message is about.
fn kind(body: &[u8]) -> Option<String> {
    text(attribute(body.get(TCMSG..)?, KIND)?)
}

/// A text that ends with a zero byte.
fn text(bytes: &[u8]) -> Option<String> {
    Some(CStr::from_bytes_until_nul(bytes).ok()?.to_str().ok()?.to_owned())
}

/// The value of an attribute.
fn attribute(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        let kind = u16::from_ne_bytes(*bytes.get(2..)?.first_chunk()?);
        let value = bytes.get(4..length)?;
        // The upper bits say that it is nested or in network byte order.
        if kind & 0x3fff == wanted {
            return Some(value);
        }
        bytes = bytes.get(length.next_multiple_of(4)..)?;
    }
}

#[derive(Default)]
struct Attributes(Vec<u8>);

impl Attributes {
    fn with(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }
}

struct Message {
    head: [u8; HEAD],
    attributes: Attributes,
}

impl Message {
    fn new(kind: u16, flags: u16, ifindex: u32, handle: u32, parent: u32, info: u32) -> Self {
        let mut head = [0; HEAD];
        let words = [(16 + 4, ifindex), (16 + 8, handle), (16 + 12, parent), (16 + 16, info)];
        head[4..6].copy_from_slice(&kind.to_ne_bytes());
        head[6..8].copy_from_slice(&(REQUEST | flags).to_ne_bytes());
        for (at, word) in words {
            head[at..at + 4].copy_from_slice(&word.to_ne_bytes());
        }
        Self { head, attributes: Attributes::default() }
    }

    fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        self.attributes = self.attributes.with(kind, value);
        self
    }

    fn finish(mut self) -> io::Result<Vec<u8>> {
        let length = u32::try_from(HEAD + self.attributes.0.len()).map_err(io::Error::other)?;
        self.head[..4].copy_from_slice(&length.to_ne_bytes());
        Ok([&self.head[..], &self.attributes.0].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_read_from_what_the_kernel_answers() {
        let options = Attributes::default()
            .with(BPF_NAME, b"tartan:pod_egress\0")
            .with(BPF_ID, &7_u32.to_ne_bytes());
        let message = Message::new(NEW_FILTER, 0, 3, HANDLE, Side::Ingress as u32, info());
        let bytes =
            message.attribute(KIND, b"bpf\0").attribute(OPTIONS, &options.0).finish().unwrap();
        let (kind, body, rest) = split(&bytes).unwrap();
        assert_eq!((kind, rest.len()), (NEW_FILTER, 0));
        let filter = read_filter(body).unwrap();
        assert_eq!((filter.program, filter.program_name()), (Some(7), Some("pod_egress")));
        assert!(filter.runs("pod_egress") && !filter.runs("pod_ingress"));
    }

    #[test]
    fn a_strangers_filter_is_not_ours() {
        let name = "tartan:pod_egress".to_owned();
        let kind = "bpf".to_owned();
        let ours = Filter { priority: PRIORITY, handle: HANDLE, kind, name, program: Some(7) };
        assert!(ours.is_ours());
        assert!(!Filter { priority: 49152, ..ours.clone() }.is_ours());
        assert!(!Filter { handle: 1, ..ours.clone() }.is_ours());
        assert!(!Filter { name: "cil_from_netdev".to_owned(), ..ours.clone() }.is_ours());
        assert!(!Filter { program: None, ..ours }.is_ours());
    }

    #[test]
    fn others_changes_are_told_by_their_links() {
        let message = |kind, flags, handle, parent, what: &[u8]| {
            let message = Message::new(kind, flags, 3, handle, parent, info());
            message.attribute(KIND, what).finish().unwrap()
        };
        let clsact = message(NEW_QDISC, 0, CLSACT_HANDLE, CLSACT, b"clsact\0");
        let place = message(NEW_FILTER, 0, 0, Side::Ingress as u32, b"bpf\0");
        assert!(strange_links(&[clsact.clone(), place].concat()).is_empty());
        let tbf = message(NEW_QDISC, 0, 1, ROOT, b"tbf\0");
        let filter = message(DEL_FILTER, 0, 0x8000_0800, Side::Ingress as u32, b"u32\0");
        assert_eq!(strange_links(&[clsact, tbf.clone(), filter].concat()), [3, 3]);
        let qdisc = read_qdisc(&tbf[HEADER..]).unwrap();
        assert!(qdisc.is_root() && !qdisc.has_sides() && qdisc.kind == "tbf");
    }

    #[test]
    fn a_torn_answer_is_no_message() {
        assert!(split(&[8, 0, 0]).is_none());
        assert!(split(&[64, 0, 0, 0, 2, 0, 0, 0]).is_none());
        assert!(attribute(&[9, 0, 1, 0, 1], KIND).is_none());
    }
}
