//! Shows what a command prints, as it prints it, and reads along.

use std::io::{BufRead, BufReader, Write, stdout};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context as _, Result};

/// Runs `command`, calls `keep` with every line of its standard output, and shows those it keeps.
pub(crate) fn run(command: &mut Command, keep: impl FnMut(&str) -> bool) -> Result<ExitStatus> {
    let spawned = command.stdout(Stdio::piped()).spawn();
    let mut child = spawned.with_context(|| format!("cannot start {command:?}"))?;
    let pipe = child.stdout.take().context("the child has no standard output")?;
    copy(BufReader::new(pipe), stdout(), keep)?;
    Ok(child.wait()?)
}

/// Copies whole lines, and of a line that begins with `test ` each part at once: while a test
/// runs, its name is what one wants to read.
fn copy(
    mut from: impl BufRead,
    mut to: impl Write,
    mut keep: impl FnMut(&str) -> bool,
) -> Result<()> {
    let mut line = Vec::new();
    let mut shown = 0;
    loop {
        let part = from.fill_buf()?;
        let ended = part.is_empty();
        let taken = part.iter().position(|byte| *byte == b'\n').map_or(part.len(), |at| at + 1);
        line.extend_from_slice(&part[..taken]);
        from.consume(taken);
        let complete = ended || line.ends_with(b"\n");
        if shown > 0 || line.starts_with(b"test ") && !is_result(&line) {
            to.write_all(&line[shown..])?;
            to.flush()?;
            shown = line.len();
        } else if complete && keep(String::from_utf8_lossy(&line).trim_end_matches('\n')) {
            to.write_all(&line)?;
        }
        if complete {
            (line, shown) = (Vec::new(), 0);
        }
        if ended {
            return Ok(());
        }
    }
}

/// `test result: ...` is no test: it has to be read whole.
fn is_result(line: &[u8]) -> bool {
    line.starts_with(b"test result") || b"test result".starts_with(line)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn copied(text: &str, capacity: usize) -> (String, Vec<String>) {
        let mut out = Vec::new();
        let mut seen = Vec::new();
        let from = BufReader::with_capacity(capacity, Cursor::new(text));
        let keep = |line: &str| {
            seen.push(line.to_owned());
            !line.starts_with("hide")
        };
        copy(from, &mut out, keep).unwrap();
        (String::from_utf8(out).unwrap(), seen)
    }

    #[test]
    fn a_line_that_is_not_kept_is_not_shown() {
        for capacity in [1, 3, 64] {
            let (out, _) = copied("a\nhide\nb", capacity);
            assert_eq!(out, "a\nb", "capacity {capacity}");
        }
    }

    #[test]
    fn the_result_line_is_read_whole() {
        for capacity in [1, 5, 64] {
            let (out, seen) = copied("test x ... ok\ntest result: ok. 1 passed\n", capacity);
            assert_eq!(out, "test x ... ok\ntest result: ok. 1 passed\n");
            assert!(seen.contains(&"test result: ok. 1 passed".to_owned()), "{seen:?}");
        }
    }
}
