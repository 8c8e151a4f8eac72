//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
//!
//! Sums are kept as 32 bits and folded at the end; a sum here never exceeds
//! a few dozen 16-bit words, far from overflow.

/// Folds a sum of 16-bit words to 16 bits with end-around carry.
#[inline(always)]
#[must_use]
pub const fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    #[expect(clippy::cast_possible_truncation, reason = "two folds leave 16 bits")]
    {
        sum as u16
    }
}

/// The sum of the big-endian words of an even number of bytes.
#[must_use]
pub fn sum(bytes: &[u8]) -> u32 {
    bytes
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
            [high] => u32::from(*high) << 8,
            _ => 0,
        })
        .fold(0_u32, u32::wrapping_add)
}

/// The checksum of `bytes`, whose checksum field must be zero.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u16 {
    !fold(sum(bytes))
}

/// The checksum after one 16-bit word changed from `old` to `new`: RFC 1624
/// equation 3, `HC' = ~(~HC + ~m + m')`.
#[inline(always)]
#[must_use]
pub const fn updated(checksum: u16, old: u16, new: u16) -> u16 {
    !fold(!checksum as u32 + !old as u32 + new as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_rfc_1071_section_3_holds() {
        assert_eq!(fold(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7])), 0xddf2);
    }

    #[test]
    fn the_example_of_rfc_1624_section_4_holds() {
        assert_eq!(updated(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    proptest! {
        /// 0x0000 and 0xffff are the same number in one's complement; a real
        /// IPv4 header is never all zero, so its checksum is compared exactly.
        #[test]
        fn incremental_equals_full(mut header in any::<[u8; 20]>(), word in 0_usize..10, new: u16) {
            prop_assume!(word != 5);
            header[0] = 0x45;
            header[10..12].fill(0);
            let before = checksum(&header);
            let at = word * 2;
            let new = if word == 0 { new | 0x4500 } else { new };
            let old = u16::from_be_bytes([header[at], header[at + 1]]);
            header[at..at + 2].copy_from_slice(&new.to_be_bytes());
            prop_assert_eq!(updated(before, old, new), checksum(&header));
        }

        #[test]
        fn a_header_with_its_checksum_sums_to_all_ones(mut header in any::<[u8; 20]>()) {
            header[0] = 0x45;
            header[10..12].fill(0);
            let sum_field = checksum(&header);
            header[10..12].copy_from_slice(&sum_field.to_be_bytes());
            prop_assert_eq!(fold(sum(&header)), 0xffff);
        }
    }
}
