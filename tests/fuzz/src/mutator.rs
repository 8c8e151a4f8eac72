//! From inputs that are known to inputs that are not.

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Debug)]
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of `0..end`; zero if that is empty.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.number() % end).unwrap_or(0)
    }

    fn byte(&mut self) -> u8 {
        self.number().to_le_bytes()[0]
    }
}

/// No input is longer.
const LONGEST: usize = 2048;
/// Bytes at which something changes.
const INTERESTING: [u8; 12] = [0, 1, 2, 4, 5, 0x10, 0x40, 0x45, 0x60, 0x7f, 0x80, 0xff];

/// Changes an input a few times. `others` lend pieces, `compared` says what the code compared
/// when it saw the input.
pub(crate) fn mutate(
    rng: &mut Rng,
    input: &mut Vec<u8>,
    others: &[Vec<u8>],
    compared: &[(u64, u64)],
) {
    for _ in 0..=rng.below(4) {
        let at = rng.below(input.len());
        match rng.below(12) {
            0 | 1 if !compared.is_empty() => {
                let pair = compared[rng.below(compared.len())];
                satisfy(rng, input, pair);
            }
            0..=3 => set(input, at, |byte| byte ^ 1 << (at % 8)),
            4 => {
                let value = rng.byte();
                set(input, at, |_| value);
            }
            5 => {
                let value = INTERESTING[rng.below(INTERESTING.len())];
                set(input, at, |_| value);
            }
            6 => {
                let by = rng.byte() % 16;
                set(input, at, |byte| byte.wrapping_add(by).wrapping_sub(8));
            }
            7 => input.truncate(at),
            8 => drop(input.drain(at..(at + rng.below(9)).min(input.len()))),
            9 => input.insert(at, rng.byte()),
            10 => splice(rng, input, others),
            _ => {
                let piece = input[at..(at + rng.below(41)).min(input.len())].to_vec();
                let to = rng.below(input.len());
                drop(input.splice(to..to, piece));
            }
        }
    }
    input.truncate(LONGEST);
}

fn set(input: &mut [u8], at: usize, change: impl FnOnce(u8) -> u8) {
    if let Some(byte) = input.get_mut(at) {
        *byte = change(*byte);
    }
}

/// Takes a piece of another input to the same place.
fn splice(rng: &mut Rng, input: &mut [u8], others: &[Vec<u8>]) {
    let Some(other) = others.get(rng.below(others.len())) else { return };
    let from = rng.below(other.len());
    let piece = other[from..].iter().take(1 + rng.below(40));
    for (byte, new) in input.iter_mut().skip(from).zip(piece) {
        *byte = *new;
    }
}

/// Makes a comparison come true: writes one operand where the other stands, in either order of
/// its bytes.
fn satisfy(rng: &mut Rng, input: &mut [u8], (one, other): (u64, u64)) {
    for (from, to) in [(one, other), (other, one)] {
        let size = if from > 0xffff_ffff {
            8
        } else if from > 0xffff {
            4
        } else {
            2
        };
        for size in [size, 1] {
            let (old, new) = (&from.to_le_bytes()[..size], &to.to_le_bytes()[..size]);
            let (mut old_be, mut new_be) = (old.to_vec(), new.to_vec());
            old_be.reverse();
            new_be.reverse();
            if replace(rng, input, old, new) || replace(rng, input, &old_be, &new_be) {
                return;
            }
        }
    }
}

/// At one of the places where it stands.
fn replace(rng: &mut Rng, input: &mut [u8], old: &[u8], new: &[u8]) -> bool {
    let windows = || input.windows(old.len()).enumerate().filter(|(_, window)| *window == old);
    let Some((at, _)) = windows().nth(rng.below(windows().count())) else { return false };
    input[at..at + new.len()].copy_from_slice(new);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_is_made_true() {
        let mut input = vec![9, 9, 0x12, 0x34, 9];
        satisfy(&mut Rng(1), &mut input, (0x1234, 0xabcd));
        assert_eq!(input, [9, 9, 0xab, 0xcd, 9]);
    }

    #[test]
    fn any_input_can_be_mutated() {
        let mut rng = Rng(1);
        for len in [0, 1, 2, 100, LONGEST] {
            for _ in 0..1000 {
                let mut input = vec![7; len];
                mutate(&mut rng, &mut input, &[vec![], vec![1; 30]], &[(7, 8)]);
                assert!(input.len() <= LONGEST);
            }
        }
    }
}
