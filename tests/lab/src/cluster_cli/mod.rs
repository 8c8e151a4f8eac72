//! `tartan-lab cluster`: a cluster in namespaces of this machine, to look at, to work with and to
//! break.
//!
//! Three parties: the *front end* is what the user types; the *supervisor* holds the lab, in a
//! session of its own, so that the cluster outlives the terminal; the lab's *process 1* brings the
//! cluster up, looks after its programs and answers at a socket. When any of them dies, the kernel
//! takes down whatever it held.

mod breaking;
mod census;
mod control;
mod down;
mod enter;
mod fault;
mod guardian;
mod holes;
pub mod inside;
mod logs;
mod observe;
mod options;
mod orphans;
mod report;
mod sources;
mod state;
pub mod supervisor;
mod text;
mod tier;
mod tier1;
mod tier2;
mod up;

use std::env;
use std::ffi::OsString;

use anyhow::{Result, bail};
use clap::{Subcommand, ValueEnum};

pub use self::fault::{ApiFault, Daemon, Fault, Switch};
pub use self::options::{Cni, Family, Options, Proxy, Tier};

use self::control::{Answer, Request, SOCKET, ask};
use self::report::Report;
use self::state::{Directory, Found};
use crate::sandbox::require_root;

/// Names what the user types before `up`, where it is not this program.
const VARIABLE: &str = "TARTAN_CLUSTER_COMMAND";
/// Exit code of `status` when no cluster is up, as of an inactive service.
const NO_CLUSTER: u8 = 3;

/// What to do with a cluster.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Bring one up: returns when nodes are Ready and all pods talk to each other
    Up(up::Args),
    /// End it, and remove whatever is left of it
    Down,
    /// How everything is, and what is wrong (exit code 1: something; 3: no cluster is up)
    Status {
        /// As text, or as JSON
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// What the control plane and the nodes' programs write
    Logs(logs::Args),
    /// A command on a node, or a shell; `lab` is the host outside of the nodes
    Exec {
        /// Which node: node1, node2, ..., or lab
        node: String,
        /// The command; bash without one
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
        words: Vec<OsString>,
    },
    /// kubectl as administrator; files and standard input are yours
    #[command(disable_help_flag = true)]
    Kubectl {
        /// What kubectl shall do
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<OsString>,
    },
    /// Print the administrator's kubeconfig; its server answers in the lab only
    Kubeconfig,
    /// Break something, or mend it
    #[command(subcommand)]
    Fault(Fault),
}

/// How `status` answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Output {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

/// Does it; the exit code.
///
/// # Errors
/// When it cannot be done: why, and what to type next.
pub fn run(action: Action) -> Result<u8> {
    let directory = Directory::of_the_machine();
    let running = || directory.running(&command());
    match action {
        Action::Up(args) => up::run(&args),
        Action::Down => down::run(),
        Action::Status { output } => status(&directory, output),
        Action::Logs(args) => logs::run(&args, &directory, &running()?),
        Action::Exec { node, words } => enter::exec(&running()?, &node, &words),
        Action::Kubectl { words } => enter::kubectl(&running()?, &words),
        Action::Kubeconfig => enter::kubeconfig(&running()?),
        Action::Fault(fault) => break_or_mend(&directory, fault),
    }
}

/// What the user types before the action.
fn command() -> String {
    env::var(VARIABLE).unwrap_or_else(|_| "tartan-lab cluster".to_owned())
}

/// What the user types before `cluster`, where it is not this program.
#[must_use]
pub fn called() -> Option<String> {
    env::var(VARIABLE).ok()?.strip_suffix(" cluster").map(str::to_owned)
}

fn status(directory: &Directory, output: Output) -> Result<u8> {
    require_root()?;
    if !matches!(directory.look()?, Found::Up(..)) {
        return no_cluster(directory, output);
    }
    let state = directory.running(&command())?;
    match ask(&state.path(SOCKET), &Request::Status)? {
        Answer::Status(report) => show(&report, output),
        Answer::Done(text) | Answer::Refused(text) => bail!("{text}"),
    }
}

fn no_cluster(directory: &Directory, output: Output) -> Result<u8> {
    let command = command();
    let text = match directory.look()? {
        Found::Nothing | Found::Up(..) => format!("No cluster is up. Start one: {command} up"),
        Found::Stale(_) => format!(
            "No cluster is up: the supervisor of the last one was killed, and the lab went with \
             it. Remove what it said: {command} down"
        ),
    };
    match output {
        Output::Text => println!("{text}"),
        Output::Json => println!("null"),
    }
    Ok(NO_CLUSTER)
}

fn show(report: &Report, output: Output) -> Result<u8> {
    match output {
        Output::Text => println!("{}", text::render(report, &command())),
        Output::Json => println!("{}", serde_json::to_string_pretty(report)?),
    }
    Ok(u8::from(!report.problems.is_empty()))
}

fn break_or_mend(directory: &Directory, fault: Fault) -> Result<u8> {
    require_root()?;
    let state = directory.running(&command())?;
    if let Some(node) = fault.node() {
        state.node(node)?;
    }
    let end = fault.end();
    match ask(&state.path(SOCKET), &Request::Fault(fault))? {
        Answer::Done(text) => {
            println!("{text}");
            if let Some(end) = end {
                println!("To end it: {} fault {end}", command());
            }
            Ok(0)
        }
        Answer::Refused(text) => bail!("{text}"),
        Answer::Status(_) => bail!("the cluster answered something else"),
    }
}
