//! UDP: a datagram asks who is there and says whether the answer may be fragmented; the answer is
//! as long as the question. All bytes of both are known, so that a changed one is found out.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io;
use std::net::UdpSocket;
use std::time::Duration;

use super::arrived::Arrived;
use super::pattern::Pattern;
use super::socket::{self, Fragments, Lost, any_port, plain, set_fragments};
use super::tcp::{self, Wanted, collect};
use super::wire::{Met, Presence, Way};

/// The shortest question, in bytes: its answer has to hold a [`Presence`].
pub(super) const SHORTEST: usize = 256;
/// No datagram is longer.
pub(super) const LONGEST: usize = 65_507;

const QUESTION: [u8; 4] = *b"TTNq";
const ANSWER: [u8; 4] = *b"TTNa";
/// Magic, number, and whether fragments are allowed or the length of the text.
const HEADER: usize = 12;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a question is sent before it counts as lost.
const TRIES: u32 = 3;

/// Answers until the process ends.
pub(super) fn answer_all(socket: &UdpSocket, name: &str, arrived: &Arrived) {
    let mut buffer = vec![0; LONGEST];
    let mut allowed = None;
    loop {
        let Ok((length, peer)) = socket.recv_from(&mut buffer) else { continue };
        let Some((number, fragments)) = question(&buffer[..length]) else { continue };
        arrived.add(number);
        let intact = Pattern::new(number).matches(&buffer[HEADER..length]);
        if allowed != Some(fragments) && set_fragments(socket, fragments).is_ok() {
            allowed = Some(fragments);
        }
        let presence = Presence { name: name.to_owned(), peer: plain(&peer), intact };
        if let Some(answer) = answer(number, &presence, length) {
            // Whoever asked notices that nothing comes.
            let _ = socket.send_to(&answer, peer);
        }
    }
}

fn question(datagram: &[u8]) -> Option<(u32, Fragments)> {
    let (number, flag) = header(datagram, QUESTION)?;
    let fragments = if flag == 0 { Fragments::Forbidden } else { Fragments::Allowed };
    (datagram.len() >= SHORTEST).then_some((number, fragments))
}

fn header(datagram: &[u8], magic: [u8; 4]) -> Option<(u32, u32)> {
    let rest = datagram.strip_prefix(&magic)?;
    let (number, rest) = rest.split_first_chunk()?;
    let (word, _) = rest.split_first_chunk()?;
    Some((u32::from_be_bytes(*number), u32::from_be_bytes(*word)))
}

fn write(magic: [u8; 4], number: u32, word: u32, length: usize, text: &[u8]) -> Vec<u8> {
    let head = [magic, number.to_be_bytes(), word.to_be_bytes()].concat();
    let mut datagram = vec![0; length];
    let (start, rest) = datagram.split_at_mut(HEADER);
    start.copy_from_slice(&head);
    let (place, rest) = rest.split_at_mut(text.len());
    place.copy_from_slice(text);
    Pattern::new(number).fill(rest);
    datagram
}

fn answer(number: u32, presence: &Presence, length: usize) -> Option<Vec<u8>> {
    let text = serde_json::to_vec(presence).ok()?;
    let word = u32::try_from(text.len()).ok()?;
    (HEADER + text.len() <= length).then(|| write(ANSWER, number, word, length, &text))
}

fn read_answer(datagram: &[u8], number: u32, length: usize) -> Option<Presence> {
    let (found, word) = header(datagram, ANSWER)?;
    let text = datagram.get(HEADER..HEADER.checked_add(usize::try_from(word).ok()?)?)?;
    let presence: Presence = serde_json::from_slice(text).ok()?;
    let rest = &datagram[HEADER + text.len()..];
    let whole = datagram.len() == length && Pattern::new(number).matches(rest);
    (found == number && whole && presence.intact).then_some(presence)
}

/// A socket that talks to one server.
pub(super) struct Talk {
    socket: UdpSocket,
    number: u32,
    /// Whether the server can be asked what arrived.
    direct: bool,
}

impl Talk {
    /// With a port of its own.
    pub(super) fn new(to: &str, direct: bool) -> io::Result<Self> {
        let to = socket::resolve(to)?;
        let socket = UdpSocket::bind(any_port(&to))?;
        socket.connect(to)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        // So that no other client's datagram is taken for ours.
        let number = (RandomState::new().build_hasher().finish() >> 32) as u32;
        Ok(Self { socket, number, direct })
    }

    /// The MTU of the way.
    pub(super) fn mtu(&self) -> io::Result<u32> {
        socket::mtu(&self.socket)
    }

    /// Whether the server's address is of IPv4.
    pub(super) fn is_ipv4(&self) -> io::Result<bool> {
        Ok(self.socket.peer_addr()?.is_ipv4())
    }

    /// One question of so many bytes; it is sent up to three times. Says also whether it had to be
    /// sent again.
    pub(super) fn ask(
        &mut self,
        length: usize,
        fragments: Fragments,
    ) -> io::Result<(Presence, bool)> {
        set_fragments(&self.socket, fragments)?;
        let length = length.clamp(SHORTEST, LONGEST);
        let mut last = io::Error::from(io::ErrorKind::TimedOut);
        for attempt in 0..TRIES {
            match self.once(length, fragments) {
                Ok(presence) => return Ok((presence, attempt > 0)),
                Err(error) => last = error,
            }
        }
        let silent = matches!(last.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
        let way = if silent && self.direct { self.lost().ok() } else { None };
        Err(way.map_or(last, |way| io::Error::other(Lost(way))))
    }

    /// Where the last questions were lost, as the server knows.
    fn lost(&self) -> io::Result<Way> {
        let to = self.socket.peer_addr()?.to_string();
        for back in 0..TRIES {
            let number = self.number.wrapping_sub(back);
            if tcp::open(&to, Wanted::Seen(number.into())).and_then(tcp::heard)?.intact {
                return Ok(Way::Back);
            }
        }
        Ok(Way::There)
    }

    fn once(&mut self, length: usize, fragments: Fragments) -> io::Result<Presence> {
        self.number = self.number.wrapping_add(1);
        let flag = u32::from(fragments == Fragments::Allowed);
        self.socket.send(&write(QUESTION, self.number, flag, length, &[]))?;
        let mut buffer = vec![0; LONGEST];
        loop {
            let received = self.socket.recv(&mut buffer)?;
            match header(&buffer[..received], ANSWER) {
                // An answer that is late.
                Some((number, _)) if number != self.number => {}
                _ => {
                    let read = read_answer(&buffer[..received], self.number, length);
                    return read.ok_or_else(|| io::Error::other("the answer arrived changed"));
                }
            }
        }
    }
}

/// Sends datagrams one after the other, each from a port of its own, each of which asks who is
/// there.
pub(super) fn meet(to: &str, times: u32, direct: bool) -> Met {
    collect(times, || Talk::new(to, direct)?.ask(SHORTEST, Fragments::Allowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> Presence {
        Presence { name: "a-1".into(), peer: [10, 0, 0, 1].into(), intact: true }
    }

    #[test]
    fn an_answer_is_as_long_as_the_question_and_read_as_it_is_written() {
        for length in [SHORTEST, 1422, LONGEST] {
            let bytes = answer(7, &here(), length).unwrap();
            assert_eq!(bytes.len(), length);
            assert_eq!(read_answer(&bytes, 7, length), Some(here()));
        }
    }

    #[test]
    fn a_changed_a_short_and_an_old_answer_are_refused() {
        let bytes = answer(7, &here(), 1000).unwrap();
        let mut changed = bytes.clone();
        changed[999] ^= 1;
        assert_eq!(read_answer(&changed, 7, 1000), None);
        assert_eq!(read_answer(&bytes[..900], 7, 1000), None);
        assert_eq!(read_answer(&bytes, 8, 1000), None);
        let harmed = Presence { intact: false, ..here() };
        assert_eq!(read_answer(&answer(7, &harmed, 1000).unwrap(), 7, 1000), None);
    }

    #[test]
    fn a_question_that_is_too_short_for_its_answer_is_none() {
        let bytes = write(QUESTION, 1, 0, SHORTEST, &[]);
        assert_eq!(question(&bytes), Some((1, Fragments::Forbidden)));
        assert_eq!(question(&bytes[..SHORTEST - 1]), None);
        assert_eq!(question(b"TTNq"), None);
    }
}
