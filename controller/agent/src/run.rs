//! The agent's life: start, reconcile until told to stop, leave everything
//! as it is.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use sd_notify::NotifyState;
use tartan_core::state::LOCK_FILE;
use tartan_datapath::Kernel;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, error, info, warn};

use crate::firewall::FirewallEvents;
use crate::health::Health;
use crate::host::{Events, Host, LinkEvents};
use crate::node::Node;
use crate::settings::Settings;
use crate::store::{LeaseStore, StoreError};
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

/// What is held for as long as the agent lives.
pub struct Life {
    _lock: lock::Lock,
    kernel: Kernel,
    stop: Stop,
}

impl Life {
    /// Makes sure that the agent can run here, and that it is the only one.
    ///
    /// # Errors
    /// What keeps it from running; nothing was changed.
    pub fn begin() -> Result<Self> {
        let lock = lock::take(Path::new(LOCK_FILE))?;
        preflight::privileges()?;
        tartan_datapath::pins::require_bpffs()?;
        let kernel = Kernel::probe()?;
        for (feature, forced) in kernel.missing() {
            let why = if forced { "TARTAN_FORCE says so" } else { "the kernel has none" };
            warn!(feature = feature.name(), why, instead = feature.instead(), "missing");
        }
        Ok(Self { _lock: lock, kernel, stop: Stop::new()? })
    }

    /// Runs until SIGTERM or SIGINT.
    ///
    /// # Errors
    /// What keeps the agent from starting. Once it runs, it retries; it also waits for a store
    /// that cannot be reached yet.
    pub async fn run<S: LeaseStore>(
        mut self,
        settings: Settings,
        store: S,
        health: Health,
    ) -> Result<()> {
        health.features(self.kernel.features);
        let host = Host::connect()?;
        let host_events = host.events(settings.conf.ipv6_network.is_some())?;
        let node = Node::new(settings, self.kernel, host, store, health.clone());
        let (firewall, links) = (node.firewall_events(), node.link_events());
        let mut events = Changes { host: host_events, firewall, links };
        let mut round = Round::new(node, health);
        round.first().await?;
        round.follow(&mut events, &mut self.stop).await;
        notify(&[NotifyState::Stopping]);
        info!("Exiting cleanly: forwarding goes on without the agent");
        Ok(())
    }

    /// Waits for `work`, unless the agent is told to stop.
    pub async fn unless_stopped<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = self.stop.asked() => None,
        }
    }
}

/// What may have changed on the host.
struct Changes {
    host: Events,
    firewall: FirewallEvents,
    links: LinkEvents,
}

impl Changes {
    async fn changed(&mut self) {
        tokio::select! {
            () = self.host.changed() => {}
            () = self.firewall.changed() => {}
            () = self.links.changed() => {}
        }
    }
}

/// The loop's memory.
struct Round<S> {
    node: Node<S>,
    health: Health,
    retry: Duration,
    next: Instant,
    renew_at: Instant,
    /// systemd was told that the agent is ready.
    announced: bool,
    /// The last failure, so that it is logged once and not at each try.
    failure: Option<String>,
}

impl<S: LeaseStore> Round<S> {
    fn new(node: Node<S>, health: Health) -> Self {
        let now = Instant::now();
        let renew_at = now + RENEW_EVERY;
        Self {
            node,
            health,
            retry: RETRY_FIRST,
            next: now,
            renew_at,
            announced: false,
            failure: None,
        }
    }

    /// The first pass, whose failure ends the agent unless it only has to wait.
    async fn first(&mut self) -> Result<()> {
        match self.node.reconcile().await {
            Err(problem) if !is_waiting(&problem) => Err(problem),
            outcome => {
                self.conclude(outcome);
                Ok(())
            }
        }
    }

    async fn follow(&mut self, events: &mut Changes, stop: &mut Stop) {
        loop {
            self.health.beat();
            tokio::select! {
                () = stop.asked() => return,
                () = events.changed() => settle(events).await,
                () = self.node.store().changed() => {}
                () = sleep_until(self.next) => {}
                () = sleep_until(self.renew_at) => {
                    self.renew().await;
                    continue;
                }
            }
            let outcome = self.node.reconcile().await;
            let failed = outcome.is_err();
            self.conclude(outcome);
            if failed {
                // Events that the failed pass itself caused must not make this a busy loop.
                sleep(RETRY_FIRST).await;
            }
        }
    }

    fn conclude(&mut self, outcome: Result<()>) {
        let now = Instant::now();
        match outcome {
            Ok(()) => {
                self.retry = RETRY_FIRST;
                self.next = now + self.node.next_look();
                if self.failure.take().is_some() || !self.announced {
                    info!("ready");
                }
                self.announce();
            }
            Err(problem) => {
                self.next = now + self.retry;
                self.complain(&problem);
                self.retry = (self.retry * 2).min(RETRY_LONGEST);
            }
        }
    }

    fn complain(&mut self, problem: &anyhow::Error) {
        let text = format!("{problem:#}");
        if self.failure.as_ref() == Some(&text) {
            debug!(problem = text, retry_in = ?self.retry, "still");
        } else if is_waiting(problem) {
            warn!("waiting: {text}");
        } else {
            error!(problem = text, retry_in = ?self.retry, "cannot bring the node in order");
        }
        notify(&[NotifyState::Status(&text)]);
        self.node.report_problem(&text);
        self.failure = Some(text);
    }

    fn announce(&mut self) {
        if !self.announced {
            self.announced = true;
            notify(&[NotifyState::Ready, NotifyState::Status("the node is ready")]);
        }
    }

    async fn renew(&mut self) {
        self.renew_at = Instant::now() + RENEW_EVERY;
        let Some(own) = self.node.own().cloned() else { return };
        if let Err(error) = self.node.store().renew(&own).await {
            warn!(%error, "cannot renew the lease; trying again");
        }
    }
}

/// Whether nothing is wrong with the node itself: the store has to say something first.
fn is_waiting(problem: &anyhow::Error) -> bool {
    problem.downcast_ref::<StoreError>().is_some_and(StoreError::is_temporary)
        || problem.downcast_ref::<crate::node::NotPublished>().is_some()
}

/// Tells systemd, where the agent runs under it.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!(%error, "cannot tell systemd");
    }
}

async fn settle(events: &mut Changes) {
    let _ =
        timeout(SETTLE_AT_MOST, async { while timeout(SETTLE, events.changed()).await.is_ok() {} })
            .await;
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
