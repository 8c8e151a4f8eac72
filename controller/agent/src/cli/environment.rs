//! `FLANNELD_*`: every flag that the command line does not name.
//!
//! The variable's name is the flag's in capitals with `_` for `-`. An empty
//! one counts as unset. A value that cannot be read is reported, and the
//! default stays: the agent starts, as flanneld does.

use clap::Command;

use super::normalise::Given;
use super::{Environment, Exit, parse};

/// Decided before the environment is looked at.
const NEVER: &str = "version";

/// The variable for a flag.
pub(super) fn variable(flag: &str) -> String {
    format!("FLANNELD_{}", flag.to_uppercase().replace('-', "_"))
}

/// Adds what the environment gives to what the command line gave; returns what could not be read.
pub(super) fn complete(
    command: &Command,
    given: &mut Vec<Given>,
    env: Environment<'_>,
) -> Vec<String> {
    let mut faults = Vec::new();
    let names = command.get_arguments().filter_map(|arg| arg.get_long());
    for name in names.filter(|name| *name != NEVER) {
        if given.iter().any(|flag| flag.name == name) {
            continue;
        }
        let Some(value) = env(&variable(name)).filter(|value| !value.is_empty()) else {
            continue;
        };
        let flag = Given { name: name.to_owned(), value };
        match parse(std::slice::from_ref(&flag)) {
            Ok(_) => given.push(flag),
            Err(exit) => faults.push(fault(&flag, &exit)),
        }
    }
    faults
}

fn fault(flag: &Given, exit: &Exit) -> String {
    let variable = variable(&flag.name);
    format!("Failed to set flag --{} from {variable}, the default stays: {}", flag.name, exit.text)
}
