//! A recipe: what one image is called and what is in it.

use crate::tools::Set;

/// One image.
#[derive(Debug)]
pub(crate) struct Recipe {
    /// The archive's name, without its ending.
    pub(crate) file: &'static str,
    /// The image's name and tag: what manifests ask for.
    pub(crate) name: &'static str,
    /// What it is first needed for.
    pub(crate) set: Set,
    /// What a pod runs before the words of its own, where it names no other program.
    pub(crate) entrypoint: &'static [&'static str],
    /// What a pod without words of its own runs.
    pub(crate) run: &'static [&'static str],
    /// In this order: a later part sees what an earlier one brought.
    pub(crate) parts: &'static [Part],
}

/// Something in an image. Paths inside the image have no leading slash.
#[derive(Debug)]
pub(crate) enum Part {
    /// Debian packages with all that they depend on, without their documentation.
    Packages(&'static [&'static str]),
    /// One static program of a Debian package, and nothing else of it.
    Program { package: &'static str, from: &'static str, at: &'static str },
    /// A program of `cargo xtask tools`.
    Tool { name: &'static str, at: &'static str },
    /// Links to the busybox in this folder, one for each of its applets that the folder lacks.
    Applets { folder: &'static str },
    /// A symbolic link.
    Link { at: &'static str, to: &'static str },
    /// An empty folder.
    Folder(&'static str),
    /// `localhost.crt` and `localhost.key` in the root: a certificate that nobody trusts.
    Certificate,
}
