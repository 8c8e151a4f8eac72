//! The configuration of containerd and of the kubelet: upstream's defaults, but for what a machine
//! without systemd, without an image host and without the right to raise limits needs.

use serde_json::{Value, json};

use super::images::PAUSE;
use crate::wire::GATEWAY;

/// Where containerd's configuration lies on a node.
pub(super) const CONTAINERD: &str = "/etc/containerd/config.toml";
/// Where the kubelet's lies.
pub(super) const KUBELET: &str = "/etc/kubernetes/kubelet.json";
/// What pods with the node's own DNS settings get; it answers nothing.
pub(super) const RESOLV_CONF: &str = "/etc/kubernetes/resolv.conf";
/// The address of the cluster's DNS.
pub(super) const DNS: &str = "10.96.0.10";
/// The runtime's socket.
pub(super) const SOCKET: &str = "/run/containerd/containerd.sock";

/// A process may not lower its out-of-memory score here, and AppArmor is not everywhere.
pub(super) fn containerd() -> String {
    format!(
        "version = 3
root = \"/var/lib/containerd\"
state = \"/run/containerd\"
[grpc]
  address = \"{SOCKET}\"
[plugins.'io.containerd.cri.v1.images']
  snapshotter = \"overlayfs\"
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = \"{PAUSE}\"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  disable_apparmor = true
  tolerate_missing_hugetlb_controller = true
  disable_hugetlb_controller = true
  netns_mounts_under_state_dir = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = [\"/opt/cni/bin\"]
    conf_dir = \"/etc/cni/net.d\"
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = \"io.containerd.runc.v2\"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      SystemdCgroup = false
"
    )
}

pub(super) fn kubelet() -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": format!("unix://{SOCKET}"),
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": false,
        "failSwapOn": false,
        "oomScoreAdj": 0,
        "maxOpenFiles": 20000,
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
            "x509": { "clientCAFile": "/mnt/control/ca.crt" },
        },
        "authorization": { "mode": "Webhook" },
        "clusterDNS": [DNS],
        "clusterDomain": "cluster.local",
        "resolvConf": RESOLV_CONF,
        "volumePluginDir": "/var/lib/kubelet/volumeplugins",
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "nodefs.available": "0%",
            "nodefs.inodesFree": "0%",
            "imagefs.available": "0%",
            "memory.available": "50Mi",
        },
        "maxPods": 250,
        "syncFrequency": "10s",
        "nodeStatusUpdateFrequency": "4s",
    })
}

/// Names that the nodes' own files answer.
pub(super) fn hosts(node: &str) -> String {
    format!("127.0.0.1 localhost\n{GATEWAY} lab\n127.0.1.1 {node}\n")
}
