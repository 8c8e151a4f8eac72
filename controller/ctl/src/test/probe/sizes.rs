//! Payloads around the MTU, and far beyond it.

use std::collections::BTreeSet;
use std::io::{self, Read as _, Write as _};

use super::socket::{self, Fragments};
use super::tcp::{self, Wanted};
use super::udp::Talk;
use super::wire::{Answer, Range};

/// Sends every size of a range and says which came back.
pub(super) fn sweep(to: &str, range: Range) -> Answer {
    match try_sweep(to, range) {
        Ok(answer) => answer,
        Err(error) => Answer::failed(socket::name(&error)),
    }
}

fn try_sweep(to: &str, range: Range) -> io::Result<Answer> {
    let mut talk = Talk::new(to, true)?;
    let mtu = talk.mtu()?;
    let (mut right, mut wrong, mut lost) = (0, Vec::new(), BTreeSet::new());
    let mut count = |what: String, outcome: Result<(), io::Error>| match outcome {
        Ok(()) => right += 1,
        Err(error) => {
            lost.extend(socket::way(&error));
            wrong.push(format!("{what}: {}", socket::name(&error)));
        }
    };
    let headers = if talk.is_ipv4()? { 28 } else { 48 };
    for (length, fragments) in datagrams(range, mtu, headers) {
        let asked = talk.ask(length, fragments).map(drop);
        count(datagram_text(length, headers, fragments), asked);
    }
    for length in segments(range, mtu) {
        count(format!("TCP, {length} bytes"), echo(to, length));
    }
    Ok(Answer::Sizes { mtu, right, wrong, lost })
}

fn datagram_text(length: usize, headers: u32, fragments: Fragments) -> String {
    let packet = length + headers as usize;
    match fragments {
        Fragments::Forbidden => {
            format!("UDP, {length} bytes (a packet of {packet}, not to be fragmented)")
        }
        Fragments::Allowed => format!("UDP, {length} bytes in fragments"),
    }
}

/// Payloads of datagrams, in bytes.
fn datagrams(range: Range, mtu: u32, headers: u32) -> Vec<(usize, Fragments)> {
    let most = mtu.saturating_sub(headers) as usize;
    let (lengths, fragments) = match range {
        Range::WithinMtu => (vec![512, most - most / 8, most - 1, most], Fragments::Forbidden),
        Range::Fragmented => {
            (vec![most + 1, 2 * most + 1, 8_192, 16_000, 32_768, 60_000], Fragments::Allowed)
        }
    };
    lengths.into_iter().map(|length| (length, fragments)).collect()
}

/// Payloads of TCP, in bytes: full segments have 52 bytes of headers, with time stamps.
fn segments(range: Range, mtu: u32) -> Vec<u32> {
    match range {
        Range::WithinMtu => {
            let full = mtu.saturating_sub(52);
            vec![1, full - 1, full, full + 1, full + 12, 3 * full]
        }
        Range::Fragmented => Vec::new(),
    }
}

fn echo(to: &str, length: u32) -> io::Result<()> {
    let mut stream = tcp::open(to, Wanted::Echo(length.into()))?;
    let sent: Vec<u8> = (0..length).map(|index| index.to_le_bytes()[0]).collect();
    stream.write_all(&sent)?;
    let mut received = Vec::new();
    stream.read_to_end(&mut received)?;
    if sent == received { Ok(()) } else { Err(io::Error::other("the echo is not what was sent")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_unfragmented_datagram_fills_the_mtu_and_the_next_one_is_split() {
        let within = datagrams(Range::WithinMtu, 1450, 28);
        assert_eq!(within.last(), Some(&(1422, Fragments::Forbidden)));
        let beyond = datagrams(Range::Fragmented, 1450, 28);
        assert_eq!(beyond.first(), Some(&(1423, Fragments::Allowed)));
        assert_eq!(beyond.last(), Some(&(60_000, Fragments::Allowed)));
    }

    #[test]
    fn tcp_is_tried_on_both_sides_of_a_full_segment() {
        let lengths = segments(Range::WithinMtu, 1450);
        assert!(lengths.contains(&1398) && lengths.contains(&1399), "{lengths:?}");
    }
}
