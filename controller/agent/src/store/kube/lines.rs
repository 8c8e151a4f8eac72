//! The lines of a watch, as they come in.

use http_body_util::BodyExt as _;
use kube::client::Body;
use tartan_core::reflector::Failure;

use super::transport::line;

/// More than the largest object that an API server takes (1.5 MiB), escaped.
const LONGEST: usize = 4 << 20;

/// A body, cut at its line ends.
pub(super) struct Lines {
    body: Body,
    buffer: Vec<u8>,
    /// Where the bytes that were not looked at yet begin.
    searched: usize,
}

impl Lines {
    pub(super) fn new(body: Body) -> Self {
        Self { body, buffer: Vec::new(), searched: 0 }
    }

    /// The next line without its end; `None` when the body ended in order. Safe to cancel.
    ///
    /// # Errors
    /// [`Failure::Connection`] when it broke off, [`Failure::Malformed`] for a line too long.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        loop {
            if let Some(line) = self.take() {
                return Ok(Some(line));
            }
            if self.buffer.len() > LONGEST {
                return Err(Failure::Malformed(format!("a line longer than {LONGEST} bytes")));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    self.buffer.extend_from_slice(frame.data_ref().map_or(&[][..], AsRef::as_ref));
                }
                Some(Err(error)) => return Err(Failure::Connection(line(&error))),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(Failure::Connection("the watch broke off".to_owned())),
            }
        }
    }

    fn take(&mut self) -> Option<Vec<u8>> {
        let unseen = self.buffer.get(self.searched..).unwrap_or_default();
        let Some(end) = unseen.iter().position(|byte| *byte == b'\n') else {
            self.searched = self.buffer.len();
            return None;
        };
        let rest = self.buffer.split_off(self.searched + end + 1);
        let mut line = std::mem::replace(&mut self.buffer, rest);
        self.searched = 0;
        line.pop();
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(text: &str) -> Vec<Result<Option<String>, Failure>> {
        let mut lines = Lines::new(Body::from(text.as_bytes().to_vec()));
        let mut seen = Vec::new();
        loop {
            let next = lines.next().await;
            let next = next.map(|line| line.map(|line| String::from_utf8(line).unwrap()));
            let is_last = !matches!(next, Ok(Some(_)));
            seen.push(next);
            if is_last {
                return seen;
            }
        }
    }

    #[tokio::test]
    async fn lines_come_one_by_one_and_an_end_in_order_is_told() {
        let line = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(all("a\nbc\n").await, [line("a"), line("bc"), Ok(None)]);
    }

    #[tokio::test]
    async fn half_a_line_at_the_end_is_a_broken_connection() {
        let seen = all("a\nb").await;
        assert!(matches!(seen.last(), Some(Err(Failure::Connection(_)))), "{seen:?}");
    }
}
