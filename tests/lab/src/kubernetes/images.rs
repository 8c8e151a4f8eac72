//! Container images: archives that the lab finds under [`IMAGES`], imported on each node. Nothing
//! is ever pulled.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::paths::IMAGES;
use crate::scenario::skip;

/// The name of the product's image.
pub const PRODUCT: &str = concat!("ghcr.io/tartan-net/tartan:v", env!("CARGO_PKG_VERSION"));
/// The name of the image of the lab's own pods: a shell and small tools.
pub const TOOLBOX: &str = "tartan.test/toolbox:1";
/// The name of the image that holds a pod's namespaces.
pub(super) const PAUSE: &str = "registry.k8s.io/pause:3.10.2";

/// An archive, by its file name without `.tar`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Image(pub &'static str);

impl Image {
    /// What Kubernetes' own tests ask for beside what every cluster has.
    pub const E2E: [Self; 6] = [
        Self("agnhost"),
        Self("busybox"),
        Self("glibc-dns"),
        Self("nginx"),
        Self("nginx-new"),
        Self("regression-issue-74839"),
    ];

    /// The archive, as the lab and all its nodes see it.
    ///
    /// # Errors
    /// When it is not made: the error makes the scenario a skipped one, and says what to run.
    pub fn path(self) -> Result<PathBuf> {
        let path = Path::new(IMAGES).join(format!("{}.tar", self.0));
        if path.is_file() {
            return Ok(path);
        }
        Err(skip(format!("the image {} is not made; run: {}", self.0, self.maker())))
    }

    /// The command that makes it: Kubernetes' own tests need images that a cluster does not.
    fn maker(self) -> &'static str {
        if Self::E2E.contains(&self) { "cargo xtask images --e2e" } else { "cargo xtask images" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_image_names_the_command_that_makes_it() {
        assert_eq!(Image("pause").maker(), "cargo xtask images");
        assert_eq!(Image("nginx-new").maker(), "cargo xtask images --e2e");
    }
}
