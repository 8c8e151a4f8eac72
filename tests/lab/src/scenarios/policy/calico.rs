//! Calico's contract without Calico, whose engine is not to be had here: a host end that Calico
//! finds by its name, a route to the pod over it, chains in FORWARD that look at those names.

use std::time::SystemTime;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::calico_rules::{Dataplane, Endpoint};
use super::cast::Cast;
use super::flows::{LIMIT, Watched, all_open};
use super::known::{denied_though_known, make_known};
use super::observe::{goes_fast, status_says};
use super::under_way::UnderWay;
use crate::cluster::Member;
use crate::cni::conflist;
use crate::lab::Lab;
use crate::node::CONFLIST;
use crate::pod::Pod;
use crate::process::Place as _;
use crate::scenario::Scenario;
use crate::wire::Wire;

/// Two nodes of ours under Calico's names, whose flows go fast because no engine is there yet.
struct Ground {
    dataplane: Dataplane,
    cast: Cast,
    _lab: Lab,
    _members: [Member; 2],
}

impl Ground {
    fn new(scenario: &mut Scenario, dataplane: Dataplane) -> Result<Self> {
        let lab = scenario.lab(Wire::Offloaded)?;
        let member = || -> Result<Member> {
            let node = lab.node()?;
            if let Dataplane::Iptables(flavour) = dataplane {
                node.use_iptables(flavour)?;
            }
            let plugin = json!({ "type": "tartan-cni", "hostVethNaming": "calico" });
            node.write(CONFLIST, &conflist(&plugin))?;
            Member::new(node, 0)
        };
        let mut members = [member()?, member()?];
        let cast = Cast::new("tartan", |node, pod| members[node].add_pod(pod))?;
        cast.pods().try_for_each(calico_finds)?;
        let this = Self { dataplane, cast, _lab: lab, _members: members };
        this.is_on()?;
        make_known(&this.cast, true)?;
        Ok(this)
    }

    fn is_on(&self) -> Result<()> {
        status_says(&self.cast.nodes(), &["on (configured: auto)"])?;
        all_open(&self.cast.denied_ways())?;
        goes_fast(&self.cast)
    }

    /// Puts a policy in force while new flows come all the time.
    fn deny(&self, scenario: &Scenario) -> Result<()> {
        let ways = self.cast.denied_ways();
        let watched = Watched::start(&ways)?;
        let since = SystemTime::now();
        self.enforce(true)?;
        for (way, lag) in watched.until_denied(since)? {
            scenario.note(format!("{way}: the last new flow {lag} ms after the policy"));
            ensure!(u128::from(lag) < LIMIT.as_millis(), "{way}: {lag} ms");
        }
        let why = ["after-accept (configured: auto)", self.dataplane.decides()];
        status_says(&self.cast.nodes(), &why)?;
        all_open(&self.cast.allowed_ways())
    }

    /// Puts Calico's chains on both nodes. With a policy, the server hears its friends only.
    fn enforce(&self, with_policy: bool) -> Result<()> {
        let friends = self.cast.friends.iter().map(Pod::address).collect::<Result<Vec<_>>>()?;
        let endpoint = |pod: &Pod| -> Result<Endpoint> {
            let hears = (with_policy && pod.name() == "server").then(|| friends.clone());
            Ok(Endpoint { link: pod.host_link()?, hears })
        };
        self.cast.nodes().into_iter().try_for_each(|node| {
            let endpoints = self.cast.pods_of(node).map(endpoint).collect::<Result<Vec<_>>>()?;
            self.dataplane.enforce(node, &endpoints)
        })
    }
}

/// The engine comes first, then its policy; both go again.
pub(super) fn run(scenario: &mut Scenario, dataplane: Dataplane) -> Result<()> {
    let ground = Ground::new(scenario, dataplane)?;
    let cast = &ground.cast;
    let under_way = UnderWay::start(cast)?;
    ground.enforce(false)?;
    status_says(&cast.nodes(), &["after-accept (configured: auto)", dataplane.decides()])?;
    all_open(&cast.denied_ways())?;
    make_known(cast, true)?;
    scenario.note("Calico's chains came while flows went fast");

    ground.deny(scenario)?;
    denied_though_known(scenario, cast)?;
    under_way.finish(scenario)?;

    ground.enforce(false)?;
    all_open(&cast.denied_ways())?;
    goes_fast(cast)?;
    cast.nodes().into_iter().try_for_each(|node| dataplane.remove(node))?;
    ground.is_on()
}

/// The first rules that anybody makes deny already: conntrack knows none of the flows that went
/// fast until then, so what it has not seen is judged as new.
pub(super) fn first_rules_deny(scenario: &mut Scenario, dataplane: Dataplane) -> Result<()> {
    let ground = Ground::new(scenario, dataplane)?;
    let under_way = UnderWay::start(&ground.cast)?;
    ground.deny(scenario)?;
    let goes_on = denied_though_known(scenario, &ground.cast)?;
    ensure!(!goes_on.contains(&true), "UDP that conntrack never saw goes on: {goes_on:?}");
    under_way.finish(scenario).map(drop)
}

/// Name and route of the pod's host end, as Calico expects them.
fn calico_finds(pod: &Pod) -> Result<()> {
    let digest = pod.node().shell(&format!("printf default.{} | sha1sum", pod.name()))?;
    let name = format!("cali{}", digest.get(..11).context("no digest")?);
    ensure!(pod.host_link()? == name, "{} is {}, not {name}", pod.label(), pod.host_link()?);
    let routes = pod.node().run(&format!("ip route show dev {name}"))?;
    let wanted = format!("{} scope link", pod.address()?);
    ensure!(routes.contains(&wanted), "{}: {routes}", pod.label());
    Ok(())
}
