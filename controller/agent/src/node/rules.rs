//! The packet filter's part of a pass: our rules, and what everybody's mean for the fast path.

use anyhow::{Context as _, Result};
use ipnet::IpNet;
use tartan_core::FastPath;
use tartan_core::desired::Desired;
use tartan_core::netfilter::assess::{Scene, assess};
use tartan_core::netfilter::model::Engine;
use tartan_core::netfilter::obstacles::obstacles;
use tartan_core::netfilter::wanted::{self, Masquerade, TABLE};
use tartan_core::state::FirewallState;
use tartan_datapath::Feature;
use tracing::info;

use super::Node;
use super::fast_path::{self, Gate};
use super::tunnel::{Link, Tunnel};
use crate::firewall::{FirewallEvents, Request};
use crate::host::Blackhole;
use crate::settings::Settings;
use crate::store::{LeaseStore, OwnLeases};

/// The host's ends of pods' links, as our plugin, flannel's bridge and Calico's plugin name them
/// unless they are told otherwise.
const POD_DEVICES: [&str; 3] = ["veth+", "cni0", "cali+"];

impl<S: LeaseStore> Node<S> {
    /// Starts listening for changes of anybody's rules.
    #[must_use]
    pub fn firewall_events(&self) -> FirewallEvents {
        self.firewall.events()
    }

    /// What the gate may do while the rules are as they are.
    pub(super) fn decide_fast_path(&mut self, link: &Link<'_>, tunnel: Option<&Tunnel>) -> Gate {
        self.firewall.look();
        let scene = scene(&self.settings, link, tunnel);
        let verdict = match (self.firewall.engine(), self.firewall.tables()) {
            (Engine::NfTables, Ok(tables)) => Ok(assess(tables, &scene)),
            (Engine::NfTables, Err(problem)) => {
                Err(format!("the rules of the packet filter cannot be read: {problem}"))
            }
            // Only nf_tables can tell conntrack to leave the end of a direct connection alone.
            (Engine::Xtables, _) => Err("the kernel has no nf_tables".to_owned()),
        };
        let before = self.gate.as_ref().map_or(0, |gate| gate.on_until);
        let now = fast_path::now();
        let fingerprint = self.firewall.fingerprint();
        let configured = self.settings.conf.fast_path;
        let gate = Gate::decide(configured, verdict, fingerprint, now, before);
        let gate = if self.kernel.features.has(Feature::RedirectPeer) {
            gate
        } else {
            gate.without_fast_path("the kernel has no bpf_redirect_peer")
        };
        let told = self.gate.as_ref().map(|gate| &gate.choice);
        if told != Some(&gate.choice) {
            info!(mode = gate.mode.name(), why = gate.choice.why, "fast path");
        }
        self.gate = Some(gate.clone());
        gate
    }

    /// Our rules, and the blackhole routes: after everything that they presume is in place.
    pub(super) async fn establish_rules(
        &mut self,
        link: &Link<'_>,
        tunnel: Option<&Tunnel>,
        own: &OwnLeases,
        desired: &Desired,
    ) -> Result<FirewallState> {
        let request = self.wanted_rules(own, desired)?;
        self.firewall.establish(&request)?;
        let mut troubles = self.firewall.leftovers_trouble();
        troubles.extend(self.blackholes(own).await?);
        let scene = scene(&self.settings, link, tunnel);
        let networks: Vec<_> = self.settings.conf.networks().map(|net| net.to_string()).collect();
        let networks = networks.join(", ");
        let tables = self.firewall.tables().unwrap_or_default();
        troubles.extend(obstacles(tables, &scene).iter().map(|obstacle| {
            format!(
                "the host's firewall drops what pods forward: {obstacle}; accept {networks} there"
            )
        }));
        Ok(FirewallState {
            rules: match self.firewall.engine() {
                Engine::NfTables => format!("nf_tables, table {TABLE}"),
                Engine::Xtables => "xtables, chains TARTAN-*".to_owned(),
            },
            masquerade: masquerade_words(&self.settings),
            troubles,
        })
    }

    fn wanted_rules(&self, own: &OwnLeases, desired: &Desired) -> Result<Request> {
        let conf = &self.settings.conf;
        let asked = self.settings.rules;
        let may_skip = matches!(conf.fast_path, FastPath::Auto | FastPath::On);
        // Where nobody has rules, conntrack does not run, and is not started for ours.
        let is_tracked = asked.ip_masq || self.firewall.has_strangers();
        let settings = wanted::Settings {
            ip_masq: asked.ip_masq,
            random_fully: asked.random_fully,
            skips_conntrack: may_skip && is_tracked,
            tunnel_port: conf.backend.vxlan().map(|tunnel| tunnel.port),
            exempt: conf.non_masquerade.clone(),
            nodes: desired.nodes.keys().copied().collect(),
        };
        let of_family = |subnet: IpNet| {
            let same = |net: &IpNet| net.addr().is_ipv4() == subnet.addr().is_ipv4();
            conf.networks().find(same).map(|network| (network, subnet))
        };
        let pairs = own.subnets().filter_map(of_family);
        let rules = |(network, subnet)| Masquerade::new(network, subnet, settings.clone());
        let masquerade =
            pairs.map(rules).collect::<Result<_, _>>().context("cannot make the rules")?;
        Ok(Request { masquerade, accept_forwarded: asked.accept_forwarded })
    }

    /// Keeps the blackhole routes, or takes away those of an earlier start.
    async fn blackholes(&self, own: &OwnLeases) -> Result<Vec<String>> {
        let mut troubles = Vec::new();
        for subnet in own.subnets() {
            let keep = self.settings.blackhole_route.then_some(subnet);
            let removed = self.host.remove_blackholes_but(subnet, keep).await?;
            if removed > 0 {
                info!(removed, "removed blackhole routes that nobody asks for any more");
            }
            let Some(subnet) = keep else { continue };
            match self.host.ensure_blackhole(subnet).await? {
                Blackhole::There => {}
                Blackhole::Added => info!(%subnet, "added the blackhole route"),
                Blackhole::Taken => troubles.push(format!(
                    "no blackhole route to {subnet}: there is another route to it; remove that one, \
                     or start without --ip-blackhole-route"
                )),
            }
        }
        Ok(troubles)
    }
}

fn scene(settings: &Settings, link: &Link<'_>, tunnel: Option<&Tunnel>) -> Scene {
    let networks: Vec<_> = settings.conf.networks().collect();
    // Links whose names a CNI configuration chose; none before the first pod.
    let attached =
        tartan_datapath::pod_pins().unwrap_or_default().into_iter().map(|(veth, _)| veth);
    // Where nodes are reached without a tunnel, pods' packets come and go by the uplink.
    let uplink = settings.conf.backend.is_direct().then(|| link.uplink.name.clone());
    let overlay = tunnel.map(|tunnel| tunnel.spec.name.clone());
    let named = POD_DEVICES.iter().map(ToString::to_string);
    let devices: Vec<_> = overlay.into_iter().chain(named).chain(attached).chain(uplink).collect();
    Scene::new(&networks, &devices)
}

fn masquerade_words(settings: &Settings) -> String {
    let exempt = &settings.conf.non_masquerade;
    match (settings.rules.ip_masq, exempt.is_empty()) {
        (false, _) => "off: --ip-masq is not set".to_owned(),
        (true, true) => "what pods send out of the pod network".to_owned(),
        (true, false) => {
            let exempt: Vec<_> = exempt.iter().map(ToString::to_string).collect();
            format!("what pods send out of the pod network, but to {}", exempt.join(", "))
        }
    }
}
