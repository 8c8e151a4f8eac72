//! The node: brings the host and the kernel's tables one step closer to what
//! configuration and leases ask for, again and again.
//!
//! Every step observes first and does nothing when nothing differs, so the
//! loop may run at any time, after any crash, and beside traffic.

mod cni_conf;
mod connect;
mod crossing;
mod difference;
mod fast_path;
mod ipv6;
mod lease;
mod memory;
mod pod_links;
mod report;
mod rules;
mod tables;
mod tunnel;
mod xdp;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tartan_common::Mac;
use tartan_core::conflict::{self, Observer, Peers};
use tartan_core::desired::{self, Desired, HostFacts};
use tartan_core::state::{AgentState, STATE_FILE};
use tartan_datapath::{
    Adoption, Kernel, NodeHook, attach_node_hook, detach_node_hook, ensure_programs,
};
use tracing::{info, warn};

use self::difference::Trust;
use self::fast_path::Gate;
use self::memory::Memory;
use self::pod_links::LinkWatch;
use self::tables::{KnownPods, Tables};
use self::tunnel::{Link, Tunnel};
use self::xdp::UplinkXdp;
use crate::firewall::Firewall;
use crate::health::{Check, Health};
use crate::host::Host;
use crate::settings::Settings;
use crate::store::{LeaseStore, Notice, NoticeKind, OwnLeases, Snapshot, Wishes};

/// Even without an event everything is looked at this often: what somebody
/// deletes without the kernel telling (a pin, a map entry) comes back.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The node's reconciler.
pub struct Node<S> {
    settings: Settings,
    kernel: Kernel,
    host: Host,
    store: S,
    health: Health,
    /// Where the pass is.
    check: Check,
    /// What the node holds: by the store's word, or from memory while it gives none.
    own: Option<OwnLeases>,
    snapshot: Option<Snapshot>,
    /// Whose word the snapshot is.
    trust: Trust,
    /// What the kernel's tables were brought to, and when they were last read.
    applied: Option<(Desired, Instant)>,
    firewall: Firewall,
    /// What the gate was told last.
    gate: Option<Gate>,
    wishes: Wishes,
    memory: Memory,
    /// Addresses for devices that never had one.
    new_macs: Option<(Mac, Mac)>,
    replace_programs: bool,
    xdp: UplinkXdp,
    pods: KnownPods,
    links: LinkWatch,
    /// What the store said against what the node holds.
    objection: Option<String>,
    last: Option<AgentState>,
}

impl<S: LeaseStore> Node<S> {
    /// A node that remembers what it knew last.
    pub fn new(settings: Settings, kernel: Kernel, host: Host, store: S, health: Health) -> Self {
        let memory = Memory::open(settings.last_known_file.clone(), &settings);
        let replace_programs = settings.replace_programs;
        let mut node = Self {
            settings,
            kernel,
            host,
            store,
            health,
            check: Check::Uplink,
            own: None,
            snapshot: None,
            trust: Trust::Memory,
            applied: None,
            firewall: Firewall::open(),
            gate: None,
            wishes: Wishes::default(),
            memory,
            new_macs: None,
            replace_programs,
            xdp: UplinkXdp::default(),
            pods: KnownPods::default(),
            links: LinkWatch::default(),
            objection: None,
            last: None,
        };
        node.remember();
        node
    }

    /// Where leases come from.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// What this node holds, if it holds anything yet.
    #[must_use]
    pub fn own(&self) -> Option<&OwnLeases> {
        self.own.as_ref()
    }

    /// One pass.
    ///
    /// # Errors
    /// The first step that failed; those before it are done, and what was
    /// there before goes on working.
    pub async fn reconcile(&mut self) -> Result<()> {
        let was_ready = self.health.is_ready();
        let outcome = self.pass().await;
        let standing = self.store.standing();
        self.health.store(standing.trouble);
        match &outcome {
            Ok(()) => {
                self.health.passed();
                if !was_ready {
                    self.tell_ready();
                }
            }
            Err(problem) => self.health.failed(self.check, &format!("{problem:#}")),
        }
        outcome
    }

    fn tell_ready(&self) {
        let Some(own) = &self.own else { return };
        let peers = self.last.as_ref().map_or(0, |state| state.peers.len());
        let text = format!("the pod network is ready: subnet {}, {peers} peers", own.shown());
        self.store.tell(Notice { kind: NoticeKind::Ready, text });
    }

    async fn pass(&mut self) -> Result<()> {
        // Before anything that can fail: a limit is to be heeded at once.
        let slow_pods = self.links.heed();
        self.check = Check::Uplink;
        let uplink = self.uplink().await?;
        self.check = Check::Lease;
        let own = self.hold(&uplink).await?;
        self.check = Check::Overlay;
        let link = Link::of(&self.settings, &uplink);
        let tunnel = self.ensure_tunnel(&own, &link).await?;
        self.check = Check::Peers;
        let peers = self.peers(&own).await?;
        let gate = self.decide_fast_path(&link, tunnel.as_ref());
        let mut desired = self.desired(&link, tunnel.as_ref(), &own, &peers, &gate).await?;
        let mut ipv6 = self.desire_ipv6(&link, tunnel.as_ref(), &own, &peers, &mut desired).await?;
        self.check = Check::Programs;
        self.program(&link, tunnel.as_ref(), &mut desired)?;
        self.check = Check::Routes;
        self.connect_host(&link, tunnel.as_ref(), &own, &desired).await?;
        self.connect_ipv6(&link, tunnel.as_ref(), &desired.ipv6, &mut ipv6).await;
        self.remove_other_overlays(tunnel.as_ref()).await?;
        self.check = Check::Rules;
        let firewall = self.establish_rules(&link, tunnel.as_ref(), &own, &desired).await?;
        self.check = Check::Pods;
        let device_is_new = tunnel.as_ref().is_some_and(|tunnel| tunnel.overlay.created);
        self.repair_pods(&own, device_is_new).await?;
        self.repair_pods6(&ipv6).await?;
        self.check = Check::SubnetFile;
        let pod_mtu = tunnel.as_ref().map_or(link.mtu, |tunnel| tunnel.spec.mtu);
        self.write_subnet_env(pod_mtu, &own)?;
        let service = self.open_for_pods();
        let pass = report::Pass {
            settings: &self.settings,
            kernel: &self.kernel,
            own: &own,
            link: &link,
            tunnel: tunnel.as_ref(),
            pod_mtu,
            peers: &peers,
            faults: self.snapshot.as_ref().map_or(&[], |all| &all.faults),
            desired: &desired,
            gate: &gate,
            firewall: &firewall,
            ready: service.is_ok(),
            xdp_trouble: self.xdp.trouble(),
        };
        let mut state = report::state(&pass, &self.store.describe());
        ipv6.report(&mut state, &desired.ipv6);
        slow_pods.report(&mut state);
        self.report(state)?;
        service
    }

    /// What comes last: the cluster may send pods.
    fn open_for_pods(&mut self) -> Result<()> {
        self.check = Check::Published;
        let standing = self.store.standing();
        if !standing.published && !self.memory.was_published() {
            return Err(NotPublished(standing.trouble).into());
        }
        self.check = Check::CniConf;
        if let Some(conf) = &self.settings.cni_conf {
            cni_conf::install(conf)?;
        }
        // Every announcement is written to the API server and told to every node.
        if !self.health.is_ready() {
            self.store.announce_ready();
        }
        Ok(())
    }

    async fn peers(&mut self, own: &OwnLeases) -> Result<Peers> {
        match self.store.list().await {
            Ok(snapshot) => {
                self.snapshot = Some(snapshot);
                self.trust = Trust::Store;
                self.memorise(own);
            }
            Err(error) if error.is_temporary() && self.snapshot.is_some() => {}
            Err(error) => return Err(error.into()),
        }
        let (Some(own), Some(network)) = (&own.v4, self.settings.conf.network()) else {
            return Ok(Peers::default());
        };
        let observer = Observer {
            own,
            network,
            vni: self.settings.conf.backend.vxlan().map(|tunnel| tunnel.vni),
        };
        let leases = self.snapshot.as_ref().map_or(&[][..], |snapshot| &snapshot.leases);
        Ok(conflict::peers(observer, leases))
    }

    async fn desired(
        &self,
        link: &Link<'_>,
        tunnel: Option<&Tunnel>,
        own: &OwnLeases,
        peers: &Peers,
        gate: &Gate,
    ) -> Result<Desired> {
        let nodes: Vec<_> = peers.usable.iter().map(|peer| peer.public_ip).collect();
        let next_hops = self.host.next_hops(&nodes).await?;
        let facts = HostFacts {
            node: link.uplink.address.unwrap_or(Ipv4Addr::UNSPECIFIED),
            uplink_ifindex: link.uplink.ifindex,
            link_mtu: link.mtu,
            tunnel: tunnel.map(Tunnel::facts),
            ttl: Host::default_ttl(),
            ports: Host::port_range(),
            next_hops,
        };
        let conf = &self.settings.conf;
        let mut desired = desired::desired(conf, own.v4.as_ref(), &peers.usable, &facts, gate.mode);
        desired.config.on_until = gate.on_until;
        desired.config.rules = gate.rules;
        Ok(desired)
    }

    /// Programs, tables, hooks, in this order: a hook never runs unconfigured.
    fn program(
        &mut self,
        link: &Link<'_>,
        tunnel: Option<&Tunnel>,
        desired: &mut Desired,
    ) -> Result<()> {
        let flow_entries = Some(self.settings.conf.flow_entries);
        match ensure_programs(self.replace_programs, flow_entries, self.kernel.features)? {
            Adoption::Adopted => {}
            Adoption::Fresh => {
                self.applied = None;
                info!("loaded the programs");
            }
            Adoption::Replaced { from } => {
                self.applied = None;
                info!(%from, "replaced the programs");
            }
        }
        self.replace_programs = false;
        let xdp_on = self.settings.wants_xdp(&link.uplink.name) && tunnel.is_some();
        let xdp_on = xdp_on.then_some(link.uplink.ifindex);
        let stage = UplinkXdp::stage(xdp_on)?;
        desired.config.xdp = stage as u32;
        self.fill_tables(desired)?;
        for hook in NodeHook::ALL {
            let Some((interface, ifindex)) = self.place_of(hook, link, tunnel) else {
                if detach_node_hook(hook)? {
                    info!(program = hook.program().as_str(), "detached: nothing needs it any more");
                }
                continue;
            };
            let found = attach_node_hook(hook, interface, ifindex)?;
            if found != tartan_datapath::HookState::InPlace {
                info!(program = hook.program().as_str(), interface, ?found, "attached");
            }
        }
        if self.xdp.settle(stage, xdp_on, self.kernel.features)? {
            desired.config.xdp = UplinkXdp::stage(xdp_on)? as u32;
            self.fill_tables(desired)?;
        }
        Ok(())
    }

    /// The interface that a hook belongs to, by name and index; `None` where it has no work.
    fn place_of<'a>(
        &self,
        hook: NodeHook,
        link: &Link<'a>,
        tunnel: Option<&'a Tunnel>,
    ) -> Option<(&'a str, u32)> {
        let uplink = (link.uplink.name.as_str(), link.uplink.ifindex);
        match hook {
            NodeHook::UplinkIngress => Some(uplink),
            NodeHook::OverlayEgress | NodeHook::OverlayIngress => {
                tunnel.map(|tunnel| (tunnel.spec.name.as_str(), tunnel.overlay.ifindex))
            }
            NodeHook::UplinkEgress => self.settings.conf.backend.is_direct().then_some(uplink),
        }
    }

    fn fill_tables(&mut self, desired: &Desired) -> Result<()> {
        let recent = self.applied.take().filter(|(_, read_at)| read_at.elapsed() < LOOK_EVERY);
        let known = recent.as_ref().map(|(known, _)| known);
        let changes = Tables::open()?.apply(desired, known, self.trust)?;
        if changes != tables::Changes::default() {
            info!(
                added = changes.added,
                removed = changes.removed,
                configuration = changes.configuration,
                "changed the kernel's tables"
            );
        }
        // What came from memory is no reason to believe that the tables hold it, and only it.
        if self.trust == Trust::Store {
            let read_at = recent.map_or_else(Instant::now, |(_, read_at)| read_at);
            self.applied = Some((desired.clone(), read_at));
        }
        Ok(())
    }

    fn report(&mut self, mut state: AgentState) -> Result<()> {
        state.problems.extend(self.objection.clone());
        state.store_trouble = self.store.standing().trouble;
        state.problems.extend(self.memory.trouble());
        if self.last.as_ref() == Some(&state) && std::path::Path::new(STATE_FILE).exists() {
            return Ok(());
        }
        report::log_changes(self.last.as_ref(), &state);
        for notice in report::notices(self.last.as_ref(), &state) {
            self.store.tell(notice);
        }
        state
            .write(std::path::Path::new(STATE_FILE))
            .with_context(|| format!("cannot write {STATE_FILE}"))?;
        self.last = Some(state);
        Ok(())
    }

    /// How long until the next look at everything, if nothing happens before.
    #[must_use]
    pub fn next_look(&self) -> Duration {
        let pods = self.pods.due_in().unwrap_or(LOOK_EVERY);
        self.memory.due_in().map_or(pods, |due| pods.min(due))
    }

    /// Says in the state file that something is wrong; forwarding goes on.
    pub fn report_problem(&mut self, problem: &str) {
        if let Some(mut state) = self.last.clone() {
            state.problems = vec![problem.to_owned()];
            if let Err(error) = state.write(std::path::Path::new(STATE_FILE)) {
                warn!(%error, "cannot write {STATE_FILE}");
            }
            self.last = Some(state);
        }
    }
}

/// Everything is in place on the node, but no other node knows of it yet.
#[derive(Debug, thiserror::Error)]
#[error(
    "other nodes cannot find this one yet: {}",
    .0.as_deref().unwrap_or("the store has not confirmed its lease")
)]
pub struct NotPublished(Option<String>);
