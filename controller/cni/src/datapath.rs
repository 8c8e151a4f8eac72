//! What the plugin needs from the node's eBPF data path.
//!
//! A trait, so that the protocol, the wiring and the undoing are tested
//! without programs; [`Pinned`] is the one the binary uses.

use std::net::IpAddr;

use tartan_common::abi::{FastPath, NodeConfig, PodEntry};
use tartan_datapath::{Config, Pods, Pods6};

use crate::error::{CniError, Code};

/// The data path could not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatapathError {
    /// Nothing is pinned: the agent has not run since boot.
    #[error("tartand has not set up this node's data path since boot: {0}")]
    NotReady(String),
    /// Something is pinned but refused to work.
    #[error("{0}")]
    Failed(String),
}

impl From<DatapathError> for CniError {
    fn from(error: DatapathError) -> Self {
        let code = match error {
            DatapathError::NotReady(_) => Code::TryAgain,
            DatapathError::Failed(_) => Code::Internal,
        };
        Self::new(code, error.to_string()).hint("start tartand / see `tartanctl status`")
    }
}

/// The pods' map and the programs at their veths.
pub trait Datapath {
    /// Fails unless pods can be attached.
    ///
    /// # Errors
    ///
    /// [`DatapathError::NotReady`] where nothing is pinned.
    fn ready(&mut self) -> Result<(), DatapathError>;

    /// Whether flows may skip the host's conntrack.
    fn skips_conntrack(&mut self) -> bool;

    /// Whether packets to other nodes may have to fit into a tunnel over IPv6. It is so unless the
    /// data path says otherwise: that there is no tunnel, or that this node's is over IPv4 alone.
    fn tunnels_over_ipv6(&mut self) -> bool;

    /// The entry of an address.
    ///
    /// # Errors
    ///
    /// [`DatapathError`].
    fn pod(&mut self, ip: IpAddr) -> Result<Option<PodEntry>, DatapathError>;

    /// Adds or replaces the entry of an address.
    ///
    /// # Errors
    ///
    /// [`DatapathError`].
    fn insert_pod(&mut self, ip: IpAddr, entry: PodEntry) -> Result<(), DatapathError>;

    /// Removes the entry of an address; an absent one is fine.
    ///
    /// # Errors
    ///
    /// [`DatapathError`].
    fn remove_pod(&mut self, ip: IpAddr) -> Result<(), DatapathError>;

    /// Attaches both programs to the host's end of a veth and pins the links.
    ///
    /// # Errors
    ///
    /// [`DatapathError`].
    fn attach(&mut self, host_veth: &str) -> Result<(), DatapathError>;

    /// Attaches both programs at once, for the agent to attach them lastingly later. Says whether
    /// it could.
    ///
    /// # Errors
    ///
    /// [`DatapathError`].
    fn attach_provisionally(&mut self, host_veth: &str) -> Result<bool, DatapathError>;

    /// Notes beside the pins that the pod asks for the host stack, in case its entry gets lost.
    ///
    /// # Errors
    ///
    /// [`DatapathError`].
    fn remember_wish(&mut self, host_veth: &str) -> Result<(), DatapathError>;

    /// Removes both pins; absent ones are fine.
    ///
    /// # Errors
    ///
    /// [`DatapathError`].
    fn detach(&mut self, host_veth: &str) -> Result<(), DatapathError>;

    /// Whether both programs are attached.
    ///
    /// # Errors
    ///
    /// [`DatapathError`].
    fn attached(&mut self, host_veth: &str) -> Result<bool, DatapathError>;
}

/// The agent's pins; a map is opened when it is first needed.
#[derive(Default)]
pub struct Pinned(Option<Pods>, Option<Pods6>);

impl Pinned {
    fn pods(&mut self) -> Result<&mut Pods, DatapathError> {
        if self.0.is_none() {
            self.0 = Some(Pods::open()?);
        }
        self.0.as_mut().ok_or_else(not_open)
    }

    fn pods6(&mut self) -> Result<&mut Pods6, DatapathError> {
        if self.1.is_none() {
            self.1 = Some(Pods6::open()?);
        }
        self.1.as_mut().ok_or_else(not_open)
    }
}

fn not_open() -> DatapathError {
    DatapathError::Failed("the pods' map is not open".into())
}

impl Datapath for Pinned {
    fn ready(&mut self) -> Result<(), DatapathError> {
        self.pods().map(|_| ())
    }

    fn skips_conntrack(&mut self) -> bool {
        let config = Config::open().and_then(|config| config.get());
        config.is_ok_and(|config| config.is_some_and(|it| it.fast_path() != FastPath::Off))
    }

    fn tunnels_over_ipv6(&mut self) -> bool {
        let config = Config::open().and_then(|config| config.get());
        let is_over_ipv4 =
            |it: &NodeConfig| it.ipv6.is_configured() && it.ipv6.node.is_unspecified();
        !config.is_ok_and(|config| config.is_some_and(|it| !it.has_tunnel() || is_over_ipv4(&it)))
    }

    fn pod(&mut self, ip: IpAddr) -> Result<Option<PodEntry>, DatapathError> {
        Ok(match ip {
            IpAddr::V4(ip) => self.pods()?.get(ip)?,
            IpAddr::V6(ip) => self.pods6()?.get(ip)?,
        })
    }

    fn insert_pod(&mut self, ip: IpAddr, entry: PodEntry) -> Result<(), DatapathError> {
        match ip {
            IpAddr::V4(ip) => self.pods()?.insert(ip, &entry)?,
            IpAddr::V6(ip) => self.pods6()?.insert(ip, &entry)?,
        }
        Ok(())
    }

    fn remove_pod(&mut self, ip: IpAddr) -> Result<(), DatapathError> {
        match ip {
            IpAddr::V4(ip) => self.pods()?.remove(ip)?,
            IpAddr::V6(ip) => self.pods6()?.remove(ip)?,
        };
        Ok(())
    }

    fn attach(&mut self, host_veth: &str) -> Result<(), DatapathError> {
        Ok(tartan_datapath::attach_pod(host_veth)?)
    }

    fn attach_provisionally(&mut self, host_veth: &str) -> Result<bool, DatapathError> {
        Ok(tartan_datapath::attach_pod_provisionally(host_veth)?)
    }

    fn remember_wish(&mut self, host_veth: &str) -> Result<(), DatapathError> {
        Ok(tartan_datapath::remember_pod_wish(host_veth)?)
    }

    fn detach(&mut self, host_veth: &str) -> Result<(), DatapathError> {
        Ok(tartan_datapath::detach_pod(host_veth)?)
    }

    fn attached(&mut self, host_veth: &str) -> Result<bool, DatapathError> {
        Ok(tartan_datapath::pod_attached(host_veth)?)
    }
}

impl From<tartan_datapath::DatapathError> for DatapathError {
    fn from(error: tartan_datapath::DatapathError) -> Self {
        use tartan_datapath::DatapathError as Kernel;
        match error {
            Kernel::NotSetUp(pin) => Self::NotReady(format!("{} is missing", pin.display())),
            Kernel::NotBpffs(_) => Self::NotReady(error.to_string()),
            Kernel::Permission { .. }
            | Kernel::NeedsPerfmon { .. }
            | Kernel::KernelTooOld { .. }
            | Kernel::KernelLacks { .. }
            | Kernel::Layout { .. }
            | Kernel::Io { .. }
            | Kernel::Full { .. }
            | Kernel::Kernel { .. } => Self::Failed(error.to_string()),
        }
    }
}
