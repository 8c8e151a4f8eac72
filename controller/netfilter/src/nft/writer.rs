//! Netlink messages as the kernel reads them, one behind the other in one buffer.

use super::uapi::{NFNL_SUBSYS_NFTABLES, data, expression};

const NESTED: u16 = 1 << 15;
const ALIGNMENT: usize = 4;

/// A buffer of messages. Lengths that do not fit the format are remembered and told at the end.
#[derive(Debug, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    too_long: bool,
}

impl Writer {
    /// The messages; `None` when something was longer than the format allows.
    pub(super) fn finish(self) -> Option<Vec<u8>> {
        (!self.too_long).then_some(self.bytes)
    }

    /// A message about nf_tables: `struct nlmsghdr`, `struct nfgenmsg`, attributes.
    pub(super) fn message(
        &mut self,
        kind: u8,
        flags: u16,
        sequence: u32,
        family: u8,
        body: impl FnOnce(&mut Self),
    ) {
        let kind = u16::from_be_bytes([NFNL_SUBSYS_NFTABLES, kind]);
        self.framed(kind, flags, sequence, family, 0, body);
    }

    /// Any message of netfilter's.
    pub(super) fn framed(
        &mut self,
        kind: u16,
        flags: u16,
        sequence: u32,
        family: u8,
        resource: u16,
        body: impl FnOnce(&mut Self),
    ) {
        let start = self.bytes.len();
        self.bytes.extend([0; 4]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(flags.to_ne_bytes());
        self.bytes.extend(sequence.to_ne_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend([family, 0]);
        self.bytes.extend(resource.to_be_bytes());
        body(self);
        match u32::try_from(self.bytes.len() - start) {
            Ok(length) => self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes()),
            Err(_) => self.too_long = true,
        }
    }

    /// Attributes that were written elsewhere.
    pub(super) fn append(&mut self, attributes: &[u8]) {
        self.bytes.extend(attributes);
    }

    pub(super) fn bytes(&mut self, kind: u16, value: &[u8]) {
        self.attribute(kind, |to| to.bytes.extend(value));
    }

    pub(super) fn text(&mut self, kind: u16, value: &str) {
        self.attribute(kind, |to| {
            to.bytes.extend(value.as_bytes());
            to.bytes.push(0);
        });
    }

    pub(super) fn number(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    pub(super) fn nest(&mut self, kind: u16, body: impl FnOnce(&mut Self)) {
        self.attribute(kind | NESTED, body);
    }

    /// A `struct nft_data` of kind value.
    pub(super) fn value(&mut self, kind: u16, value: &[u8]) {
        self.nest(kind, |to| to.bytes(data::VALUE, value));
    }

    /// One expression of a rule.
    pub(super) fn expression(&mut self, name: &str, body: impl FnOnce(&mut Self)) {
        self.nest(data::ELEMENT, |to| {
            to.text(expression::NAME, name);
            to.nest(expression::DATA, body);
        });
    }

    fn attribute(&mut self, kind: u16, body: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend(kind.to_ne_bytes());
        body(self);
        match u16::try_from(self.bytes.len() - start) {
            Ok(length) => self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes()),
            Err(_) => self.too_long = true,
        }
        let padded = self.bytes.len().next_multiple_of(ALIGNMENT);
        self.bytes.resize(padded, 0);
    }
}
