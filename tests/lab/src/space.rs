//! The namespaces of one host of the lab, held by a process, and commands that join them.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use nix::sched::{CloneFlags, setns, unshare};

use crate::sandbox::myself;

/// Namespaces (network, mount, uts) of a node or of a plain host on the wire.
#[derive(Debug)]
pub(crate) struct Space {
    pub(crate) name: String,
    pub(crate) address: Ipv4Addr,
    holder: Child,
    net: File,
    mnt: File,
    uts: File,
}

impl Space {
    /// Makes the namespaces; `plain` leaves the mounts as the lab has them.
    pub(crate) fn new(name: &str, address: Ipv4Addr, plain: bool) -> Result<Self> {
        let mut holder = spawn_holder(name, plain)?;
        await_ready(&mut holder, name)?;
        let open = |kind: &str| {
            let path = format!("/proc/{}/ns/{kind}", holder.id());
            File::open(&path).with_context(|| format!("cannot open {path}"))
        };
        let (net, mnt, uts) = (open("net")?, open("mnt")?, open("uts")?);
        Ok(Self { name: name.to_owned(), address, holder, net, mnt, uts })
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

fn spawn_holder(name: &str, plain: bool) -> Result<Child> {
    let mut command = myself();
    command.arg("holder").arg(name);
    if plain {
        command.arg("--plain");
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let own = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS;
    // SAFETY: the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(move || Ok(unshare(own)?)) };
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
        let net = pod.as_deref().unwrap_or(&space.net);
        setns(net, CloneFlags::CLONE_NEWNET)?;
        setns(&space.uts, CloneFlags::CLONE_NEWUTS)?;
        setns(&space.mnt, CloneFlags::CLONE_NEWNS)?;
        Ok(())
    };
    // SAFETY: the closure makes three system calls on descriptors that it owns and allocates
    // nothing, so it is safe between fork and exec.
    unsafe { command.pre_exec(join) };
    command
}
