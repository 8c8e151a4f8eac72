//! `tool sniff`: captures frames of one interface.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

use super::raw::PacketSocket;
use super::setup::{ready, stopped};
use crate::hex;

/// Flags of `tool sniff`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long, default_value = "eth0")]
    iface: String,
    /// Only UDP with this source or destination port, unfragmented or a first fragment.
    #[arg(long)]
    udp_port: Option<u16>,
    /// Only this IPv4 protocol number.
    #[arg(long)]
    proto: Option<u8>,
    /// Only frames that contain these bytes.
    #[arg(long)]
    contains: Option<String>,
    /// End after so many frames.
    #[arg(long)]
    count: Option<usize>,
    /// End after so long.
    #[arg(long, default_value_t = 600.0)]
    seconds: f64,
    /// Keep so many bytes of each frame.
    #[arg(long, default_value_t = 65535)]
    snap: usize,
}

/// What was captured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Capture {
    /// The frames in order.
    pub frames: Vec<CapturedFrame>,
}

/// One frame.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CapturedFrame {
    /// Its bytes, in hexadecimal.
    #[serde(with = "hex")]
    pub bytes: Vec<u8>,
    /// Its length, which may be more than was kept.
    pub length: usize,
    /// Whether it leaves the host.
    pub outgoing: bool,
}

pub(super) fn run(args: &Args) -> Result<Capture> {
    let needle = args.contains.as_deref().map(hex::decode).transpose()?;
    let socket = PacketSocket::open(&args.iface)?;
    ready()?;
    let end = Instant::now() + Duration::from_secs_f64(args.seconds);
    let mut buffer = vec![0; 128 << 10];
    let mut frames = Vec::new();
    while !stopped() && Instant::now() < end && args.count.is_none_or(|count| frames.len() < count)
    {
        // A timeout: look again whether it is over.
        let Ok((length, outgoing)) = socket.receive(&mut buffer) else { continue };
        let frame = &buffer[..length];
        if wanted(args, needle.as_deref(), frame) {
            let bytes = frame[..length.min(args.snap)].to_vec();
            frames.push(CapturedFrame { bytes, length, outgoing });
        }
    }
    Ok(Capture { frames })
}

fn wanted(args: &Args, needle: Option<&[u8]>, frame: &[u8]) -> bool {
    let proto = frame.get(12..14).filter(|kind| *kind == [8, 0]).and_then(|_| frame.get(23));
    let by_proto = args.proto.is_none_or(|wanted| proto == Some(&wanted));
    let by_port = args.udp_port.is_none_or(|port| proto == Some(&17) && has_port(frame, port));
    let by_content = needle.is_none_or(|needle| frame.windows(needle.len()).any(|w| w == needle));
    by_proto && by_port && by_content
}

fn has_port(frame: &[u8], port: u16) -> bool {
    let Some(ip) = frame.get(14..) else { return false };
    let header = usize::from(ip.first().copied().unwrap_or(0) & 0x0f) * 4;
    let later_fragment = ip.get(6..8).is_some_and(|b| b[0] & 0x1f != 0 || b[1] != 0);
    let Some(ports) = ip.get(header..header + 4).filter(|_| !later_fragment) else { return false };
    let port = port.to_be_bytes();
    ports[..2] == port || ports[2..] == port
}
