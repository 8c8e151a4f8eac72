//! What the runtime says by environment variables: the verb and the attachment.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::error::{CniError, Code};

/// The longest interface name the kernel takes (`IFNAMSIZ` less the final NUL).
const MAX_IFNAME: usize = 15;

/// A verb of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Attach a container.
    Add,
    /// Detach it.
    Del,
    /// Verify an attachment.
    Check,
    /// Say whether ADD can be served.
    Status,
    /// Free what no valid attachment owns.
    Gc,
    /// List the versions spoken.
    Version,
}

impl Command {
    fn parse(text: &str) -> Result<Self, CniError> {
        Ok(match text {
            "ADD" => Self::Add,
            "DEL" => Self::Del,
            "CHECK" => Self::Check,
            "STATUS" => Self::Status,
            "GC" => Self::Gc,
            "VERSION" => Self::Version,
            _ => return Err(environment(format!("unknown CNI_COMMAND: {text}"))),
        })
    }

    const fn needs(self, variable: Variable) -> bool {
        match variable {
            Variable::ContainerId | Variable::IfName => {
                matches!(self, Self::Add | Self::Del | Self::Check)
            }
            Variable::NetNs => matches!(self, Self::Add | Self::Check),
        }
    }
}

#[derive(Clone, Copy)]
enum Variable {
    ContainerId,
    NetNs,
    IfName,
}

impl Variable {
    const ALL: [Self; 3] = [Self::ContainerId, Self::NetNs, Self::IfName];

    const fn name(self) -> &'static str {
        match self {
            Self::ContainerId => "CNI_CONTAINERID",
            Self::NetNs => "CNI_NETNS",
            Self::IfName => "CNI_IFNAME",
        }
    }

    fn check(self, value: &str) -> Result<(), CniError> {
        match self {
            Self::ContainerId => check_container_id(value),
            Self::IfName => check_ifname(value),
            Self::NetNs => Ok(()),
        }
    }
}

/// Who an address and a veth belong to, within one network.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attachment {
    /// The runtime's opaque id of the container.
    pub container_id: String,
    /// The interface's name inside the container.
    pub ifname: String,
}

/// A checked invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// What to do.
    pub command: Command,
    /// For whom; empty for STATUS, GC and VERSION.
    pub attachment: Attachment,
    /// The container's network namespace; empty on DEL when it is already gone.
    pub netns: PathBuf,
    /// `CNI_ARGS`, unparsed: a broken one must not fail DEL.
    pub args: String,
}

impl Invocation {
    /// Reads the variables through `lookup`; an empty one counts as absent, as in Go.
    ///
    /// `None` when `CNI_COMMAND` is absent: somebody ran the binary by hand.
    ///
    /// # Errors
    ///
    /// Code 4 with the texts of the reference implementation. A malformed
    /// value wins over a missing one.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, CniError> {
        let get = |name: &str| lookup(name).unwrap_or_default();
        let verb = get("CNI_COMMAND");
        if verb.is_empty() {
            return Ok(None);
        }
        let command = Command::parse(&verb)?;
        if command != Command::Version {
            check_variables(command, get)?;
        }
        Ok(Some(Self {
            command,
            attachment: Attachment {
                container_id: get(Variable::ContainerId.name()),
                ifname: get(Variable::IfName.name()),
            },
            netns: get(Variable::NetNs.name()).into(),
            args: get("CNI_ARGS"),
        }))
    }
}

fn check_variables(command: Command, get: impl Fn(&str) -> String) -> Result<(), CniError> {
    let mut missing = Vec::new();
    for variable in Variable::ALL {
        let value = get(variable.name());
        if !value.is_empty() {
            variable.check(&value)?;
        } else if command.needs(variable) {
            missing.push(variable.name());
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(environment(format!("required env variables [{}] missing", missing.join(","))))
}

fn check_container_id(id: &str) -> Result<(), CniError> {
    if is_identifier(id) {
        return Ok(());
    }
    Err(environment("invalid characters in containerID").hint(format!("CNI_CONTAINERID is {id:?}")))
}

/// Letters, digits, `_`, `.`, `-`, and no punctuation in front.
pub(crate) fn is_identifier(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

fn check_ifname(name: &str) -> Result<(), CniError> {
    let complaint = match name {
        "" => "interface name is empty",
        "." | ".." => "interface name is . or ..",
        _ if name.len() > MAX_IFNAME => "interface name is too long",
        _ if name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace()) => {
            "interface name contains / or : or whitespace characters"
        }
        _ => return Ok(()),
    };
    Err(environment(complaint).hint(format!("CNI_IFNAME is {name:?}")))
}

/// The pairs of `CNI_ARGS`; keys nobody knows are kept and ignored.
///
/// # Errors
///
/// Code 4 for a pair without exactly one `=`.
pub fn parse_args(text: &str) -> Result<BTreeMap<String, String>, CniError> {
    text.split(';').filter(|pair| !pair.is_empty()).map(parse_pair).collect()
}

fn parse_pair(pair: &str) -> Result<(String, String), CniError> {
    match pair.split_once('=') {
        Some((key, value)) if !value.contains('=') => Ok((key.to_owned(), value.to_owned())),
        _ => Err(environment(format!("ARGS: invalid pair {pair:?}"))
            .hint("CNI_ARGS takes KEY=VALUE pairs separated by `;`")),
    }
}

fn environment(msg: impl Into<String>) -> CniError {
    CniError::new(Code::InvalidEnvironment, msg)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Option<Invocation>, CniError> {
        Invocation::read(|name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn message(pairs: &[(&str, &str)]) -> String {
        let error = read(pairs).expect_err("must be refused");
        assert_eq!(error.code, Code::InvalidEnvironment);
        error.msg
    }

    #[test]
    fn without_a_command_there_is_nothing_to_do() {
        assert_eq!(read(&[("CNI_COMMAND", "")]), Ok(None));
    }

    #[test]
    fn an_unknown_verb_is_named() {
        assert_eq!(message(&[("CNI_COMMAND", "add")]), "unknown CNI_COMMAND: add");
    }

    #[test]
    fn missing_variables_are_listed_together() {
        assert_eq!(
            message(&[("CNI_COMMAND", "ADD"), ("CNI_CONTAINERID", "a")]),
            "required env variables [CNI_NETNS,CNI_IFNAME] missing"
        );
    }

    #[test]
    fn del_needs_no_namespace_and_nobody_needs_a_path() {
        let pairs = [("CNI_COMMAND", "DEL"), ("CNI_CONTAINERID", "a"), ("CNI_IFNAME", "eth0")];
        assert!(read(&pairs).is_ok());
    }

    #[test]
    fn version_ignores_placeholders() {
        assert!(read(&[("CNI_COMMAND", "VERSION"), ("CNI_IFNAME", "a b")]).is_ok());
    }

    #[test]
    fn a_malformed_value_wins_over_a_missing_one() {
        assert_eq!(
            message(&[("CNI_COMMAND", "ADD"), ("CNI_CONTAINERID", "../x")]),
            "invalid characters in containerID"
        );
    }

    #[test]
    fn interface_names_are_judged_as_the_reference_does() {
        let complain = |name| {
            message(&[("CNI_COMMAND", "ADD"), ("CNI_CONTAINERID", "a"), ("CNI_IFNAME", name)])
        };
        assert_eq!(complain("sixteen-letters-"), "interface name is too long");
        assert_eq!(complain(".."), "interface name is . or ..");
        assert_eq!(complain("eth 0"), "interface name contains / or : or whitespace characters");
    }

    #[test]
    fn args_are_pairs() {
        let args = parse_args("IgnoreUnknown=1;IP=10.1.2.3;").expect("two pairs");
        assert_eq!(args.get("IP").map(String::as_str), Some("10.1.2.3"));
        assert_eq!(parse_args("IP").expect_err("no value").msg, r#"ARGS: invalid pair "IP""#);
    }
}
