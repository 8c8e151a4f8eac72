//! Explicit congestion notification through a tunnel: RFC 6040, normal mode.

/// The two ECN bits of a TOS octet.
pub const MASK: u8 = 0b11;
const NOT_ECT: u8 = 0b00;
const ECT_1: u8 = 0b01;
const ECT_0: u8 = 0b10;
const CE: u8 = 0b11;

/// The outer TOS of an inner TOS: DSCP 0, ECN copied, and congestion already
/// experienced inside goes out as ECT(0) (RFC 6040 section 4.1 compatibility
/// as Linux has it: `INET_ECN_encapsulate`).
#[inline(always)]
#[must_use]
pub const fn encapsulated(inner_tos: u8) -> u8 {
    let ecn = inner_tos & MASK;
    if ecn == CE { ECT_0 } else { ecn }
}

/// What to do with the inner TOS of a packet that leaves a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decapsulated {
    /// Leave it as it is.
    Keep,
    /// Write this TOS.
    Set(u8),
    /// Congestion was signalled on a packet whose ends cannot hear it: drop
    /// (RFC 6040 figure 4, Not-ECT inside and CE outside).
    Drop,
}

/// The inner TOS after decapsulation (`__INET_ECN_decapsulate` in
/// `include/net/inet_ecn.h`).
#[inline(always)]
#[must_use]
pub const fn decapsulated(outer_tos: u8, inner_tos: u8) -> Decapsulated {
    let dscp = inner_tos & !MASK;
    match (outer_tos & MASK, inner_tos & MASK) {
        (CE, NOT_ECT) => Decapsulated::Drop,
        (CE, ECT_0 | ECT_1) => Decapsulated::Set(dscp | CE),
        (ECT_1, ECT_0) => Decapsulated::Set(dscp | ECT_1),
        _ => Decapsulated::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_sixteen_combinations_follow_figure_4() {
        use Decapsulated::{Drop, Keep, Set};
        // Rows: outer Not-ECT, ECT(1), ECT(0), CE. Columns: inner likewise.
        let figure = [
            [Keep, Keep, Keep, Keep],
            [Keep, Keep, Set(0xb8 | 1), Keep],
            [Keep, Keep, Keep, Keep],
            [Drop, Set(0xb8 | 3), Set(0xb8 | 3), Keep],
        ];
        for (outer, row) in figure.iter().enumerate() {
            for (inner, expected) in row.iter().enumerate() {
                let (outer, inner) = (u8::try_from(outer).unwrap(), u8::try_from(inner).unwrap());
                assert_eq!(decapsulated(outer, 0xb8 | inner), *expected, "{outer} {inner}");
            }
        }
    }

    #[test]
    fn experienced_congestion_starts_anew_outside() {
        assert_eq!([0, 1, 2, 3].map(|ecn| encapsulated(0xfc | ecn)), [0, 1, 2, 2]);
    }
}
