//! [`Trace`]: what happened, in lines for people; costs nothing while it is off.

use std::collections::VecDeque;
use std::fmt;

use crate::Ms;

/// So many lines are kept.
const TAIL: usize = 120;

/// The last lines of a simulation.
#[derive(Debug, Default)]
pub struct Trace {
    on: bool,
    /// Print each line at once.
    aloud: bool,
    lines: VecDeque<String>,
}

impl Trace {
    /// One that keeps nothing.
    #[must_use]
    pub fn off() -> Self {
        Self::default()
    }

    /// One that keeps the last lines, and prints all of them if it is `aloud`.
    #[must_use]
    pub fn on(aloud: bool) -> Self {
        Self { on: true, aloud, lines: VecDeque::new() }
    }

    /// Notes a line; `text` is only called if it is kept.
    pub fn note<T: fmt::Display>(&mut self, at: Ms, text: impl FnOnce() -> T) {
        if !self.on {
            return;
        }
        let line = format!("{:>4}.{:03} {}", at / 1000, at % 1000, text());
        if self.aloud {
            println!("{line}");
        }
        if self.lines.len() == TAIL {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// The lines that were kept.
    #[must_use]
    pub fn tail(&self) -> String {
        self.lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}
