//! TCP: a connection carries one line that says what is wanted, and then it.

use std::fmt;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::str::FromStr;
use std::time::Duration;

use super::arrived::Arrived;
use super::socket::{self, plain};
use super::transfer;
use super::wire::{Met, Presence};

/// A connection that is not there by then is not there: the kernel has sent SYN twice.
const CONNECT: Duration = Duration::from_secs(3);
/// How long one end waits for the other.
const SILENCE: Duration = Duration::from_secs(5);
/// No line is longer.
const LONGEST_LINE: u64 = 1024;
/// No echo is longer, in bytes.
const LONGEST_ECHO: u64 = 1 << 20;
/// After so many errors in a row the rest would fail as well.
const HOPELESS: u32 = 3;

/// What a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A [`Presence`].
    Who,
    /// So many bytes back.
    Echo(u64),
    /// Whether the datagram with this number arrived.
    Seen(u64),
    /// To send so many bytes of the pattern.
    Take(u64),
    /// To receive so many bytes of the pattern.
    Give(u64),
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Who => write!(f, "who 0"),
            Self::Echo(bytes) => write!(f, "echo {bytes}"),
            Self::Seen(number) => write!(f, "seen {number}"),
            Self::Take(bytes) => write!(f, "take {bytes}"),
            Self::Give(bytes) => write!(f, "give {bytes}"),
        }
    }
}

impl FromStr for Wanted {
    type Err = io::Error;

    fn from_str(line: &str) -> io::Result<Self> {
        let wrong = || io::Error::other("no line of this protocol");
        let (word, bytes) = line.trim_end().split_once(' ').ok_or_else(wrong)?;
        let bytes = bytes.parse().map_err(|_| wrong())?;
        match word {
            "who" => Ok(Self::Who),
            "echo" if bytes <= LONGEST_ECHO => Ok(Self::Echo(bytes)),
            "seen" => Ok(Self::Seen(bytes)),
            "take" => Ok(Self::Take(bytes)),
            "give" => Ok(Self::Give(bytes)),
            _ => Err(wrong()),
        }
    }
}

/// Serves one connection.
pub(super) fn answer(stream: &TcpStream, name: &str, arrived: &Arrived) -> io::Result<()> {
    prepare(stream)?;
    let peer = plain(&stream.peer_addr()?);
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    (&mut reader).take(LONGEST_LINE).read_line(&mut line)?;
    let presence = |intact| Presence { name: name.to_owned(), peer, intact };
    match line.parse()? {
        Wanted::Who => say(stream, &presence(true)),
        Wanted::Seen(number) => say(stream, &presence(arrived.has(number))),
        Wanted::Echo(bytes) => io::copy(&mut reader.take(bytes), &mut &*stream).map(drop),
        Wanted::Take(bytes) => {
            let intact = transfer::receive(&mut reader, bytes)?;
            say(stream, &presence(intact))
        }
        Wanted::Give(bytes) => transfer::send(&mut &*stream, bytes),
    }
}

fn say(mut stream: &TcpStream, presence: &Presence) -> io::Result<()> {
    stream.write_all(&serde_json::to_vec(presence)?)
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))
}

/// Opens a connection and says what is wanted.
pub(super) fn open(to: &str, wanted: Wanted) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&socket::resolve(to)?, CONNECT)?;
    prepare(&stream)?;
    (&stream).write_all(format!("{wanted}\n").as_bytes())?;
    Ok(stream)
}

/// What the server says at the end of a connection.
pub(super) fn heard(stream: TcpStream) -> io::Result<Presence> {
    let mut text = Vec::new();
    stream.take(LONGEST_LINE).read_to_end(&mut text)?;
    serde_json::from_slice(&text).map_err(|_| io::Error::other("another server answers there"))
}

/// Opens connections one after the other, each of which asks who is there.
pub(super) fn meet(to: &str, times: u32) -> Met {
    collect(times, || Ok((open(to, Wanted::Who).and_then(heard)?, false)))
}

/// Asks until it is hopeless. `ask` says also whether it had to try twice.
pub(super) fn collect(times: u32, mut ask: impl FnMut() -> io::Result<(Presence, bool)>) -> Met {
    let (mut met, mut in_a_row) = (Met::default(), 0);
    while met.asked < times && in_a_row < HOPELESS {
        met.asked += 1;
        match ask() {
            Ok((presence, again)) => {
                in_a_row = 0;
                met.repeated += u32::from(again);
                met.sources.insert(presence.peer);
                *met.by.entry(presence.name).or_default() += 1;
            }
            Err(error) => {
                in_a_row += 1;
                met.lost.extend(socket::way(&error));
                *met.errors.entry(socket::name(&error)).or_default() += 1;
            }
        }
    }
    met
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_is_read_as_it_is_written() {
        for wanted in
            [Wanted::Who, Wanted::Seen(3), Wanted::Echo(9), Wanted::Take(1 << 30), Wanted::Give(0)]
        {
            assert_eq!(format!("{wanted}\n").parse::<Wanted>().unwrap(), wanted);
        }
    }

    #[test]
    fn a_strangers_line_is_refused() {
        for line in ["", "GET / HTTP/1.0", "echo 99999999999", "who", "take -1"] {
            assert!(line.parse::<Wanted>().is_err(), "{line}");
        }
    }

    #[test]
    fn three_errors_in_a_row_are_the_end_and_two_are_not() {
        let met = collect(10, || Err(io::ErrorKind::TimedOut.into()));
        assert_eq!((met.asked, met.errors["no answer"]), (3, 3));
        let mut turn = 0;
        let met = collect(6, || {
            turn += 1;
            let here = Presence { name: "a".into(), peer: [10, 0, 0, 1].into(), intact: true };
            if turn % 3 == 0 { Ok((here, true)) } else { Err(io::ErrorKind::TimedOut.into()) }
        });
        assert_eq!((met.asked, met.by["a"], met.repeated), (6, 2, 2));
    }
}
