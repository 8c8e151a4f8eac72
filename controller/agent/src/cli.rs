//! The agent's command line: flanneld's flags, environment and defaults.
//!
//! Parsing follows Go's `flag` package (see `cli/normalise.rs`) and flanneld's
//! environment rules (see `cli/environment.rs`), so that a flanneld command line
//! can be kept as it is. Two deviations: a bad flag ends with one line on
//! standard error and exit code 2 (flanneld prints its usage and exits 0), and
//! `--version` prints to standard output.

mod effect;
mod environment;
mod normalise;
mod table;
#[cfg(test)]
mod tests;
mod value;

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, CommandFactory, Parser};

pub use self::table::markdown;
use self::value::{go_bool, minutes, number, port};

/// Name of the program in messages.
const PROGRAM: &str = "tartand";
/// What the agent ends with, and when.
pub const EXIT_CODES: [(u8, &str); 3] = [
    (0, "stopped by SIGTERM or SIGINT, or did what --help or --version asked for"),
    (1, "could not start: the last line of the log says why and what to do"),
    (EXIT_USAGE, "the command line cannot be used"),
];
/// What a command line that cannot be used ends with; the convention of GNU and of Go's `flag`.
const EXIT_USAGE: u8 = 2;
/// The longest name of a node: that of a DNS name.
const LONGEST_NODE_NAME: usize = 253;

/// Every flag. Their help texts are the meanings in `docs/FLAGS.md`.
#[derive(Debug, Clone, Parser)]
#[command(
    name = PROGRAM,
    about = "Tartan's node agent",
    disable_help_flag = true,
    disable_version_flag = true,
    args_override_self = true
)]
#[expect(clippy::struct_excessive_bools, reason = "flanneld's flags are what they are")]
pub struct Flags {
    /// Directory of leases, one JSON file each; nodes that share it form a cluster
    #[arg(long, value_name = "DIR")]
    pub lease_dir: Option<PathBuf>,
    /// Network configuration, read once at start
    #[arg(long, value_name = "FILE", default_value = "/etc/kube-flannel/net-conf.json")]
    pub net_config_path: PathBuf,
    /// Where the CNI plugin finds this node's subnet and MTU
    #[arg(long, value_name = "FILE", default_value = "/run/flannel/subnet.env")]
    pub subnet_file: PathBuf,
    /// Interface to reach other nodes by, as a name or an address; the first match of several wins
    #[arg(long, value_name = "NAME", action = ArgAction::Append)]
    pub iface: Vec<String>,
    /// Regular expression for the interface's address, then its name; tried after --iface
    #[arg(long, value_name = "REGEX", action = ArgAction::Append)]
    pub iface_regex: Vec<String>,
    /// Address whose route leads out of the interface to use
    #[arg(long, value_name = "ADDRESS")]
    pub iface_can_reach: Option<IpAddr>,
    /// IPv4 address that other nodes send tunnel packets to
    #[arg(long, value_name = "ADDRESS")]
    pub public_ip: Option<Ipv4Addr>,
    /// Masquerade what pods send out of the pod network
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value = "false", value_parser = go_bool)]
    pub ip_masq: bool,
    /// Leave the choice of source ports for masquerading to the kernel's default
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value = "false", value_parser = go_bool)]
    pub ip_masq_fully_random_disable: bool,
    /// Seconds between checks of the firewall rules
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = number)]
    pub iptables_resync: i64,
    /// Install rules that accept forwarded pod traffic
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value = "true", value_parser = go_bool)]
    pub iptables_forward_rules: bool,
    /// Keep a blackhole route for the node's own subnet
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value = "false", value_parser = go_bool)]
    pub ip_blackhole_route: bool,
    /// Address of the health listener
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0")]
    pub healthz_ip: IpAddr,
    /// Port of the health listener, 0 for none
    #[arg(long, value_name = "PORT", default_value = "0", value_parser = port)]
    pub healthz_port: u16,
    /// Minutes before its expiry that the lease is renewed, 1 to 1439
    #[arg(long, value_name = "MINUTES", default_value = "60", value_parser = minutes)]
    pub subnet_lease_renew_margin: u16,
    /// Keep leases in the Kubernetes API
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value = "false", value_parser = go_bool)]
    pub kube_subnet_mgr: bool,
    /// URL of the Kubernetes API server
    #[arg(long, value_name = "URL")]
    pub kube_api_url: Option<String>,
    /// Configuration of the Kubernetes client
    #[arg(long, value_name = "FILE")]
    pub kubeconfig_file: Option<PathBuf>,
    /// Prefix of the node annotations
    #[arg(long, value_name = "PREFIX", default_value = "flannel.alpha.coreos.com")]
    pub kube_annotation_prefix: String,
    /// Set the node condition NetworkUnavailable to False at start
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value = "true", value_parser = go_bool)]
    pub set_node_network_unavailable: bool,
    /// Swap in the programs of this binary even if those in the kernel are of the same build
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value = "false", value_parser = go_bool)]
    pub replace_programs: bool,
    /// Print the version and exit
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value = "false", value_parser = go_bool)]
    pub version: bool,
    /// Verbosity of the log, 0 to 10
    #[arg(long, value_name = "LEVEL", default_value = "0", value_parser = number)]
    pub v: i64,
    /// Verbosity per source file
    #[arg(long, value_name = "LIST")]
    pub vmodule: Option<String>,
    /// Log a stack trace at this place
    #[arg(long = "log_backtrace_at", value_name = "FILE:LINE")]
    pub log_backtrace_at: Option<String>,
}

/// A command line that the agent can start with.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// Every flag, from the command line, else the environment, else its default.
    pub flags: Flags,
    /// The directory store's place.
    pub lease_dir: PathBuf,
    /// `NODE_NAME`, else the host's name.
    pub node_name: String,
    /// One line each, to be logged at start: what was given and has no effect.
    pub warnings: Vec<String>,
}

/// The agent does not start: a text and an exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// One line for a fault; more for `--help`.
    pub text: String,
    /// 0 for what was asked for, 2 for a command line that cannot be used.
    pub code: u8,
}

/// Where environment variables are looked up.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Invocation {
    /// Reads the process's own command line, environment and host name.
    ///
    /// # Errors
    /// [`Exit`], when the agent is not to start.
    pub fn of_process() -> Result<Self, Exit> {
        let hostname = nix::unistd::gethostname().unwrap_or_default();
        Self::read(std::env::args_os().skip(1), &|name| std::env::var(name).ok(), &hostname)
    }

    /// Reads a command line without its program name.
    ///
    /// # Errors
    /// [`Exit`], when the agent is not to start.
    pub fn read(
        args: impl IntoIterator<Item = OsString>,
        env: Environment<'_>,
        hostname: &OsString,
    ) -> Result<Self, Exit> {
        let command = Flags::command();
        let mut given = normalise::normalise(&command, args)?;
        if given.iter().any(|flag| flag.name == normalise::HELP) {
            return Err(Exit::asked_for(&Flags::command().render_help()));
        }
        // As in flanneld, `--version` is looked at before the environment.
        if parse(&given)?.version {
            return Err(Exit::asked_for(&format!("{PROGRAM} {}", env!("CARGO_PKG_VERSION"))));
        }
        let mut warnings = environment::complete(&command, &mut given, env);
        let flags = parse(&given)?;
        let lease_dir = lease_dir(&flags)?;
        warnings.extend(effect::warnings(&given));
        Ok(Self { flags, lease_dir, node_name: node_name(env, hostname)?, warnings })
    }
}

impl Exit {
    fn usage(text: &str) -> Self {
        Self { text: format!("{PROGRAM}: {text}"), code: EXIT_USAGE }
    }

    fn asked_for(text: &dyn std::fmt::Display) -> Self {
        Self { text: text.to_string(), code: 0 }
    }

    /// Prints the text where it belongs and returns the code to exit with.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        if self.code == 0 {
            println!("{}", self.text.trim_end());
        } else {
            eprintln!("{}", self.text);
        }
        ExitCode::from(self.code)
    }
}

fn parse(given: &[normalise::Given]) -> Result<Flags, Exit> {
    let args = given.iter().map(normalise::Given::to_arg);
    Flags::try_parse_from([PROGRAM.to_owned()].into_iter().chain(args))
        .map_err(|error| Exit::usage(&first_line(&error)))
}

/// clap's message without its label and its hints.
fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

fn lease_dir(flags: &Flags) -> Result<PathBuf, Exit> {
    if flags.kube_subnet_mgr {
        let text = "--kube-subnet-mgr is not supported yet: remove it and use --lease-dir=DIR";
        return Err(Exit::usage(text));
    }
    let text = "--lease-dir is missing: name a directory that all nodes share, \
                such as --lease-dir=/var/lib/tartan/leases";
    flags.lease_dir.clone().ok_or_else(|| Exit::usage(text))
}

fn node_name(env: Environment<'_>, hostname: &OsString) -> Result<String, Exit> {
    let from_env = env("NODE_NAME").filter(|name| !name.is_empty());
    let name = from_env.unwrap_or_else(|| hostname.to_string_lossy().into_owned());
    let is_plain = name.chars().all(|letter| letter.is_ascii_graphic());
    if is_plain && (1..=LONGEST_NODE_NAME).contains(&name.len()) {
        return Ok(name);
    }
    let text = format!("{name:?} cannot be the node's name: set NODE_NAME to a DNS name");
    Err(Exit::usage(&text))
}
