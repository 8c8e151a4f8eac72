//! The administrator's shell: the real kubectl.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};

use super::cluster::Cluster;
use crate::control_plane::User;
use crate::go_tools;
use crate::process::{Place as _, checked};
use crate::wire::Outside;

static MANIFESTS: AtomicU32 = AtomicU32::new(0);

impl Cluster {
    /// `kubectl` as the administrator, for arguments that hold blanks.
    ///
    /// # Errors
    /// When it is not built (a skip).
    pub fn kubectl_command(&self) -> Result<Command> {
        let mut command = Outside.command(&go_tools::path("kubectl")?.to_string_lossy());
        command.arg(format!("--kubeconfig={}", self.plane.kubeconfig(&User::admin())?));
        // Its cache of what the server offers.
        command.env("HOME", "/tmp");
        Ok(command)
    }

    /// A command line of kubectl (words separated by blanks, no quoting): what it printed.
    ///
    /// # Errors
    /// When it fails: what it said.
    pub fn kubectl(&self, line: &str) -> Result<String> {
        checked(self.kubectl_command()?.args(line.split_whitespace()))
    }

    /// Applies manifests.
    ///
    /// # Errors
    /// When the API server refuses one.
    pub fn apply(&self, text: &str) -> Result<()> {
        let file = manifest_file(text)?;
        self.kubectl(&format!("apply -f {file}")).map(drop)
    }

    /// Deletes what manifests describe, and waits until it is gone.
    ///
    /// # Errors
    /// When the API server refuses.
    pub fn delete(&self, text: &str) -> Result<()> {
        let file = manifest_file(text)?;
        self.kubectl(&format!("delete --ignore-not-found -f {file}")).map(drop)
    }

    /// Runs a shell script in a pod, by `kubectl exec`: what it printed.
    ///
    /// # Errors
    /// When it does not end with 0.
    pub fn exec(&self, namespace: &str, pod: &str, script: &str) -> Result<String> {
        self.exec_words(namespace, pod, &["sh", "-c", script])
    }

    /// As [`Cluster::exec`], for a pod without a shell.
    ///
    /// # Errors
    /// When it does not end with 0.
    pub fn exec_words(&self, namespace: &str, pod: &str, words: &[&str]) -> Result<String> {
        let mut command = self.kubectl_command()?;
        checked(command.args(["-n", namespace, "exec", pod, "--"]).args(words))
    }
}

/// A file of the lab's own /tmp.
fn manifest_file(text: &str) -> Result<String> {
    let number = MANIFESTS.fetch_add(1, Ordering::Relaxed);
    let path = format!("/tmp/manifest-{number}.yaml");
    fs::write(&path, text).with_context(|| format!("cannot write {path}"))?;
    Ok(path)
}
