//! Progress: a line per step with its seconds, and the figures of all of them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// One step that is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What it was.
    pub title: String,
    /// How long it took.
    pub took: Duration,
    /// When it was done, since the first one began.
    pub at: Duration,
}

/// The steps of one run, printed as they are done.
#[derive(Debug)]
pub struct Steps {
    start: Instant,
    done: Vec<Step>,
}

impl Default for Steps {
    fn default() -> Self {
        Self::new()
    }
}

impl Steps {
    /// Begins now.
    #[must_use]
    pub fn new() -> Self {
        Self { start: Instant::now(), done: Vec::new() }
    }

    /// Does the work, and prints how long it took whether it failed or not.
    ///
    /// # Errors
    /// The work's own.
    pub fn step<T>(
        &mut self,
        title: impl Into<String>,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let (title, start) = (title.into(), Instant::now());
        let done = work();
        let took = start.elapsed();
        if done.is_err() {
            println!("  {title:54} FAILED after {:5.1} s", took.as_secs_f64());
            return done.context(title);
        }
        self.record(title, took);
        done
    }

    /// Prints a step that was done beside others.
    pub fn record(&mut self, title: impl Into<String>, took: Duration) {
        let step = Step { title: title.into(), took, at: self.start.elapsed() };
        let (took, at) = (took.as_secs_f64(), step.at.as_secs_f64());
        println!("  {:54} {took:5.1} s   at {at:5.1} s", step.title);
        self.done.push(step);
    }

    /// Time since the first step began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// What is done.
    #[must_use]
    pub fn all(&self) -> &[Step] {
        &self.done
    }

    /// The step whose title begins so.
    #[must_use]
    pub fn find(&self, title: &str) -> Option<&Step> {
        self.done.iter().find(|step| step.title.starts_with(title))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_found_by_how_its_title_begins() {
        let mut steps = Steps::new();
        steps.step("nodes ready: 3", || Ok(())).unwrap();
        assert!(steps.find("nodes ready").is_some() && steps.find("ready").is_none());
    }

    #[test]
    fn a_failed_step_names_itself_and_is_not_among_those_done() {
        let mut steps = Steps::new();
        let error = steps.step("the moon", || -> Result<()> { anyhow::bail!("far") }).unwrap_err();
        assert_eq!((error.to_string().as_str(), steps.all().len()), ("the moon", 0));
    }
}
