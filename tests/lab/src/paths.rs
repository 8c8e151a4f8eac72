//! The lab's own paths. They lie on one tmpfs that the lab and all its nodes see.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// The lab's tmpfs.
pub const LAB: &str = "/mnt";
/// The directory of this program and its siblings, wherever cargo built them.
pub const BINARIES: &str = "/mnt/bin";
/// The programs of [`go_tools`](crate::go_tools).
pub const TOOLS: &str = "/mnt/tools";
/// Archives of container images.
pub const IMAGES: &str = "/mnt/images";
/// Keys, kubeconfigs and the data of the control plane.
pub const CONTROL: &str = "/mnt/control";
/// The lease directory that all nodes share.
pub const LEASES: &str = "/mnt/leases";
/// One log per background process; shown when a scenario fails.
pub const LOGS: &str = "/mnt/logs";
/// What belongs to one node but is no path of a real node.
pub(crate) const NODES: &str = "/mnt/nodes";

/// What the lab makes on its tmpfs before anything else.
pub(crate) const DIRECTORIES: [&str; 7] = [BINARIES, TOOLS, IMAGES, CONTROL, LEASES, LOGS, NODES];

/// The product's binary of this name, as built beside this program.
///
/// # Errors
/// When it is not there: what to build.
pub fn binary(name: &str) -> Result<PathBuf> {
    let path = Path::new(BINARIES).join(name);
    if path.is_file() {
        return Ok(path);
    }
    bail!("{name} is not in the directory of tartan-lab; build everything first: cargo build")
}
