//! SCTP: packets of a protocol that the kernel need not know, each with its CRC32c.

use std::net::IpAddr;

use anyhow::{Context as _, Result, bail, ensure};

use super::ground::Ends;
use crate::checksums::{SCTP, crc32c};
use crate::frames::{Ipv4, ethernet};
use crate::frames6::{Ipv6, ethernet6};
use crate::hex;
use crate::pod::Pod;
use crate::traffic;

const MAGIC: &[u8] = b"tartan-sctp";
/// Common header and that of a DATA chunk (RFC 9260 sections 3.1 and 3.3.1).
const HEADERS: usize = 12 + 16;

/// Both ways, so that the flow may become a fast one; what arrives is what was sent.
pub(super) fn run(ends: &Ends<'_>) -> Result<()> {
    let full = usize::from(ends.mtu - ends.header()) / 4 * 4;
    for _ in 0..2 {
        for size in [64, 600, full] {
            one(ends, size, (ends.from, ends.source), (ends.to, ends.target))?;
            one(ends, size, (ends.to, ends.target), (ends.from, ends.source))?;
        }
    }
    Ok(())
}

fn one(
    ends: &Ends<'_>,
    size: usize,
    (from, source): (&Pod, IpAddr),
    (to, target): (&Pod, IpAddr),
) -> Result<()> {
    let ports = if source == ends.source { [5000, 5001] } else { [5001, 5000] };
    let packet = data(ports, size);
    let (station, gateway) = (from.mac()?, from.gateway_mac()?);
    let frame = match (source, target) {
        (IpAddr::V4(source), IpAddr::V4(target)) => {
            ethernet(gateway, station, &Ipv4::new(source, target, SCTP).build(&packet))
        }
        (IpAddr::V6(source), IpAddr::V6(target)) => {
            ethernet6(gateway, station, &Ipv6::new(source, target, SCTP).build(&packet))
        }
        _ => bail!("{source} and {target} are of different families"),
    };
    let wanted = format!("--seconds 1 --count 1 --contains {}", hex::encode(MAGIC));
    let capture = traffic::sniff(to, "eth0", &wanted)?;
    let sent = traffic::raw_send(from, "eth0", &[frame], 1)?;
    ensure!(sent.refused == 0, "{size} bytes were refused");
    let arrived = capture.finish()?.frames;
    let arrived = arrived.first().with_context(|| format!("{size} bytes did not arrive"))?;
    let at = 14 + usize::from(ends.header());
    ensure!(!arrived.outgoing, "an answer instead of the packet");
    ensure!(arrived.bytes.get(at..) == Some(&packet[..]), "{size} bytes were changed");
    Ok(())
}

/// A packet with one DATA chunk.
fn data([from, to]: [u16; 2], size: usize) -> Vec<u8> {
    let mut packet = [from.to_be_bytes(), to.to_be_bytes()].concat();
    packet.extend(0x1234_5678_u32.to_be_bytes());
    packet.extend([0; 4]);
    // A whole message: type 0, flags B and E; then its length and four more words.
    packet.extend([0, 3]);
    packet.extend(u16::try_from(size - 12).unwrap_or(u16::MAX).to_be_bytes());
    packet.extend([0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    let filler = (0_u8..=250).cycle().take(size - HEADERS - MAGIC.len());
    packet.extend(MAGIC.iter().copied().chain(filler));
    let crc = crc32c(&packet).to_le_bytes();
    packet[8..12].copy_from_slice(&crc);
    packet
}
