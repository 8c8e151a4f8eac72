//! Netlink attributes as the kernel writes them: a message's or a nest's, each looked up by its
//! number.

use crate::NetfilterError;

/// One more than the highest number that this crate asks for.
const KNOWN: usize = 24;
/// `struct nlattr`; also what attributes are aligned to.
const HEADER: usize = 4;
/// Without the bits for "nested" and "in network order".
const NUMBER: u16 = 0x3fff;

/// The attributes of one message or nest. Of several with the same number the last one counts,
/// as in the kernel; numbers beyond [`KNOWN`] are skipped.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attributes<'a>([Option<&'a [u8]>; KNOWN]);

impl<'a> Attributes<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, NetfilterError> {
        let mut slots = [None; KNOWN];
        for one in each(bytes) {
            let (number, value) = one?;
            if let Some(slot) = slots.get_mut(usize::from(number)) {
                *slot = Some(value);
            }
        }
        Ok(Self(slots))
    }

    pub(super) fn get(&self, number: u16) -> Option<&'a [u8]> {
        self.0.get(usize::from(number)).copied().flatten()
    }

    /// An empty slice where there is none.
    pub(super) fn bytes(&self, number: u16) -> &'a [u8] {
        self.get(number).unwrap_or_default()
    }

    pub(super) fn nested(&self, number: u16) -> Result<Self, NetfilterError> {
        Self::parse(self.bytes(number))
    }

    pub(super) fn number(&self, number: u16) -> Option<u32> {
        self.get(number)?.try_into().ok().map(u32::from_be_bytes)
    }

    pub(super) fn handle(&self, number: u16) -> Option<u64> {
        self.get(number)?.try_into().ok().map(u64::from_be_bytes)
    }

    /// A string without its end mark; empty where there is none.
    pub(super) fn text(&self, number: u16) -> String {
        text(self.bytes(number))
    }

    /// What a `struct nft_data` of kind value holds.
    pub(super) fn value(&self, number: u16) -> Result<&'a [u8], NetfilterError> {
        Ok(self.nested(number)?.bytes(super::uapi::data::VALUE))
    }
}

/// The attributes in their order.
pub(super) fn each(bytes: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8]), NetfilterError>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let first = split(rest);
        rest = first.map_or(&[], |(_, _, after)| after);
        Some(match first {
            Some((number, value, _)) => Ok((number, value)),
            None => Err(NetfilterError::Malformed("a netlink attribute is cut off".into())),
        })
    })
}

/// The first attribute's number and value, and what follows it.
fn split(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (header, _) = bytes.split_first_chunk::<HEADER>()?;
    let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
    let number = u16::from_ne_bytes([header[2], header[3]]) & NUMBER;
    let value = bytes.get(HEADER..length)?;
    let after = bytes.get(length.next_multiple_of(HEADER)..).unwrap_or_default();
    Some((number, value, after))
}

/// A string up to its end mark.
pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
