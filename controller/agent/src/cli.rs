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
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, CommandFactory, Parser};
use tartan_core::last_known::LAST_KNOWN_FILE;

pub use self::table::markdown;
use self::value::{go_bool, minutes, number, port};

/// Name of the program in messages, also where it is installed as `flanneld`.
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
    /// Directory of leases, one JSON file each; nodes that share it form a cluster; instead of --kube-subnet-mgr
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
    /// IPv6 address that other nodes send tunnel packets to
    #[arg(long, value_name = "ADDRESS")]
    pub public_ipv6: Option<Ipv6Addr>,
    /// Masquerade what pods send out of the pod network
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value = "false", value_parser = go_bool)]
    pub ip_masq: bool,
    /// Leave the choice of source ports for masquerading to the kernel's default
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value = "false", value_parser = go_bool)]
    pub ip_masq_fully_random_disable: bool,
    /// Seconds between checks of the firewall rules
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = number)]
    pub iptables_resync: i64,
    /// Accept forwarded pod traffic where the FORWARD chain of iptables drops by policy
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
    /// What the node knew last, for a start while the Kubernetes API cannot be reached
    #[arg(long, value_name = "FILE", default_value = LAST_KNOWN_FILE)]
    pub last_known_file: PathBuf,
    /// CNI configuration list to install once the node is ready; without it none is installed
    #[arg(long, value_name = "FILE")]
    pub cni_conf_source: Option<PathBuf>,
    /// Where --cni-conf-source is installed, by rename
    #[arg(long, value_name = "FILE")]
    pub cni_conf_file: Option<PathBuf>,
    /// Swap in the programs of this binary even if those in the kernel are of the same build
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value = "false", value_parser = go_bool)]
    pub replace_programs: bool,
    /// Decapsulate by XDP, in its driver, where the uplink has this name
    #[arg(long, value_name = "NAME", action = ArgAction::Append)]
    pub xdp_iface: Vec<String>,
    /// flannel's etcd store: not built in
    #[arg(long, value_name = "LIST")]
    pub etcd_endpoints: Option<Ignored>,
    /// flannel's etcd store: not built in
    #[arg(long, value_name = "PREFIX")]
    pub etcd_prefix: Option<Ignored>,
    /// flannel's etcd store: not built in
    #[arg(long, value_name = "FILE")]
    pub etcd_keyfile: Option<Ignored>,
    /// flannel's etcd store: not built in
    #[arg(long, value_name = "FILE")]
    pub etcd_certfile: Option<Ignored>,
    /// flannel's etcd store: not built in
    #[arg(long, value_name = "FILE")]
    pub etcd_cafile: Option<Ignored>,
    /// flannel's etcd store: not built in
    #[arg(long, value_name = "NAME")]
    pub etcd_username: Option<Ignored>,
    /// flannel's etcd store: not built in
    #[arg(long, value_name = "PASSWORD")]
    pub etcd_password: Option<Ignored>,
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
    /// Where leases are kept.
    pub store: StoreChoice,
    /// Who this node is.
    pub node_name: NodeName,
    /// What was given, from the command line and the environment, for the log; no secrets.
    pub given: String,
    /// One line each, to be logged at start: what was given and has no effect.
    pub warnings: Vec<String>,
}

/// Where leases are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreChoice {
    /// In the Kubernetes API.
    Kube,
    /// In this directory.
    Directory(PathBuf),
}

/// How the node's name is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeName {
    /// It is given.
    Known(String),
    /// It is `spec.nodeName` of the agent's own pod.
    OfPod {
        /// `POD_NAMESPACE`.
        namespace: String,
        /// `POD_NAME`.
        pod: String,
    },
}

/// A value that is taken and forgotten; it may be a password.
#[derive(Debug, Clone, Copy)]
pub struct Ignored;

impl std::str::FromStr for Ignored {
    type Err = std::convert::Infallible;

    fn from_str(_: &str) -> Result<Self, Self::Err> {
        Ok(Self)
    }
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
        let store = store(&flags)?;
        if flags.cni_conf_source.is_some() != flags.cni_conf_file.is_some() {
            let text = "--cni-conf-source and --cni-conf-file go together: give both or none";
            return Err(Exit::usage(text));
        }
        warnings.extend(effect::warnings(&given));
        let node_name = match store {
            StoreChoice::Kube => node_of_kubernetes(env)?,
            StoreChoice::Directory(_) => NodeName::Known(node_name(env, hostname)?),
        };
        let given: Vec<String> = given.iter().map(normalise::Given::shown).collect();
        Ok(Self { flags, store, node_name, given: given.join(" "), warnings })
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

fn store(flags: &Flags) -> Result<StoreChoice, Exit> {
    match (flags.kube_subnet_mgr, &flags.lease_dir) {
        (true, None) => Ok(StoreChoice::Kube),
        (false, Some(dir)) => Ok(StoreChoice::Directory(dir.clone())),
        (true, Some(_)) => Err(Exit::usage(
            "--kube-subnet-mgr and --lease-dir exclude each other: remove one of them",
        )),
        (false, None) => Err(Exit::usage(
            "no lease store is named: use --kube-subnet-mgr in a Kubernetes cluster, or --lease-dir \
             with a directory that all nodes share (etcd, flannel's default, is not built in)",
        )),
    }
}

/// flannel's order: `NODE_NAME`, else the pod that the agent runs in.
fn node_of_kubernetes(env: Environment<'_>) -> Result<NodeName, Exit> {
    let set = |name: &str| env(name).filter(|value| !value.is_empty());
    if let Some(name) = set("NODE_NAME") {
        return plain_name(name).map(NodeName::Known);
    }
    match (set("POD_NAMESPACE"), set("POD_NAME")) {
        (Some(namespace), Some(pod)) => Ok(NodeName::OfPod { namespace, pod }),
        _ => Err(Exit::usage(
            "the node's name is not known: set NODE_NAME (or POD_NAME and POD_NAMESPACE) by the \
             downward API",
        )),
    }
}

fn node_name(env: Environment<'_>, hostname: &OsString) -> Result<String, Exit> {
    let from_env = env("NODE_NAME").filter(|name| !name.is_empty());
    plain_name(from_env.unwrap_or_else(|| hostname.to_string_lossy().into_owned()))
}

fn plain_name(name: String) -> Result<String, Exit> {
    let is_plain = name.chars().all(|letter| letter.is_ascii_graphic());
    if is_plain && (1..=LONGEST_NODE_NAME).contains(&name.len()) {
        return Ok(name);
    }
    let text = format!("{name:?} cannot be the node's name: set NODE_NAME to a DNS name");
    Err(Exit::usage(&text))
}
