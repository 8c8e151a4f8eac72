//! Bytes that both ends know: whatever is lost, doubled, swapped or changed is found out.

/// An endless stream of bytes, the same in every program.
#[derive(Debug, Clone)]
pub(super) struct Pattern(u64);

impl Pattern {
    /// The stream with this number.
    pub(super) fn new(number: u32) -> Self {
        // Marsaglia's xorshift must not begin with 0.
        Self(0x9e37_79b9_7f4a_7c15 ^ u64::from(number))
    }

    /// The next bytes. A length that is no multiple of 8 ends the stream.
    pub(super) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            chunk.copy_from_slice(&self.0.to_le_bytes()[..chunk.len()]);
        }
    }

    /// Whether these are the next bytes.
    pub(super) fn matches(&mut self, bytes: &[u8]) -> bool {
        let mut expected = vec![0; bytes.len()];
        self.fill(&mut expected);
        expected == bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_the_same_in_any_pieces_and_another_for_each_number() {
        let mut whole = [0; 64];
        Pattern::new(1).fill(&mut whole);
        let mut pieces = Pattern::new(1);
        assert!(pieces.matches(&whole[..24]) && pieces.matches(&whole[24..]));
        assert!(!Pattern::new(2).matches(&whole));
    }

    #[test]
    fn one_changed_byte_is_found() {
        let mut bytes = [0; 100];
        Pattern::new(7).fill(&mut bytes);
        bytes[99] ^= 1;
        assert!(!Pattern::new(7).matches(&bytes));
    }
}
