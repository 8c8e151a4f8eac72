//! Inputs in files: one a line, in hexadecimal.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The committed inputs of a target.
#[must_use]
pub fn committed(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(format!("{target}.txt"))
}

/// The inputs of a file; none if there is no such file.
///
/// # Errors
/// When it cannot be read or is no list of inputs.
pub fn read(path: &Path) -> io::Result<Vec<Vec<u8>>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text?,
    };
    let bad = || io::Error::other(format!("{}: not one hexadecimal input a line", path.display()));
    text.lines().map(|line| decode(line).ok_or_else(bad)).collect()
}

/// Writes inputs, sorted, so that a change shows what changed.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, inputs: &[Vec<u8>]) -> io::Result<()> {
    let mut inputs = inputs.to_vec();
    inputs.sort_unstable();
    inputs.dedup();
    let lines: Vec<_> = inputs.iter().map(|input| encode(input)).collect();
    fs::write(path, lines.join("\n") + "\n")
}

/// In hexadecimal.
#[must_use]
pub fn encode(input: &[u8]) -> String {
    input.iter().fold(String::new(), |mut text, byte| {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.trim();
    let digits = |at| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    if text.len() % 2 == 1 {
        return None;
    }
    (0..text.len()).step_by(2).map(digits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        assert_eq!(decode(&encode(&[0, 0xff, 0x10])), Some(vec![0, 0xff, 0x10]));
        assert_eq!(decode(""), Some(Vec::new()));
        assert_eq!((decode("0"), decode("0g")), (None, None));
    }
}
