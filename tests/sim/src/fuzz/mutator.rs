//! [`Mutator`]: from valid texts to hostile ones.

use super::corpus::DICTIONARY;
use crate::rng::Rng;

/// No input is longer, but for the rare huge one.
const LONGEST: usize = 16 << 10;
/// A huge one repeats a piece up to this length: beyond the largest object that is read.
const HUGE: usize = (1 << 20) + (1 << 16);

/// Numbers that fit nowhere.
const NUMBERS: [&str; 12] = [
    "0",
    "-1",
    "1e999",
    "1e-999",
    "0.1",
    "256",
    "65536",
    "16777216",
    "4294967296",
    "18446744073709551616",
    "99999999999999999999999999999999999999999",
    "007",
];

/// Makes inputs without end.
#[derive(Debug)]
pub struct Mutator {
    rng: Rng,
    corpus: Vec<Vec<u8>>,
}

impl Mutator {
    /// Starts from these texts.
    #[must_use]
    pub fn new(seed: u64, corpus: &[&str]) -> Self {
        let corpus = corpus.iter().map(|text| text.as_bytes().to_vec()).collect();
        Self { rng: Rng::new(seed), corpus }
    }

    /// An input that led to something new is a good start for others.
    pub fn keep(&mut self, input: Vec<u8>) {
        if input.len() <= LONGEST {
            self.corpus.push(input);
        }
    }

    /// The next input.
    pub fn input(&mut self) -> Vec<u8> {
        let mut text = self.rng.pick(&self.corpus).cloned().unwrap_or_default();
        for _ in 0..self.rng.within(1..=6) {
            self.mutate(&mut text);
        }
        text.truncate(LONGEST);
        if self.rng.below(5000) == 0 {
            self.swell(&mut text);
        }
        text
    }

    fn mutate(&mut self, text: &mut Vec<u8>) {
        match self.rng.below(13) {
            0 => self.flip(text),
            1 => self.overwrite(text),
            2 | 3 => self.insert_word(text),
            4 => self.remove(text),
            5 => self.repeat(text),
            6 => self.splice(text),
            7 => text.truncate(self.rng.index(text.len() + 1)),
            8 => self.nest(text),
            9 => self.huge_number(text),
            10 | 11 => self.replace_string(text),
            _ => self.insert_letter(text),
        }
    }

    fn flip(&mut self, text: &mut [u8]) {
        let bit = self.rng.below(8);
        let place = self.rng.index(text.len());
        if let Some(byte) = text.get_mut(place) {
            *byte ^= 1 << bit;
        }
    }

    fn overwrite(&mut self, text: &mut [u8]) {
        let value = self.rng.byte();
        let place = self.rng.index(text.len());
        if let Some(byte) = text.get_mut(place) {
            *byte = value;
        }
    }

    fn word(&mut self) -> &'static str {
        self.rng.pick(&DICTIONARY).copied().unwrap_or_default()
    }

    fn insert_word(&mut self, text: &mut Vec<u8>) {
        let word = self.word();
        let place = self.rng.index(text.len() + 1);
        text.splice(place..place, word.bytes());
    }

    fn range(&mut self, text: &[u8]) -> std::ops::Range<usize> {
        let start = self.rng.index(text.len() + 1);
        let most = if self.rng.percent(80) { 16 } else { 400 };
        start..start.saturating_add(self.rng.index(most)).min(text.len())
    }

    fn remove(&mut self, text: &mut Vec<u8>) {
        let range = self.range(text);
        text.drain(range);
    }

    fn repeat(&mut self, text: &mut Vec<u8>) {
        let range = self.range(text);
        let piece = text[range].to_vec();
        let place = self.rng.index(text.len() + 1);
        let times = if self.rng.percent(90) { 1 } else { self.rng.index(200) };
        text.splice(place..place, piece.repeat(times));
    }

    fn splice(&mut self, text: &mut Vec<u8>) {
        let other = self.rng.pick(&self.corpus).cloned().unwrap_or_default();
        let piece = other[self.range(&other)].to_vec();
        let range = self.range(text);
        text.splice(range, piece);
    }

    /// Wraps the whole, or a part, into many containers.
    fn nest(&mut self, text: &mut Vec<u8>) {
        let depth = if self.rng.percent(70) { 3 } else { self.rng.index(3000) };
        let (open, close) = if self.rng.percent(50) { ("[", "]") } else { (r#"{"a":"#, "}") };
        let range = if self.rng.percent(50) { 0..text.len() } else { self.range(text) };
        text.splice(range.end..range.end, close.repeat(depth).into_bytes());
        text.splice(range.start..range.start, open.repeat(depth).into_bytes());
    }

    /// Replaces a number by one that fits nowhere.
    fn huge_number(&mut self, text: &mut Vec<u8>) {
        let digits: Vec<usize> =
            (0..text.len()).filter(|place| text[*place].is_ascii_digit()).collect();
        let Some(start) = self.rng.pick(&digits).copied() else { return };
        let rest = text[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = self.rng.pick(&NUMBERS).copied().unwrap_or_default();
        text.splice(start..start + rest, number.bytes());
    }

    /// Replaces what stands between two quotes, or after an equals sign, by something else.
    fn replace_string(&mut self, text: &mut Vec<u8>) {
        let is_seam = |place: &usize| matches!(text[*place], b'"' | b'=' | b'\n' | b'/');
        let seams: Vec<usize> = (0..text.len()).filter(is_seam).collect();
        if seams.is_empty() {
            return;
        }
        let first = self.rng.index(seams.len());
        let start = seams[first] + 1;
        let end = seams.get(first + 1).copied().unwrap_or(text.len());
        let word = self.word();
        text.splice(start..end.max(start), word.bytes());
    }

    fn insert_letter(&mut self, text: &mut Vec<u8>) {
        let number = match self.rng.below(4) {
            0 => self.rng.below(0x20),
            1 => self.rng.within(0x7f..=0x9f),
            2 => self.rng.within(0x2000..=0x2070),
            _ => self.rng.below(0x11_0000),
        };
        let letter = u32::try_from(number).ok().and_then(char::from_u32).unwrap_or('\u{fffd}');
        let place = self.rng.index(text.len() + 1);
        let escaped = format!("\\u{number:04x}");
        let shown = if self.rng.percent(50) { letter.to_string() } else { escaped };
        text.splice(place..place, shown.into_bytes());
    }

    fn swell(&mut self, text: &mut Vec<u8>) {
        let range = self.range(text);
        let piece = text[range.clone()].to_vec();
        if !piece.is_empty() {
            text.splice(range, piece.repeat(HUGE / piece.len()));
        }
    }
}
