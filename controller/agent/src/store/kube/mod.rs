//! Leases as annotations of Node objects: the store of a Kubernetes cluster.
//!
//! The control plane assigns subnets (`spec.podCIDRs`); this store mirrors all Nodes, says what
//! the own Node holds, and keeps the own Node's annotations, condition and Events as they should
//! be. No call waits for the network: background tasks do, and
//! [`changed`](super::LeaseStore::changed) tells.
//!
//! | Module | Does |
//! |---|---|
//! | `config` | where the API server is, by flannel's rules |
//! | `transport` | requests with time limits over connections that do not die unnoticed |
//! | `request`, `lines` | HTTP's side of lists, watches and patches |
//! | `driver` | does what [`tartan_core::reflector`] decides |
//! | `shared` | what the tasks know in common |
//! | `view` | from mirrored Nodes to leases |
//! | `publish`, `announce`, `events` | what is written to the API |
//! | `contact` | what is told of failures |
//! | `pod` | the node's name, from the agent's own Pod |

mod announce;
mod config;
mod contact;
mod driver;
mod events;
mod lines;
mod pod;
mod publish;
mod request;
mod shared;
#[cfg(test)]
mod tests;
mod transport;
mod view;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};
use tartan_core::annotations::AnnotationPrefix;
use tartan_core::reflector::ReflectorConfig;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

use self::config::Access;
pub use self::pod::node_name_of_pod;
use self::shared::Shared;
use self::transport::Transport;
use super::{LeaseRequest, LeaseStore, Notice, OwnLeases, Snapshot, Standing, StoreError, Wishes};

/// How to reach the API server, and what to do there.
#[derive(Debug, Clone)]
pub struct KubeOptions {
    /// The API server's address, before that of the file: `--kube-api-url`.
    pub api_url: Option<String>,
    /// The client's configuration: `--kubeconfig-file`. Without both, that of the Pod.
    pub kubeconfig: Option<PathBuf>,
    /// The own Node's name.
    pub node_name: String,
    /// What stands before the annotations' names.
    pub prefix: AnnotationPrefix,
    /// The IPv4 pod network, where IPv4 is on.
    pub network: Option<Ipv4Net>,
    /// The IPv6 pod network, where IPv6 is on.
    pub ipv6_network: Option<Ipv6Net>,
    /// Whether the Node's condition NetworkUnavailable is ours to clear.
    pub set_node_network_unavailable: bool,
    /// All times.
    pub timing: Timing,
}

/// Every time that the store goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// For an answer from its request to its end; for a watch, until it is open.
    pub request: Duration,
    /// Between two HTTP/2 pings, and until the first TCP keep-alive.
    pub ping_interval: Duration,
    /// For the answer to a ping.
    pub ping_timeout: Duration,
    /// How long a watch is asked for; up to twice this, different for each node.
    pub watch_lifetime: Duration,
    /// Failures that last longer are told as trouble.
    pub trouble_after: Duration,
    /// An Event that was sent is not sent again for this long.
    pub event_repeat: Duration,
    /// Between two Events.
    pub event_spacing: Duration,
    /// Lists, watches and their pauses. Patches and Events use the same pauses.
    pub reflector: ReflectorConfig,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            request: Duration::from_secs(15),
            ping_interval: Duration::from_secs(10),
            ping_timeout: Duration::from_secs(10),
            watch_lifetime: Duration::from_mins(5),
            trouble_after: Duration::from_secs(10),
            event_repeat: Duration::from_mins(10),
            event_spacing: Duration::from_secs(1),
            reflector: ReflectorConfig::default(),
        }
    }
}

/// The Nodes of a cluster as a store of leases. Dropping it ends its tasks.
pub struct KubeStore {
    shared: Arc<Shared>,
    changed: Mutex<watch::Receiver<u64>>,
    tasks: Vec<JoinHandle<()>>,
}

impl KubeStore {
    /// Starts to mirror the cluster. To be called within a tokio runtime; no network is needed.
    ///
    /// # Errors
    /// [`StoreError::KubeConfig`]: what is wrong with the configuration, never with the network.
    pub fn start(options: KubeOptions) -> Result<Self, StoreError> {
        let transport = transport(&options)?;
        let shared = Arc::new(Shared::new(options, transport));
        let changed = Mutex::new(shared.subscribe_changes());
        let tasks = vec![
            tokio::spawn(driver::run(Arc::clone(&shared))),
            tokio::spawn(publish::run(Arc::clone(&shared))),
            tokio::spawn(announce::run(Arc::clone(&shared))),
            tokio::spawn(events::run(Arc::clone(&shared))),
        ];
        Ok(Self { shared, changed, tasks })
    }
}

fn transport(options: &KubeOptions) -> Result<Transport, StoreError> {
    let access = Access::new(options)?;
    Transport::new(access, options.timing)
        .map_err(|what| StoreError::KubeConfig(format!("unable to initialize client: {what}")))
}

impl LeaseStore for KubeStore {
    async fn hold(
        &self,
        request: &LeaseRequest,
        _held: Option<&OwnLeases>,
    ) -> Result<OwnLeases, StoreError> {
        self.shared.hold(request)
    }

    async fn renew(&self, _held: &OwnLeases) -> Result<(), StoreError> {
        Ok(())
    }

    async fn list(&self) -> Result<Snapshot, StoreError> {
        self.shared.snapshot()
    }

    async fn changed(&self) {
        // The sender lives as long as the store does.
        let _ = self.changed.lock().await.changed().await;
    }

    async fn wishes(&self, _node_name: &str) -> Result<Wishes, StoreError> {
        self.shared.wishes()
    }

    fn standing(&self) -> Standing {
        self.shared.standing()
    }

    fn announce_ready(&self) {
        self.shared.announce_ready();
    }

    fn tell(&self, notice: Notice) {
        self.shared.outbox.put(notice);
    }

    fn describe(&self) -> String {
        format!("Kubernetes API at {}", self.shared.transport.server())
    }
}

impl Drop for KubeStore {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl fmt::Debug for KubeStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("KubeStore")
            .field("server", self.shared.transport.server())
            .finish_non_exhaustive()
    }
}
