//! How commands reach the cluster's process 1: a socket in the lab, one JSON request and one JSON
//! answer per connection.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use serde::{Deserialize, Serialize};

use super::fault::Fault;
use super::report::Report;

/// Where process 1 listens, in the lab.
pub(super) const SOCKET: &str = "/mnt/cluster.sock";

/// How long the cluster may take to answer: a node that starts again takes its time.
const PATIENCE: Duration = Duration::from_mins(3);

/// What a command asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Request {
    /// How everything is.
    Status,
    /// Something to break or to mend.
    Fault(Fault),
}

/// What process 1 answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Answer {
    /// To [`Request::Status`].
    Status(Box<Report>),
    /// It is done: what was done, and how it ends.
    Done(String),
    /// It is not done: why.
    Refused(String),
}

/// Asks process 1 of the lab that this machine sees at `socket`.
///
/// # Errors
/// When nobody answers.
pub(super) fn ask(socket: &Path, request: &Request) -> Result<Answer> {
    let mut stream = UnixStream::connect(socket)
        .context("the cluster does not listen: it still starts, or it is just going away")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    writeln!(stream, "{}", serde_json::to_string(request)?)?;
    let mut line = String::new();
    BufReader::new(stream)
        .read_line(&mut line)
        .with_context(|| format!("the cluster did not answer within {PATIENCE:?}"))?;
    if line.is_empty() {
        return Err(anyhow!("the cluster went away before it answered"));
    }
    serde_json::from_str(&line).context(
        "the cluster answers in other words than this program expects: it was started by another \
         build. End it with that one, or by `down`",
    )
}

/// Answers one request, if somebody asks within `patience`.
///
/// # Errors
/// When the socket itself fails; a caller who goes away is no error.
pub(super) fn serve(
    listener: &UnixListener,
    patience: Duration,
    answer: impl FnOnce(Request) -> Answer,
) -> Result<()> {
    if !is_called(listener, patience)? {
        return Ok(());
    }
    let (stream, _) = listener.accept().context("cannot accept on the cluster's socket")?;
    // The caller is not there any more, or is no caller of ours.
    let _ = converse(stream, answer);
    Ok(())
}

fn converse(mut stream: UnixStream, answer: impl FnOnce(Request) -> Answer) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut line = String::new();
    BufReader::new(stream.try_clone()?).read_line(&mut line)?;
    let answer = match serde_json::from_str(&line) {
        Ok(request) => answer(request),
        Err(error) => Answer::Refused(format!(
            "the cluster does not understand this request ({error}): it was started by another \
             build of this program"
        )),
    };
    Ok(writeln!(stream, "{}", serde_json::to_string(&answer)?)?)
}

fn is_called(listener: &UnixListener, patience: Duration) -> Result<bool> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd as _;

    let mut waiting = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    match poll(&mut waiting, PollTimeout::try_from(patience)?) {
        Ok(ready) => Ok(ready > 0),
        Err(nix::errno::Errno::EINTR) => Ok(false),
        Err(error) => Err(error).context("cannot wait at the cluster's socket"),
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_request_crosses_the_socket_and_its_answer_comes_back() {
        let path = std::env::temp_dir().join(format!("tartan-control-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let server = thread::spawn(move || {
            serve(&listener, Duration::from_secs(10), |request| {
                Answer::Refused(format!("{request:?}"))
            })
        });
        let answer = ask(&path, &Request::Status).unwrap();
        assert_eq!(answer, Answer::Refused("Status".to_owned()));
        server.join().unwrap().unwrap();
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn nobody_at_the_socket_is_said_in_words() {
        let error = ask(Path::new("/nonexistent/socket"), &Request::Status).unwrap_err();
        assert!(error.to_string().starts_with("the cluster does not listen"));
    }
}
