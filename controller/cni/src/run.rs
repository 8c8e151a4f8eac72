//! From a request to what the process prints.

use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use serde_json::Value;

use crate::context::Context;
use crate::datapath::Datapath;
use crate::environment::{Command, Invocation};
use crate::error::{CniError, Code};
use crate::netconf::{NetConf, version_text};
use crate::patience::Patience;
use crate::version::SpecVersion;
use crate::{add, check, del, gc, status};

/// What a run prints and how it exits.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The result or the error object; empty for verbs that answer nothing.
    pub stdout: String,
    /// One line per failure.
    pub stderr: Vec<String>,
    /// Whether the exit code is 0.
    pub success: bool,
}

impl Outcome {
    /// An error, for both streams.
    #[must_use]
    pub fn failure(error: &CniError, version: Option<&str>) -> Self {
        Self {
            stdout: error.to_json(version).to_string(),
            stderr: vec![error.to_string()],
            success: false,
        }
    }
}

/// Serves one request. libcni takes stdout for the answer, so even a bug in here
/// ends in an error object, after ADD has undone what it did. ADD alone waits as long as
/// `patience` for an agent that is starting.
pub fn run(
    lookup: impl Fn(&str) -> Option<String>,
    stdin: &mut dyn Read,
    datapath: &mut dyn Datapath,
    patience: Duration,
) -> Outcome {
    // Nothing that a panic left half-done is looked at again.
    let attempt = AssertUnwindSafe(|| read_and_serve(lookup, stdin, datapath, patience));
    catch_unwind(attempt).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        let error = CniError::new(Code::Internal, format!("tartan-cni stopped at a bug: {text}"))
            .hint("report it with the runtime's log; the next call starts afresh");
        Outcome::failure(&error, None)
    })
}

fn read_and_serve(
    lookup: impl Fn(&str) -> Option<String>,
    stdin: &mut dyn Read,
    datapath: &mut dyn Datapath,
    patience: Duration,
) -> Outcome {
    let call = match Invocation::read(lookup) {
        Ok(Some(call)) => call,
        Ok(None) => return about(),
        Err(error) => return Outcome::failure(&error, None),
    };
    if call.command == Command::Version {
        return Outcome {
            stdout: SpecVersion::report().to_string(),
            success: true,
            ..Outcome::default()
        };
    }
    let mut text = Vec::new();
    if let Err(error) = stdin.read_to_end(&mut text) {
        let error = CniError::new(Code::Io, format!("error reading from stdin: {error}"))
            .hint("the runtime must pipe the network configuration to the plugin");
        return Outcome::failure(&error, None);
    }
    serve(&call, &text, datapath, Patience::lasting(patience))
}

fn serve(
    call: &Invocation,
    stdin: &[u8],
    datapath: &mut dyn Datapath,
    patience: Patience,
) -> Outcome {
    let mut notes = Vec::new();
    let answer = NetConf::parse(stdin).and_then(|conf| {
        dispatch(&conf, call, &mut Context { datapath, notes: &mut notes, patience })
    });
    let mut outcome = match answer {
        Ok(answer) => Outcome {
            stdout: answer.map(|value| value.to_string()).unwrap_or_default(),
            success: true,
            ..Outcome::default()
        },
        Err(error) => Outcome::failure(&error, version_text(stdin).as_deref()),
    };
    outcome.stderr.extend(notes);
    outcome
}

fn dispatch(
    conf: &NetConf,
    call: &Invocation,
    context: &mut Context<'_>,
) -> Result<Option<Value>, CniError> {
    match call.command {
        Command::Add => return add::add(conf, call, context).map(Some),
        Command::Del => del::del(conf, call, context)?,
        Command::Check => {
            require(conf, SpecVersion::V0_4_0, "CHECK")?;
            check::check(conf, call, context)?;
        }
        Command::Status => {
            require(conf, SpecVersion::V1_1_0, "STATUS")?;
            status::status(conf, context)?;
        }
        Command::Gc => {
            require(conf, SpecVersion::V1_1_0, "GC")?;
            gc::gc(conf, context)?;
        }
        Command::Version => return Ok(Some(SpecVersion::report())),
    }
    Ok(None)
}

fn require(conf: &NetConf, version: SpecVersion, verb: &str) -> Result<(), CniError> {
    if conf.version >= version {
        return Ok(());
    }
    let text = format!("config version does not allow {verb}");
    Err(CniError::new(Code::IncompatibleVersion, text)
        .hint(format!("raise `cniVersion` to {} or later", version.as_str())))
}

/// Somebody ran the binary by hand.
fn about() -> Outcome {
    let versions: Vec<&str> = SpecVersion::ALL.iter().map(|version| version.as_str()).collect();
    Outcome {
        stderr: vec![
            concat!("Tartan CNI plugin ", env!("CARGO_PKG_VERSION")).to_owned(),
            format!("CNI protocol versions supported: {}", versions.join(", ")),
        ],
        success: true,
        ..Outcome::default()
    }
}
