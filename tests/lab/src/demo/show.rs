//! Printing within 80 columns, and counting what does not hold.

use std::io::{self, Write as _};

/// What was claimed and did not hold.
#[derive(Debug, Default)]
pub(super) struct Show {
    failures: Vec<String>,
}

impl Show {
    /// Shows a claim and whether it holds.
    pub(super) fn claim(&mut self, holds: bool, text: &str) {
        println!("  {} {text}", if holds { "ok    " } else { "FAILED" });
        if !holds {
            self.failures.push(text.to_owned());
        }
    }

    /// Counts a failure that is shown elsewhere.
    pub(super) fn failure(&mut self, text: String) {
        self.failures.push(text);
    }

    /// Lists the failures once more; the exit code.
    pub(super) fn conclude(&self) -> u8 {
        if !self.failures.is_empty() {
            heading("What failed");
        }
        for failure in &self.failures {
            println!("  {failure}");
        }
        u8::from(!self.failures.is_empty())
    }
}

/// A new part of the demo.
pub(super) fn heading(text: &str) {
    println!("\n{text}\n{}", "-".repeat(text.len()));
}

/// A line about what is going on, for the parts that take a while.
pub(super) fn progress(text: &str) {
    println!("  .. {text}");
    // Nothing depends on the line being seen at once.
    let _ = io::stdout().flush();
}
