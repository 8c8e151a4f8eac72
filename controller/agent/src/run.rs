//! The agent's life: start, reconcile until told to stop, leave everything
//! as it is.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tartan_common::Mac;
use tartan_core::alloc::{Claimant, own_lease};
use tartan_core::state::LOCK_FILE;
use tartan_core::subnet_env::previous_subnet;
use tartan_core::{Lease, VxlanData};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{error, info, warn};

use crate::host::{Events, Host};
use crate::node::Node;
use crate::settings::Settings;
use crate::store::{LeaseRequest, LeaseStore};
use crate::{lock, preflight};

/// Events come in swarms: the pass starts when they have been quiet this
/// long, or after [`SETTLE_AT_MOST`].
const SETTLE: Duration = Duration::from_millis(20);
const SETTLE_AT_MOST: Duration = Duration::from_millis(200);
/// Far more often than a lease expires (a day): several renewals may fail.
const RENEW_EVERY: Duration = Duration::from_hours(1);
/// First and longest pause after a pass that failed.
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_LONGEST: Duration = Duration::from_secs(5);

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// What keeps the agent from starting. Once it runs, it retries.
pub async fn run<S: LeaseStore>(settings: Settings, store: S) -> Result<()> {
    let _lock = lock::take(Path::new(LOCK_FILE))?;
    preflight::privileges()?;
    tartan_datapath::pins::require_bpffs()?;
    let mut stop = Stop::new()?;
    let mut events = Events::listen()?;
    let host = Host::connect()?;
    let own = acquire(&settings, &host, &store).await?;
    info!(subnet = %own.subnet.net(), public_ip = %own.public_ip, "holding the lease");
    let mut node = Node::new(settings, host, store, own);
    node.reconcile().await?;
    info!("ready");
    follow(&mut node, &mut events, &mut stop).await;
    info!("Exiting cleanly: forwarding goes on without the agent");
    Ok(())
}

async fn acquire<S: LeaseStore>(settings: &Settings, host: &Host, store: &S) -> Result<Lease> {
    let uplink = host.uplink(&settings.uplink).await?;
    info!(interface = uplink.name, address = %uplink.address, mtu = %uplink.mtu, "using the uplink");
    let port = settings.conf.backend.port;
    let existing = host.overlay_mac(&settings.overlay_name(), port).await?;
    if existing.is_none() {
        preflight::port_is_free(port)?;
    }
    let claimant = Claimant {
        node_name: &settings.node_name,
        public_ip: uplink.public_ip,
        previous: previous_subnet(&settings.subnet_file),
    };
    let snapshot = store.list().await?;
    let published = own_lease(claimant, &snapshot.leases)
        .or_else(|| snapshot.of_node(&settings.node_name))
        .and_then(Lease::vtep_mac);
    let vtep_mac = match existing.or(published) {
        Some(mac) => mac,
        None => random_mac()?,
    };
    let request = LeaseRequest {
        node_name: settings.node_name.clone(),
        public_ip: uplink.public_ip,
        previous: claimant.previous,
        pool: settings.conf.pool,
        backend: VxlanData { vni: Some(settings.conf.backend.vni), vtep_mac },
    };
    Ok(store.acquire(&request).await?)
}

/// A random locally administered address, as the kernel would give the device.
fn random_mac() -> Result<Mac> {
    use std::io::Read as _;
    let mut bytes = [0; 6];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("cannot read /dev/urandom")?;
    Ok(Mac::local(bytes))
}

async fn follow<S: LeaseStore>(node: &mut Node<S>, events: &mut Events, stop: &mut Stop) {
    let mut retry = RETRY_FIRST;
    let mut renew_at = Instant::now() + RENEW_EVERY;
    let mut next = Instant::now() + node.next_look();
    loop {
        tokio::select! {
            () = stop.asked() => return,
            () = events.changed() => settle(events).await,
            () = node.store().changed() => {}
            () = sleep_until(next) => {}
            () = sleep_until(renew_at) => {
                renew(node).await;
                renew_at = Instant::now() + RENEW_EVERY;
                continue;
            }
        }
        match node.reconcile().await {
            Ok(()) => {
                retry = RETRY_FIRST;
                next = Instant::now() + node.next_look();
            }
            Err(problem) => {
                let problem = format!("{problem:#}");
                error!(problem, retry_in = ?retry, "cannot bring the node in order");
                node.report_problem(&problem);
                next = Instant::now() + retry;
                retry = (retry * 2).min(RETRY_LONGEST);
                // Events that the failed pass itself caused must not make this a busy loop.
                sleep(RETRY_FIRST).await;
            }
        }
    }
}

async fn settle(events: &mut Events) {
    let _ =
        timeout(SETTLE_AT_MOST, async { while timeout(SETTLE, events.changed()).await.is_ok() {} })
            .await;
}

async fn renew<S: LeaseStore>(node: &Node<S>) {
    if let Err(error) = node.store().renew(node.own()).await {
        warn!(%error, "cannot renew the lease; trying again");
    }
}

/// SIGTERM and SIGINT.
struct Stop {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Stop {
    fn new() -> Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
