//! What a user applies to a fresh cluster: a pod network, and the cluster's DNS.

use anyhow::Result;

use super::cluster::Cluster;
use super::configuration::DNS;
use super::flannel;
use super::options::Cni;
use crate::control_plane::{AGENT_ROLE, NAMESPACE};

/// The manifest of a pod network.
pub(super) struct NetworkManifest {
    /// What a person would call it.
    pub(super) title: &'static str,
    /// The manifest itself.
    pub(super) text: &'static str,
    /// Where its DaemonSet is.
    pub(super) namespace: &'static str,
    /// What its DaemonSet is called.
    pub(super) daemon_set: &'static str,
}

pub(super) fn manifest(cni: Cni) -> Option<NetworkManifest> {
    match cni {
        Cni::Tartan => Some(NetworkManifest {
            title: "deploy/kube-tartan.yml",
            text: AGENT_ROLE,
            namespace: NAMESPACE,
            daemon_set: "kube-tartan-ds",
        }),
        Cni::Flannel => Some(NetworkManifest {
            title: "flannel's manifest",
            text: flannel::MANIFEST,
            namespace: flannel::NAMESPACE,
            daemon_set: "kube-flannel-ds",
        }),
        Cni::None => None,
    }
}

const COREDNS: &str = include_str!("manifests/coredns.yaml");

/// CoreDNS, as kubeadm installs it, but without a way to the world's name servers.
pub(super) fn dns(cluster: &Cluster) -> Result<()> {
    cluster.apply(&COREDNS.replace("CLUSTER_DNS", DNS))
}
