//! From Go's way to write flags to one way.
//!
//! Go takes `-x` for `--x`; a value stands behind `=` or in the next word,
//! whatever that looks like; a boolean takes a value only behind `=`. Every
//! flag is turned into its name and its value here, so that clap is left with
//! nothing but reading values.

use std::ffi::OsString;

use clap::Command;

use super::Exit;
use super::value::go_bool;

/// The one flag that clap does not know of here; `-h` is the same.
pub(super) const HELP: &str = "help";

/// A flag that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    /// Without dashes.
    pub(super) name: String,
    /// `true` for a boolean without one.
    pub(super) value: String,
}

impl Given {
    /// For the log. The values of etcd's flags may be secrets.
    pub(super) fn shown(&self) -> String {
        let Self { name, value } = self;
        if name.starts_with("etcd-") { format!("{name}=...") } else { format!("{name}={value}") }
    }

    /// As one word that clap reads back without doubt.
    pub(super) fn to_arg(&self) -> String {
        format!("--{}={}", self.name, self.value)
    }
}

/// Splits a command line into flags. One with an empty value counts as not given, as in the
/// environment: manifests made from templates have those.
pub(super) fn normalise(
    command: &Command,
    args: impl IntoIterator<Item = OsString>,
) -> Result<Vec<Given>, Exit> {
    let mut args = args.into_iter();
    let mut given = Vec::new();
    while let Some(word) = args.next() {
        let word = text(word)?;
        let (name, value) = split(&word)?;
        let value = match value {
            Some(value) => value,
            None if name == HELP || is_boolean(command, &name)? => "true".to_owned(),
            None => text(args.next().ok_or_else(|| needs_value(&name))?)?,
        };
        if name != HELP {
            is_boolean(command, &name)?;
        }
        if !value.is_empty() {
            given.push(Given { name, value });
        }
    }
    Ok(given)
}

/// Whether the flag takes a boolean.
///
/// # Errors
/// There is no such flag.
pub(super) fn is_boolean(command: &Command, name: &str) -> Result<bool, Exit> {
    let flag = command.get_arguments().find(|arg| arg.get_long() == Some(name));
    let flag = flag.ok_or_else(|| unknown(name))?;
    let default = flag.get_default_values().first().and_then(|value| value.to_str());
    Ok(default.is_some_and(|value| value.len() > 1 && go_bool(value).is_ok()))
}

fn split(word: &str) -> Result<(String, Option<String>), Exit> {
    let flag = word.strip_prefix("--").or_else(|| word.strip_prefix('-')).unwrap_or_default();
    if flag.is_empty() || flag.starts_with(['-', '=']) {
        let text = format!("{word:?} is not a flag: write --name=value, or see --help");
        return Err(Exit::usage(&text));
    }
    let (name, value) = match flag.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (flag, None),
    };
    let name = if name == "h" { HELP } else { name };
    Ok((name.to_owned(), value))
}

fn text(word: OsString) -> Result<String, Exit> {
    let lossy = |word: OsString| {
        Exit::usage(&format!("{:?} is not UTF-8: correct it", word.to_string_lossy()))
    };
    word.into_string().map_err(lossy)
}

fn needs_value(name: &str) -> Exit {
    Exit::usage(&format!("--{name} has no value: write --{name}=value"))
}

fn unknown(name: &str) -> Exit {
    Exit::usage(&format!("--{name}: it is not a known flag: see --help"))
}
