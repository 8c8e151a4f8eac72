//! Running programs: every failure names the command line, how it ended and what it said.

use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// A place where programs can run: a node, a pod, a host on the wire or the lab itself.
pub trait Place {
    /// What people call it: `node1`, `node1/a`.
    fn label(&self) -> String;

    /// A command that will run in this place's namespaces.
    fn command(&self, program: &str) -> Command;

    /// Runs a command line (words separated by blanks, no quoting) and returns what it printed.
    ///
    /// # Errors
    /// When it cannot be started or ends with anything but 0; the error carries its stderr.
    fn run(&self, line: &str) -> Result<String> {
        let mut command = self.words(line)?;
        checked(&mut command).with_context(|| format!("in {}", self.label()))
    }

    /// Runs a command line and says whether it ended with 0.
    ///
    /// # Errors
    /// When it cannot be started.
    fn succeeds(&self, line: &str) -> Result<bool> {
        Ok(captured(&mut self.words(line)?)?.status.success())
    }

    /// Runs a shell script (`sh -ec`).
    ///
    /// # Errors
    /// As [`Place::run`].
    fn shell(&self, script: &str) -> Result<String> {
        let mut command = self.command("sh");
        command.args(["-ec", script]);
        checked(&mut command).with_context(|| format!("in {}", self.label()))
    }

    /// A command line (words separated by blanks, no quoting) as a command.
    ///
    /// # Errors
    /// When the line is empty.
    fn words(&self, line: &str) -> Result<Command> {
        let mut words = line.split_whitespace();
        let program = words.next().context("an empty command line")?;
        let mut command = self.command(program);
        command.args(words);
        Ok(command)
    }

    /// Writes a network sysctl, for instance `net.ipv4.ip_forward`.
    ///
    /// # Errors
    /// When the kernel does not have it or refuses the value.
    fn sysctl(&self, name: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        self.shell(&format!("echo {value} > {path}")).map(drop)
    }
}

/// Runs a command with captured output and no input.
///
/// # Errors
/// When it cannot be started.
pub fn captured(command: &mut Command) -> Result<Output> {
    command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {}", shown(command)))
}

/// Runs a command; its standard output if it ended with 0.
///
/// # Errors
/// When it cannot be started or fails; the error carries what it printed.
pub fn checked(command: &mut Command) -> Result<String> {
    let output = captured(command)?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let said = [stdout.trim(), stderr.trim()].join(" ");
    bail!("{}: {}: {}", shown(command), output.status, said.trim())
}

/// The command line as people type it.
#[must_use]
pub fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Asks again and again, every 10 ms, until the answer is true.
///
/// # Errors
/// When `timeout` has passed: `what` and the last error.
pub fn eventually(
    what: &str,
    timeout: Duration,
    question: impl FnMut() -> Result<bool>,
) -> Result<()> {
    eventually_every(Duration::from_millis(10), what, timeout, question)
}

/// As [`eventually`], at another pace.
///
/// # Errors
/// When `timeout` has passed: `what` and the last error.
pub fn eventually_every(
    pause: Duration,
    what: &str,
    timeout: Duration,
    mut question: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let end = Instant::now() + timeout;
    loop {
        let answer = question();
        if matches!(answer, Ok(true)) {
            return Ok(());
        }
        if Instant::now() >= end {
            return match answer {
                Err(error) => Err(error.context(format!("{what}: not within {timeout:?}"))),
                Ok(_) => bail!("{what}: not within {timeout:?}"),
            };
        }
        thread::sleep(pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_command_is_reported_with_its_line_and_its_words() {
        let error = checked(Command::new("sh").args(["-c", "echo no >&2; exit 3"])).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("sh -c") && text.contains("exit status: 3") && text.ends_with("no"));
    }

    #[test]
    fn a_question_never_answered_yes_ends_with_its_name() {
        let error = eventually("the moon", Duration::from_millis(20), || Ok(false)).unwrap_err();
        assert!(error.to_string().starts_with("the moon: not within"));
    }
}
