//! The network namespace that has an address: a pod's, or the node's own.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::IpAddr;
use std::os::linux::fs::MetadataExt as _;
use std::path::PathBuf;
use std::thread;

use anyhow::{Context as _, Result, bail};
use nix::ifaddrs::getifaddrs;
use nix::sched::{CloneFlags, setns};

/// Does `work` in the namespace that has the address.
pub(super) fn with_address(
    address: IpAddr,
    work: impl Fn() -> Result<()> + Send + Sync,
) -> Result<()> {
    let mut met = BTreeSet::new();
    for path in candidates() {
        // Processes come and go while this looks at them.
        let Ok(file) = File::open(&path) else { continue };
        let Ok(meta) = file.metadata() else { continue };
        if met.insert((meta.st_dev(), meta.st_ino())) && inside(&file, address, &work)? {
            return Ok(());
        }
    }
    bail!(
        "no network namespace of this node has the address {address}: run this on the node of \
         that pod, as root and where the node's processes are seen (not in a container)"
    )
}

/// This process's own first, then those that container runtimes keep, then everybody's.
fn candidates() -> Vec<PathBuf> {
    let mut paths = vec![PathBuf::from("/proc/thread-self/ns/net")];
    let entries = |dir: &str| {
        fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect::<Vec<_>>()
    };
    paths.extend(entries("/run/netns"));
    paths.extend(entries("/proc").into_iter().map(|process| process.join("ns/net")));
    paths
}

/// Does the work if the namespace has the address. A thread goes there, for it does not come back.
fn inside(
    namespace: &File,
    address: IpAddr,
    work: &(impl Fn() -> Result<()> + Send + Sync),
) -> Result<bool> {
    let there = || -> Result<bool> {
        setns(namespace, CloneFlags::CLONE_NEWNET)
            .context("cannot enter a network namespace: run this as root on the node")?;
        let has_it = getifaddrs()?.any(|interface| {
            interface.address.is_some_and(|storage| {
                let v4 = storage.as_sockaddr_in().map(|a| IpAddr::from(a.ip()));
                v4.or_else(|| storage.as_sockaddr_in6().map(|a| a.ip().into())) == Some(address)
            })
        });
        if has_it {
            work()?;
        }
        Ok(has_it)
    };
    match thread::scope(|scope| scope.spawn(there).join()) {
        Ok(done) => done,
        Err(_) => bail!("the thread that entered a network namespace failed"),
    }
}
