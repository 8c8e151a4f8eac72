//! A real cluster: kubelet, containerd and kube-proxy on every node, a whole control plane, a pod
//! network installed as a user installs it.
//!
//! [`Cluster::up`] starts from nothing; [`Cluster::kubectl`] is the administrator's shell. A node
//! is a [`KubeletNode`]: a machine of its own as far as its programs can tell (network, mounts,
//! host name, control groups, disks), whose parts can be killed, restarted and rebooted.

mod cluster;
mod configuration;
mod daemon;
mod flannel;
mod images;
mod install;
mod kubectl;
mod machine;
mod options;
mod places;
mod steps;
mod toolbox;
mod usage;
mod waits;

pub use self::cluster::Cluster;
pub use self::daemon::Daemon;
pub use self::images::{Image, PRODUCT, TOOLBOX};
pub use self::machine::KubeletNode;
pub use self::options::{Cni, Options};
pub use self::places::{PodPlace, PodView};
pub use self::steps::{Step, Steps};
pub use self::usage::{ProcessUsage, at_rest, table};
