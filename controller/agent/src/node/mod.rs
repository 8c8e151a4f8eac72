//! The node: brings the host and the kernel's tables one step closer to what
//! configuration and leases ask for, again and again.
//!
//! Every step observes first and does nothing when nothing differs, so the
//! loop may run at any time, after any crash, and beside traffic.

mod report;
mod tables;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tartan_common::Mtu;
use tartan_core::conflict::{self, Observer, Peers};
use tartan_core::desired::{self, Desired, HostFacts};
use tartan_core::state::{AgentState, STATE_FILE};
use tartan_core::subnet_env::SubnetEnv;
use tartan_core::{Lease, LeaseBackend, VxlanData};
use tartan_datapath::{Adoption, NodeHook, Pods, attach_node_hook, ensure_programs};
use tracing::{info, warn};

use self::tables::{KnownPods, Tables};
use crate::host::{Host, Overlay, OverlaySpec, Uplink};
use crate::settings::Settings;
use crate::store::LeaseStore;

/// Even without an event everything is looked at this often: what somebody
/// deletes without the kernel telling (a pin, a map entry) comes back.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The node's reconciler.
pub struct Node<S> {
    settings: Settings,
    host: Host,
    store: S,
    own: Lease,
    replace_programs: bool,
    pods: KnownPods,
    last: Option<AgentState>,
}

impl<S: LeaseStore> Node<S> {
    /// A node that holds `own`.
    pub fn new(settings: Settings, host: Host, store: S, own: Lease) -> Self {
        let replace_programs = settings.replace_programs;
        Self {
            settings,
            host,
            store,
            own,
            replace_programs,
            pods: KnownPods::default(),
            last: None,
        }
    }

    /// Where leases come from.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// This node's lease.
    #[must_use]
    pub fn own(&self) -> &Lease {
        &self.own
    }

    /// One pass.
    ///
    /// # Errors
    /// The first step that failed; those before it are done, and what was
    /// there before goes on working.
    pub async fn reconcile(&mut self) -> Result<()> {
        let uplink = self.host.uplink(&self.settings.uplink).await?;
        let spec = overlay_spec(&self.settings, &self.own, &uplink)?;
        let overlay = self.host.ensure_overlay(&spec).await?;
        if overlay.created {
            info!(device = spec.name, mtu = %spec.mtu, mac = %overlay.mac, "created the overlay device");
        }
        self.publish(&uplink, &overlay).await?;
        let peers = self.peers().await?;
        let desired = self.desired(&uplink, &overlay, &spec, &peers).await?;
        self.program(&uplink, &overlay, &spec, &desired)?;
        self.connect_host(&spec, &overlay).await?;
        self.repair_pods().await?;
        self.write_subnet_env(&spec)?;
        self.report(report::state(
            &self.settings,
            &self.own,
            &uplink,
            &overlay,
            &spec,
            &peers,
            &desired,
        ))
    }

    /// Publishes the lease again when what it says is no longer true.
    async fn publish(&mut self, uplink: &Uplink, overlay: &Overlay) -> Result<()> {
        let vni = Some(self.settings.conf.backend.vni);
        let lease = Lease {
            public_ip: uplink.public_ip,
            backend: LeaseBackend::Vxlan(VxlanData { vni, vtep_mac: overlay.mac }),
            ..self.own.clone()
        };
        if !lease.same_data(&self.own) {
            info!(subnet = %lease.subnet.net(), public_ip = %lease.public_ip, mac = %overlay.mac,
                "publishing the lease again: the node changed");
            self.own = self.store.publish(&lease).await?;
        }
        Ok(())
    }

    async fn peers(&self) -> Result<Peers> {
        let snapshot = self.store.list().await?;
        let observer = Observer {
            own: &self.own,
            network: self.settings.conf.network(),
            vni: self.settings.conf.backend.vni,
        };
        Ok(conflict::peers(observer, &snapshot.leases))
    }

    async fn desired(
        &self,
        uplink: &Uplink,
        overlay: &Overlay,
        spec: &OverlaySpec,
        peers: &Peers,
    ) -> Result<Desired> {
        let mut next_hops = BTreeMap::new();
        for peer in &peers.usable {
            if let Some(hop) = self.host.next_hop(peer.public_ip).await? {
                next_hops.insert(peer.public_ip, hop);
            }
        }
        let facts = HostFacts {
            node: uplink.address,
            overlay_ifindex: overlay.ifindex,
            vtep_mac: overlay.mac,
            overlay_mtu: spec.mtu,
            ttl: Host::default_ttl(),
            ports: Host::port_range(),
            next_hops,
        };
        let (mode, _) = self.settings.fast_path();
        Ok(desired::desired(&self.settings.conf, &self.own, &peers.usable, &facts, mode))
    }

    /// Programs, tables, hooks, in this order: a hook never runs unconfigured.
    fn program(
        &mut self,
        uplink: &Uplink,
        overlay: &Overlay,
        spec: &OverlaySpec,
        desired: &Desired,
    ) -> Result<()> {
        match ensure_programs(self.replace_programs)? {
            Adoption::Adopted => {}
            Adoption::Fresh => info!("loaded the programs"),
            Adoption::Replaced { from } => info!(%from, "replaced the programs"),
        }
        self.replace_programs = false;
        let changes = Tables::open()?.apply(desired)?;
        if changes != tables::Changes::default() {
            info!(
                added = changes.added,
                removed = changes.removed,
                configuration = changes.configuration,
                "changed the kernel's tables"
            );
        }
        for hook in NodeHook::ALL {
            let (interface, ifindex) = match hook {
                NodeHook::UplinkIngress => (&uplink.name, uplink.ifindex),
                NodeHook::OverlayEgress | NodeHook::OverlayIngress => (&spec.name, overlay.ifindex),
            };
            let found = attach_node_hook(hook, interface, ifindex)?;
            if found != tartan_datapath::HookState::InPlace {
                info!(program = hook.program().as_str(), interface, ?found, "attached");
            }
        }
        Ok(())
    }

    /// Pods whose links, routes or entries somebody deleted, and what is left of pods that are gone.
    async fn repair_pods(&mut self) -> Result<()> {
        for veth in self.pods.orphans()? {
            let found = self.host.pod_behind(&veth).await?;
            if let Some((address, pod)) = found.filter(|(ip, _)| self.own.subnet.contains(*ip)) {
                Pods::open()?.insert(address, &pod)?;
                warn!(%address, veth, "put back the entry of a pod");
            }
        }
        let pods = self.pods.repair()?;
        let gateway = self.own.subnet.gateway();
        let repaired = self.host.repair_pod_routes(&pods, gateway).await?;
        if repaired > 0 {
            warn!(repaired, "pods had lost their routes");
        }
        Ok(())
    }

    /// What the host stack needs to reach the pod network.
    async fn connect_host(&self, spec: &OverlaySpec, overlay: &Overlay) -> Result<()> {
        let subnet = self.own.subnet;
        let addresses = [subnet.first_address(), subnet.gateway()];
        let raised = self.host.raise_overlay(spec, &addresses).await?;
        let network = self.settings.conf.network();
        let source = subnet.first_address();
        let routed = self.host.ensure_network_route(network, overlay.ifindex, source).await?;
        if raised || routed {
            info!(device = spec.name, %network, "connected the host to the pod network");
        }
        Ok(())
    }

    fn write_subnet_env(&self, spec: &OverlaySpec) -> Result<()> {
        let conf = &self.settings.conf;
        let env =
            SubnetEnv::ipv4(conf.network(), self.own.subnet, spec.mtu.get(), self.settings.ip_masq);
        let path = &self.settings.subnet_file;
        if std::fs::read_to_string(path).is_ok_and(|text| text == env.render()) {
            return Ok(());
        }
        env.write(path)
            .with_context(|| format!("Failed to write subnet file {}", path.display()))?;
        info!(file = %path.display(), subnet = %self.own.subnet.net(), mtu = %spec.mtu, "wrote the subnet file");
        Ok(())
    }

    fn report(&mut self, state: AgentState) -> Result<()> {
        if self.last.as_ref() == Some(&state) && std::path::Path::new(STATE_FILE).exists() {
            return Ok(());
        }
        report::log_changes(self.last.as_ref(), &state);
        state
            .write(std::path::Path::new(STATE_FILE))
            .with_context(|| format!("cannot write {STATE_FILE}"))?;
        self.last = Some(state);
        Ok(())
    }

    /// How long until the next look at everything, if nothing happens before.
    #[must_use]
    pub fn next_look(&self) -> Duration {
        if self.pods.any_in_the_making() { tables::MAKING } else { LOOK_EVERY }
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

/// The overlay device's shape on this uplink.
fn overlay_spec(settings: &Settings, own: &Lease, uplink: &Uplink) -> Result<OverlaySpec> {
    let outer: Mtu = settings.conf.backend.mtu.unwrap_or(uplink.mtu);
    let mtu = outer.inside_tunnel().with_context(|| {
        format!("the uplink {} with MTU {outer} is too small for a tunnel", uplink.name)
    })?;
    let mac = own.vtep_mac().context("the node's own lease has no VTEP MAC address")?;
    Ok(OverlaySpec { name: settings.overlay_name(), port: settings.conf.backend.port, mtu, mac })
}
