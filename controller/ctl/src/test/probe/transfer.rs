//! Long transfers of known bytes.

use std::io::{self, Read, Write};

use super::pattern::Pattern;
use super::socket;
use super::tcp::{self, Wanted};
use super::wire::{Answer, Way};

/// Bytes per read and write; a multiple of eight, so that the pattern goes on.
const PIECE: usize = 64 << 10;

/// Sends so many bytes of the pattern.
pub(super) fn send(to: &mut impl Write, bytes: u64) -> io::Result<()> {
    let mut pattern = Pattern::new(0);
    let mut piece = vec![0; PIECE];
    let mut left = bytes;
    while left > 0 {
        let now = next_piece(left);
        pattern.fill(&mut piece[..now]);
        to.write_all(&piece[..now])?;
        left -= now as u64;
    }
    Ok(())
}

/// Receives so many bytes, and says whether they are the pattern's.
pub(super) fn receive(from: &mut impl Read, bytes: u64) -> io::Result<bool> {
    let mut pattern = Pattern::new(0);
    let mut piece = vec![0; PIECE];
    let (mut left, mut intact) = (bytes, true);
    while left > 0 {
        let now = next_piece(left);
        from.read_exact(&mut piece[..now])?;
        intact &= pattern.matches(&piece[..now]);
        left -= now as u64;
    }
    Ok(intact)
}

fn next_piece(left: u64) -> usize {
    usize::try_from(left).map_or(PIECE, |left| left.min(PIECE))
}

/// Sends so many bytes to a server and then receives as many.
pub(super) fn both_ways(to: &str, bytes: u64) -> Answer {
    match upload(to, bytes) {
        Ok(true) => judge(download(to, bytes), "receiving", Way::Back),
        sent => judge(sent, "sending", Way::There),
    }
}

fn judge(outcome: io::Result<bool>, doing: &str, way: Way) -> Answer {
    let why = match outcome {
        Ok(true) => return Answer::Transferred,
        Ok(false) => "bytes arrived changed".to_owned(),
        Err(error) => socket::name(&error),
    };
    Answer::Failed { error: format!("{doing}: {why}"), lost: Some(way) }
}

fn download(to: &str, bytes: u64) -> io::Result<bool> {
    receive(&mut tcp::open(to, Wanted::Give(bytes))?, bytes)
}

fn upload(to: &str, bytes: u64) -> io::Result<bool> {
    let mut stream = tcp::open(to, Wanted::Take(bytes))?;
    send(&mut stream, bytes)?;
    Ok(tcp::heard(stream)?.intact)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_what_is_expected_and_a_change_is_noticed() {
        let bytes = 3 * PIECE as u64 + 5;
        let mut sent = Vec::new();
        send(&mut sent, bytes).unwrap();
        assert_eq!(sent.len() as u64, bytes);
        assert!(receive(&mut sent.as_slice(), bytes).unwrap());
        sent[PIECE + 1] ^= 4;
        assert!(!receive(&mut sent.as_slice(), bytes).unwrap());
        assert!(receive(&mut sent[..9].as_ref(), bytes).is_err());
    }
}
