//! The rule of acceptance once more, in other words: written from `docs/ARCHITECTURE.md`, byte
//! by byte, without the code that it judges.

use tartan_golden::fixture::{PORT, VNI, VTEP};
use tartan_golden::fixture6::VTEP6;
use tartan_golden::headers::Whose;

/// Whether what came out of a tunnel packet may come in: `Err` says what is wrong with it.
pub(crate) fn may_come_in(frame: &[u8], any_source: bool) -> Result<(), String> {
    let is_ipv6 = frame.get(12..14) == Some(&[0x86, 0xdd]);
    let (udp, from, to) = if is_ipv6 { (54, 22..38, 38..54) } else { (34, 26..30, 30..34) };
    let (sender, receiver) = (bytes(frame, from)?, bytes(frame, to)?);
    let (node, peer) = ends(Whose::Node, Whose::Peer, is_ipv6);
    expect("for this node", receiver, &node)?;
    expect("from a node", sender, &peer)?;
    expect("to the tunnel's port", bytes(frame, udp + 2..udp + 4)?, &PORT.to_be_bytes())?;
    let vxlan = [&[8, 0, 0, 0][..], &(VNI << 8).to_be_bytes()].concat();
    expect("a VXLAN header", bytes(frame, udp + 8..udp + 16)?, &vxlan)?;
    let station = if is_ipv6 { VTEP6 } else { VTEP };
    expect("for our VTEP", bytes(frame, udp + 16..udp + 22)?, &station.0)?;
    expect("of one family", bytes(frame, udp + 28..udp + 30)?, bytes(frame, 12..14)?)?;
    let ip = udp + 30;
    let (from, to) = if is_ipv6 { (8..24, 24..40) } else { (12..16, 16..20) };
    let source = bytes(frame, ip + from.start..ip + from.end)?;
    let target = bytes(frame, ip + to.start..ip + to.end)?;
    let (pod, remote) = ends(Whose::Pod, Whose::Remote, is_ipv6);
    let subnet = if is_ipv6 { 8 } else { 3 };
    if !any_source && source != peer && source[..subnet] != remote[..subnet] {
        return Err(format!("{source:02x?} is not the sender's"));
    }
    expect("for our subnet", &target[..subnet], &pod[..subnet])
}

fn ends(one: Whose, other: Whose, is_ipv6: bool) -> (Vec<u8>, Vec<u8>) {
    let octets = |whose: Whose| {
        if is_ipv6 { whose.v6().octets().to_vec() } else { whose.v4().octets().to_vec() }
    };
    (octets(one), octets(other))
}

fn bytes(frame: &[u8], range: std::ops::Range<usize>) -> Result<&[u8], String> {
    let text = format!("it ends before byte {}", range.end);
    frame.get(range).ok_or(text)
}

fn expect(what: &str, found: &[u8], wanted: &[u8]) -> Result<(), String> {
    if found == wanted { Ok(()) } else { Err(format!("not {what}: {found:02x?}")) }
}

/// Whether an IP packet's own header is sound: any receiver may refuse one that is not.
pub(crate) fn is_sound(packet: &[u8]) -> bool {
    match packet.first().map(|byte| byte >> 4) {
        Some(4) => {
            let header = usize::from(packet[0] & 15) * 4;
            let total = packet.get(2..4).map_or(0, |b| usize::from(b[0]) << 8 | usize::from(b[1]));
            header >= 20 && total >= header && total <= packet.len()
        }
        Some(6) => {
            let payload =
                packet.get(4..6).map_or(0, |b| usize::from(b[0]) << 8 | usize::from(b[1]));
            payload + 40 <= packet.len()
        }
        Some(_) | None => false,
    }
}

/// The sum over an IPv4 header: 0xffff where its checksum is right.
pub(crate) fn header_sum(header: &[u8]) -> u32 {
    let sum: u32 = header.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let folded = (sum >> 16) + (sum & 0xffff);
    (folded >> 16) + (folded & 0xffff)
}
