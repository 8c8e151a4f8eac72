//! flannel as its own DaemonSet installs it, with its real chain of plugins.

/// The namespace of flannel's DaemonSet.
pub(super) const NAMESPACE: &str = "kube-flannel";

/// Objects of the same names and meaning as those that flannel publishes.
pub(super) const MANIFEST: &str = include_str!("manifests/flannel.yaml");
