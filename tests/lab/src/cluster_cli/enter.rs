//! `exec`, `kubectl`, `kubeconfig`: programs of the user in the cluster's namespaces.
//!
//! A program enters from outside, by the namespaces of the lab's process 1 and of the node's
//! holder; it keeps the user's terminal and dies with the command that started it.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use nix::sched::{CloneFlags, setns};
use nix::sys::prctl;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use super::inside::KUBECONFIG;
use super::state::State;
use crate::paths::{BINARIES, TOOLS};
use crate::sandbox::require_root;

/// What `exec` calls the lab itself: the wire, the control plane's host.
pub(super) const LAB: &str = "lab";
/// The group files of a process's control groups.
const GROUPS: &str = "/sys/fs/cgroup";
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const OWN: [(&str, CloneFlags); 5] = [
    ("net", CloneFlags::CLONE_NEWNET),
    ("uts", CloneFlags::CLONE_NEWUTS),
    ("ipc", CloneFlags::CLONE_NEWIPC),
    ("cgroup", CloneFlags::CLONE_NEWCGROUP),
    // Last: it may hide what the others are found by.
    ("mnt", CloneFlags::CLONE_NEWNS),
];

/// Runs a command on a node, or in the lab itself; a shell without one. Its exit code, as a shell
/// would give it.
///
/// # Errors
/// When there is no such node, or it is off.
pub(super) fn exec(state: &State, node: &str, words: &[OsString]) -> Result<u8> {
    require_root()?;
    let mut words = words.iter();
    let program = words.next().map_or(OsStr::new("bash"), OsString::as_os_str);
    let mut command = Command::new(program);
    command.args(words);
    enter(state, node, &mut command)?;
    ignore_the_terminal()?;
    let status = match command.status() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            eprintln!("{node} has no program {}", program.display());
            return Ok(127);
        }
        status => status.with_context(|| format!("cannot run {} on {node}", program.display()))?,
    };
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    Ok(u8::try_from(code).unwrap_or(1))
}

/// Makes the command start in all namespaces of a node.
fn enter(state: &State, node: &str, command: &mut Command) -> Result<()> {
    let holder = match node {
        LAB => 1,
        node => holder(state, node)?,
    };
    let own = OWN.map(|(kind, flag)| {
        let path = state.path(&format!("/proc/{holder}/ns/{kind}"));
        File::open(&path).map(|file| (file, flag)).with_context(|| path.display().to_string())
    });
    let own = own.into_iter().collect::<Result<Vec<_>>>()?;
    let groups = groups(state, node);
    let processes = format!("/proc/{}/ns/pid", state.lab.pid);
    let processes = File::open(&processes).context("the cluster is going away")?;
    // For the children only; this process stays where it is.
    setns(processes, CloneFlags::CLONE_NEWPID).context("cannot enter the lab")?;
    let join = move || {
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        groups.iter().try_for_each(|mut group| group.write_all(b"0"))?;
        own.iter().try_for_each(|(namespace, flag)| Ok(setns(namespace, *flag)?))
    };
    // SAFETY: the closure makes system calls on descriptors that it owns and allocates nothing.
    unsafe { command.pre_exec(join) };
    command.env("PATH", format!("{SYSTEM_PATH}:{BINARIES}:{TOOLS}"));
    command.env("KUBECONFIG", KUBECONFIG).env_remove("TMPDIR");
    Ok(())
}

fn holder(state: &State, node: &str) -> Result<u32> {
    let found = state.nodes.iter().find(|entry| entry.name == node);
    let Some(entry) = found else {
        bail!("there is no node {node}; {}, and `{LAB}` is the host outside", state.named_nodes())
    };
    let off =
        || format!("{node} is switched off; first: {} fault node {node} start", super::command());
    entry.holder.with_context(off)
}

/// The control groups of a node, where it has some of its own.
fn groups(state: &State, node: &str) -> Vec<File> {
    let entries = fs::read_dir(state.path(GROUPS)).into_iter().flatten().flatten();
    let group = |dir: PathBuf| match node {
        LAB => dir,
        node => dir.join(node),
    };
    let files = entries.map(|entry| group(entry.path()).join("cgroup.procs"));
    files.filter_map(|path| File::options().write(true).open(path).ok()).collect()
}

/// Ctrl-C is for the command, which ends or does not.
fn ignore_the_terminal() -> Result<()> {
    extern "C" fn nothing(_: i32) {}
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::SA_RESTART, SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGQUIT] {
        // SAFETY: the handler does nothing.
        unsafe { sigaction(signal, &action) }.context("cannot catch signals")?;
    }
    Ok(())
}

/// Becomes kubectl as administrator: the network is the lab's, everything else the user's, so
/// that standard input and files are where they are expected.
///
/// # Errors
/// When there is no kubectl, or the lab cannot be entered.
pub(super) fn kubectl(state: &State, words: &[OsString]) -> Result<u8> {
    require_root()?;
    let kubeconfig = state.path(KUBECONFIG);
    if !kubeconfig.exists() {
        bail!("the API server is not there yet; see: {} status", super::command());
    }
    let network = File::open(state.path("/proc/1/ns/net")).context("the cluster is going away")?;
    let own = state.path(&format!("{TOOLS}/kubectl"));
    let program = if own.exists() { own } else { PathBuf::from("kubectl") };
    setns(network, CloneFlags::CLONE_NEWNET).context("cannot enter the lab's network")?;
    let mut command = Command::new(&program);
    command.args(words).env("KUBECONFIG", kubeconfig);
    // What it remembers of this cluster goes with the cluster.
    command.env("KUBECACHEDIR", state.path("/tmp/kubectl"));
    let error = command.exec();
    Err(error).with_context(|| {
        format!("cannot start {}; build it: cargo xtask tools --cluster", program.display())
    })
}

/// Prints the administrator's kubeconfig.
///
/// # Errors
/// When there is none yet.
pub(super) fn kubeconfig(state: &State) -> Result<u8> {
    let path = state.path(KUBECONFIG);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    println!("{text}");
    Ok(0)
}
