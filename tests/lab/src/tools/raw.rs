//! `tool raw-send` and the packet socket it shares with the capture.

use std::fs;
use std::io::{self, BufRead as _};
use std::mem::zeroed;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::ptr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::libc;
use serde::{Deserialize, Serialize};

use super::net::{length_of, receive_buffer};
use super::setup::{TICK, pin, ready};
use crate::hex;

/// `AF_PACKET` and `ETH_P_ALL` in the width that `sockaddr_ll` has for them.
const AF_PACKET: u16 = 17;
const ALL_PROTOCOLS: u16 = 3;

/// Flags of `tool raw-send`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long, default_value = "eth0")]
    iface: String,
    /// Send the frames so many times.
    #[arg(long, default_value_t = 1)]
    repeat: u64,
    /// At most so many frames per second.
    #[arg(long)]
    pps: Option<u32>,
    #[arg(long)]
    cpu: Option<usize>,
}

/// What was sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RawReport {
    /// Frames that the kernel took.
    pub sent: u64,
    /// Frames that it refused.
    pub refused: u64,
}

pub(super) fn run(args: &Args) -> Result<RawReport> {
    pin(args.cpu)?;
    let lines = io::stdin().lock().lines().collect::<io::Result<Vec<_>>>()?;
    let frames = lines.iter().map(|line| hex::decode(line)).collect::<Result<Vec<_>>>()?;
    let socket = PacketSocket::open(&args.iface)?;
    ready()?;
    let mut report = RawReport { sent: 0, refused: 0 };
    let interval = args.pps.map_or(Duration::ZERO, |pps| Duration::from_secs(1) / pps.max(1));
    let mut next = Instant::now();
    for _ in 0..args.repeat {
        for frame in &frames {
            thread::sleep(next.saturating_duration_since(Instant::now()));
            next += interval;
            match socket.send(frame) {
                Ok(()) => report.sent += 1,
                Err(_) => report.refused += 1,
            }
        }
    }
    Ok(report)
}

/// A raw AF_PACKET socket on one interface.
pub(super) struct PacketSocket(OwnedFd);

impl PacketSocket {
    pub(super) fn open(iface: &str) -> Result<Self> {
        let path = format!("/sys/class/net/{iface}/ifindex");
        let index = fs::read_to_string(&path).with_context(|| format!("no interface {iface}"))?;
        let protocol = i32::from(ALL_PROTOCOLS.to_be());
        // SAFETY: no pointers are involved.
        let raw =
            unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) };
        if raw < 0 {
            return Err(io::Error::last_os_error()).context("cannot open a packet socket");
        }
        // SAFETY: the descriptor is new and nobody else's.
        let socket = Self(unsafe { OwnedFd::from_raw_fd(raw) });
        socket.bind(index.trim().parse()?).with_context(|| format!("cannot bind to {iface}"))?;
        socket.set_timeout()?;
        receive_buffer(&socket.0, 64 << 20)?;
        Ok(socket)
    }

    fn bind(&self, index: i32) -> io::Result<()> {
        // SAFETY: sockaddr_ll is plain integers, for which all zeroes is a value.
        let mut address: libc::sockaddr_ll = unsafe { zeroed() };
        address.sll_family = AF_PACKET;
        address.sll_protocol = ALL_PROTOCOLS.to_be();
        address.sll_ifindex = index;
        // SAFETY: the pointer and the length describe `address`, which outlives the call.
        let status = unsafe {
            libc::bind(
                self.0.as_raw_fd(),
                ptr::from_ref(&address).cast(),
                length_of::<libc::sockaddr_ll>(),
            )
        };
        if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    fn set_timeout(&self) -> io::Result<()> {
        let time = libc::timeval { tv_sec: 0, tv_usec: i64::from(TICK.subsec_micros()) };
        // SAFETY: the pointer and the length describe `time`, which outlives the call.
        let status = unsafe {
            libc::setsockopt(
                self.0.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_RCVTIMEO,
                ptr::from_ref(&time).cast(),
                length_of::<libc::timeval>(),
            )
        };
        if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    fn send(&self, frame: &[u8]) -> io::Result<()> {
        // SAFETY: the pointer and the length describe `frame`, which outlives the call.
        let sent = unsafe { libc::send(self.0.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// The next frame: its length and whether it leaves the host.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, bool)> {
        // SAFETY: sockaddr_ll is plain integers, for which all zeroes is a value.
        let mut from: libc::sockaddr_ll = unsafe { zeroed() };
        let mut length = length_of::<libc::sockaddr_ll>();
        // SAFETY: both pointers and lengths describe memory that outlives the call.
        let received = unsafe {
            libc::recvfrom(
                self.0.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                0,
                ptr::from_mut(&mut from).cast(),
                &raw mut length,
            )
        };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        Ok((received, from.sll_pkttype == libc::PACKET_OUTGOING))
    }
}
