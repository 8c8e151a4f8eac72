//! The namespaces of one host of the lab, held by a process, and commands that join them.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum as _;
use clap::builder::PossibleValue;
use nix::sched::{CloneFlags, setns, unshare};

use crate::cgroups::{Doors, NodeGroups};
use crate::holder::Kind;
use crate::sandbox::myself;

type Namespace = (&'static str, CloneFlags);

const NET: Namespace = ("net", CloneFlags::CLONE_NEWNET);
const MNT: Namespace = ("mnt", CloneFlags::CLONE_NEWNS);
const UTS: Namespace = ("uts", CloneFlags::CLONE_NEWUTS);
const IPC: Namespace = ("ipc", CloneFlags::CLONE_NEWIPC);
const CGROUP: Namespace = ("cgroup", CloneFlags::CLONE_NEWCGROUP);

/// Namespaces (network, mount, uts; ipc and cgroup where there is a kubelet) of a node or of a
/// plain host on the wire.
#[derive(Debug)]
pub(crate) struct Space {
    pub(crate) name: String,
    pub(crate) address: Ipv4Addr,
    holder: Child,
    net: File,
    others: Vec<(File, CloneFlags)>,
    groups: Option<(NodeGroups, Doors)>,
}

impl Space {
    /// Makes the namespaces, and the control groups of a node with a kubelet.
    pub(crate) fn new(name: &str, address: Ipv4Addr, kind: Kind) -> Result<Self> {
        let groups = match kind {
            Kind::Outsider | Kind::Node => None,
            Kind::Kubelet => {
                let groups = NodeGroups::make(name)?;
                let doors = groups.doors()?;
                Some((groups, doors))
            }
        };
        let doors = groups.as_ref().map(|(_, doors)| doors.clone());
        let mut holder = spawn_holder(name, kind, doors)?;
        await_ready(&mut holder, name)?;
        let open = |(kind, flag): (&str, CloneFlags)| {
            let path = format!("/proc/{}/ns/{kind}", holder.id());
            Ok((File::open(&path).with_context(|| format!("cannot open {path}"))?, flag))
        };
        let (net, _) = open(NET)?;
        // A process joins the mounts last: they may hide what the others are found by.
        let own: &[_] = if groups.is_some() { &[UTS, IPC, CGROUP, MNT] } else { &[UTS, MNT] };
        let others = own.iter().copied().map(open).collect::<Result<_>>()?;
        Ok(Self { name: name.to_owned(), address, holder, net, others, groups })
    }

    /// The control groups of a node with a kubelet.
    pub(crate) fn groups(&self) -> Option<&NodeGroups> {
        self.groups.as_ref().map(|(groups, _)| groups)
    }

    /// The holder's process id: `ip link ... netns PID` takes it.
    pub(crate) fn pid(&self) -> u32 {
        self.holder.id()
    }

    /// A path of this host, as the lab's own process can open it.
    pub(crate) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        let inner = path.strip_prefix("/").unwrap_or(path);
        Path::new(&format!("/proc/{}/root", self.pid())).join(inner)
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        // It may be gone already, and nothing depends on its end.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn spawn_holder(name: &str, kind: Kind, doors: Option<Doors>) -> Result<Child> {
    let mut command = myself();
    command.arg("holder").arg(name);
    command.args(kind.to_possible_value().iter().map(PossibleValue::get_name));
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let own: &[_] = match kind {
        Kind::Outsider | Kind::Node => &[NET, MNT, UTS],
        Kind::Kubelet => &[NET, MNT, UTS, IPC, CGROUP],
    };
    let own = own.iter().fold(CloneFlags::empty(), |all, (_, flag)| all | *flag);
    let enter = move || {
        doors.iter().try_for_each(Doors::enter)?;
        Ok(unshare(own)?)
    };
    // SAFETY: the closure writes to files that it owns, makes one system call and allocates
    // nothing.
    unsafe { command.pre_exec(enter) };
    command.spawn().with_context(|| format!("cannot start the holder of {name}"))
}

fn await_ready(holder: &mut Child, name: &str) -> Result<()> {
    let stdout = holder.stdout.take().context("the holder has no output")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    if line.trim() == "ready" {
        return Ok(());
    }
    bail!("the holder of {name} failed; its reason is above")
}

/// A command that joins the host's namespaces, and `pod` instead of its network namespace.
pub(crate) fn command_in(space: &Arc<Space>, pod: Option<&Arc<File>>, program: &str) -> Command {
    let mut command = Command::new(program);
    let (space, pod) = (Arc::clone(space), pod.cloned());
    let join = move || {
        space.groups.iter().try_for_each(|(_, doors)| doors.enter())?;
        let net = pod.as_deref().unwrap_or(&space.net);
        setns(net, CloneFlags::CLONE_NEWNET)?;
        space.others.iter().try_for_each(|(namespace, flag)| setns(namespace, *flag))?;
        Ok(())
    };
    // SAFETY: the closure makes system calls on descriptors that it owns and allocates nothing,
    // so it is safe between fork and exec.
    unsafe { command.pre_exec(join) };
    command
}
