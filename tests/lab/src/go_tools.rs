//! Programs written in Go that the lab runs as they are: Kubernetes' control plane, flannel, CNI
//! plugins. `cargo xtask tools` builds them; the lab shows them to every node under one path.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::paths::TOOLS;
use crate::scenario::skip;

/// The program of this name, as the lab and all its nodes see it.
///
/// # Errors
/// When it is not built: the error makes the scenario a skipped one, and says what to run.
pub fn path(name: &str) -> Result<PathBuf> {
    let path = Path::new(TOOLS).join(name);
    if path.is_file() {
        return Ok(path);
    }
    Err(skip(format!("the program {name} is not built; run: cargo xtask tools")))
}
