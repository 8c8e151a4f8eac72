//! A real control plane beside the nodes: etcd, one or two API servers, the controller manager.
//!
//! It listens on the lab's own address on the wire, authorises as a cluster does (Node, RBAC,
//! NodeRestriction) and knows its users by static tokens. It starts from nothing within seconds
//! and dies with the lab; its keys exist for one run only.

mod command_lines;
mod faults;
mod identity;
mod options;
mod pki;
mod program;
mod rbac;

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use self::pki::Authority;
use self::program::Program;
use crate::api::{Access, Client};
use crate::ipv6::{GATEWAY6, plug_outside6};
use crate::lab::Lab;
use crate::paths::CONTROL;
use crate::process::eventually;
use crate::wire::GATEWAY;

pub use self::command_lines::etcd_address;
pub use self::faults::BlackHole;
pub use self::identity::User;
pub use self::options::{Network, Options};
pub use self::rbac::{AGENT_ROLE, NAMESPACE};

/// Port of the first API server; the second has the next one.
pub const API_PORT: u16 = 6443;

/// How long an API server may take to say that it is ready.
const START: Duration = Duration::from_secs(30);

/// A running control plane; killed when dropped.
#[derive(Debug)]
pub struct ControlPlane {
    etcd: Program,
    api_servers: Vec<Program>,
    controller_manager: Option<Program>,
    scheduler: Option<Program>,
    authority: Authority,
    admin: Client,
    pod_ranges: String,
    /// Where nodes find the API servers.
    address: IpAddr,
    started_in: Duration,
}

impl ControlPlane {
    /// Starts what the options ask for, waits until every API server is ready, and gives the
    /// agents their rights. The lab must be there: its wire carries the server's address.
    ///
    /// # Errors
    /// When a program is not built (a skip), ends, or is not ready in time.
    pub fn start(_lab: &Lab, options: &Options) -> Result<Self> {
        let start = Instant::now();
        forget_the_last_one()?;
        if options.is_ipv6_alone() {
            plug_outside6()?;
        }
        let authority = Authority::new()?;
        authority.write_files()?;
        identity::write_tokens(options)?;
        let etcd = Program::start("etcd", "etcd", command_lines::etcd(options.api_servers))?;
        let api_servers = (0..options.api_servers)
            .map(|index| api_server(index, options))
            .collect::<Result<_>>()?;
        let admin = Client::new(&access(&authority, &User::admin(), 0))?;
        let mut this = Self {
            etcd,
            api_servers,
            controller_manager: None,
            scheduler: None,
            authority,
            admin,
            pod_ranges: options.network.clone().unwrap_or_default().ranges(),
            address: if options.is_ipv6_alone() { GATEWAY6.into() } else { GATEWAY.into() },
            started_in: Duration::ZERO,
        };
        this.wait_ready()?;
        this.started_in = start.elapsed();
        if options.kubelets {
            this.trust_the_api_server()?;
            this.start_scheduler()?;
        } else {
            this.grant(AGENT_ROLE)?;
        }
        this.start_controllers(options)?;
        Ok(this)
    }

    fn start_controllers(&mut self, options: &Options) -> Result<()> {
        let Some(network) = &options.network else { return Ok(()) };
        let kubeconfig = self.kubeconfig(&User::controller_manager())?;
        let line = command_lines::controller_manager(options, network, &kubeconfig);
        let name = "kube-controller-manager";
        self.controller_manager = Some(Program::start(name, name, line)?);
        Ok(())
    }

    fn start_scheduler(&mut self) -> Result<()> {
        let kubeconfig = self.kubeconfig(&User::scheduler())?;
        let name = "kube-scheduler";
        self.scheduler = Some(Program::start(name, name, command_lines::scheduler(&kubeconfig))?);
        Ok(())
    }

    /// How long the API servers took, from the start of etcd to ready.
    #[must_use]
    pub fn started_in(&self) -> Duration {
        self.started_in
    }

    /// The administrator, at the first API server.
    #[must_use]
    pub fn admin(&self) -> &Client {
        &self.admin
    }

    /// The pod network's ranges, as kube-proxy's `clusterCIDR` lists them.
    #[must_use]
    pub fn pod_ranges(&self) -> &str {
        &self.pod_ranges
    }

    /// A user at the first API server.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn client(&self, user: &User) -> Result<Client> {
        self.client_at(0, user)
    }

    /// A user at the API server with this index.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn client_at(&self, index: u16, user: &User) -> Result<Client> {
        Client::new(&self.access(index, user))
    }

    /// A user's way to the API server with this index.
    #[must_use]
    pub fn access(&self, index: u16, user: &User) -> Access {
        access(&self.authority, user, index)
    }

    /// Writes a kubeconfig of this user for the first API server: its path, the same in the lab
    /// and on every node.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn kubeconfig(&self, user: &User) -> Result<String> {
        self.kubeconfig_at(0, user)
    }

    /// As [`ControlPlane::kubeconfig`], for the API server with this index.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn kubeconfig_at(&self, index: u16, user: &User) -> Result<String> {
        let url = url(self.address, index);
        identity::write_kubeconfig(&Access { url, ..self.access(index, user) }, user, index)
    }

    /// Waits until every API server says that it is ready.
    ///
    /// # Errors
    /// When one has ended, or is not ready within 30 s.
    pub fn wait_ready(&mut self) -> Result<()> {
        for index in 0..self.api_servers.len() {
            let user = User::admin();
            let client = self.client_at(u16::try_from(index)?, &user)?;
            let Self { etcd, api_servers, .. } = self;
            let mut gate = || {
                etcd.still_runs()?;
                api_servers[index].still_runs()
            };
            wait_ready(&client, &mut gate)?;
        }
        Ok(())
    }
}

/// Asks `/readyz` until it says ok; an error of `gate` ends the waiting at once.
fn wait_ready(client: &Client, gate: &mut dyn FnMut() -> Result<()>) -> Result<()> {
    let mut ended = None;
    let client = client.clone().with_patience(Duration::from_secs(2));
    eventually("the API server is ready", START, || {
        ended = gate().err();
        Ok(ended.is_some() || is_ready(&client))
    })?;
    match ended {
        None => Ok(()),
        Some(error) => Err(error),
    }
}

/// A second control plane of one lab starts from nothing as well.
fn forget_the_last_one() -> Result<()> {
    fs::remove_dir_all(CONTROL)?;
    fs::create_dir(CONTROL).with_context(|| format!("cannot make {CONTROL}"))
}

fn is_ready(client: &Client) -> bool {
    client.get("/readyz").is_ok_and(|body| body == "ok")
}

fn api_server(index: u16, options: &Options) -> Result<Program> {
    let log = format!("kube-apiserver-{index}");
    Program::start(&log, "kube-apiserver", command_lines::api_server(index, options))
}

fn url(address: IpAddr, index: u16) -> String {
    format!("https://{}", SocketAddr::new(address, API_PORT + index))
}

fn access(authority: &Authority, user: &User, index: u16) -> Access {
    Access {
        url: url(GATEWAY.into(), index),
        authority: authority.certificate().to_vec(),
        token: user.token(),
    }
}
