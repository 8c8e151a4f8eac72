//! SHA-1 (RFC 3174). It protects nothing here: Calico derives the names of pods' interfaces from
//! it, so whoever wants to be found by Calico has to as well.

/// Initial state (RFC 3174, section 6.1).
const INITIAL: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
const BLOCK: usize = 64;

/// The digest in lower-case hexadecimal.
#[must_use]
pub fn sha1_hex(message: &[u8]) -> String {
    let mut state = INITIAL;
    for block in padded(message).chunks_exact(BLOCK) {
        absorb(&mut state, block);
    }
    let bytes = state.iter().flat_map(|word| word.to_be_bytes());
    bytes.flat_map(|byte| [byte >> 4, byte & 15]).map(digit).collect()
}

fn digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).unwrap_or_default()
}

/// The message, a bit, zeroes, and its length in bits (section 4).
fn padded(message: &[u8]) -> Vec<u8> {
    let bits = (message.len() as u64).wrapping_mul(8);
    let mut padded = message.to_vec();
    padded.push(0x80);
    let filled = (padded.len() + 8).next_multiple_of(BLOCK);
    padded.resize(filled - 8, 0);
    padded.extend(bits.to_be_bytes());
    padded
}

/// One block (section 6.1).
#[expect(clippy::many_single_char_names, reason = "the RFC's names")]
fn absorb(state: &mut [u32; 5], block: &[u8]) {
    let [mut a, mut b, mut c, mut d, mut e] = *state;
    for (round, word) in (0_u8..).zip(schedule(block)) {
        let (f, k) = function(round, b, c, d);
        let next = [a.rotate_left(5), f, e, k, word].into_iter().fold(0, u32::wrapping_add);
        (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
    }
    for (word, more) in state.iter_mut().zip([a, b, c, d, e]) {
        *word = word.wrapping_add(more);
    }
}

/// The eighty words of a block.
fn schedule(block: &[u8]) -> Vec<u32> {
    let (words, _) = block.as_chunks::<4>();
    let mut words: Vec<u32> = words.iter().map(|bytes| u32::from_be_bytes(*bytes)).collect();
    for t in 16..80 {
        words.push((words[t - 3] ^ words[t - 8] ^ words[t - 14] ^ words[t - 16]).rotate_left(1));
    }
    words
}

/// Function and constant of a round (section 5).
fn function(round: u8, b: u32, c: u32, d: u32) -> (u32, u32) {
    match round {
        0..20 => ((b & c) | (!b & d), 0x5a82_7999),
        20..40 => (b ^ c ^ d, 0x6ed9_eba1),
        40..60 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc),
        _ => (b ^ c ^ d, 0xca62_c1d6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digests_are_those_of_the_rfc() {
        assert_eq!(sha1_hex(b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
        let long = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
        assert_eq!(sha1_hex(long), "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
        assert_eq!(sha1_hex(&vec![b'a'; 1_000_000]), "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
    }

    #[test]
    fn lengths_around_a_block_are_padded() {
        assert_eq!(sha1_hex(b""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        for length in 54..66 {
            assert_eq!(padded(&vec![0; length]).len() % BLOCK, 0);
        }
    }
}
