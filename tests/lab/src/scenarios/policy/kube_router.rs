//! kube-router's NetworkPolicy controller over nodes of flannel's and of ours: the same policy at
//! the same time, measured by one clock.

use std::time::SystemTime;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::flows::{LIMIT, Watched, Way, all_open};
use super::known::{denied_though_known, make_known};
use super::observe::{goes_fast, status_says};
use super::sides::Side;
use super::under_way::UnderWay;
use crate::api::Client;
use crate::control_plane::{ControlPlane, Options};
use crate::network_policy::{Flavour, PolicyEngine};
use crate::scenario::Scenario;
use crate::wire::Wire;

/// What `tartanctl status` says while the engine's chains are there.
const NAMED: [&str; 2] = ["after-accept (configured: auto)", "> KUBE-"];

pub(super) fn run(scenario: &mut Scenario, flavour: Flavour) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let plane = ControlPlane::start(&lab, &Options::default())?;
    let mut sides = [Side::flannel(&lab, &plane, flavour)?, Side::tartan(&lab, &plane, flavour)?];
    let processes = sides[1].agents_pids()?;
    sides.iter_mut().try_for_each(|side| side.start_engines(&plane))?;
    scenario.note("both kinds of nodes run, with their engines");
    let ours = sides[1].cast.nodes();
    status_says(&ours, &NAMED)?;

    let denied: Vec<_> = sides.iter().flat_map(|side| side.cast.denied_ways()).collect();
    let allowed: Vec<_> = sides.iter().flat_map(|side| side.cast.allowed_ways()).collect();
    all_open(&denied)?;
    all_open(&allowed)?;
    make_known(&sides[0].cast, false)?;
    make_known(&sides[1].cast, true)?;
    let under_way =
        sides.iter().map(|side| UnderWay::start(&side.cast)).collect::<Result<Vec<_>>>()?;

    denies(scenario, plane.admin(), "only-friends", &only_friends(), &denied)?;
    all_open(&allowed)?;
    let (flannel, tartan) = (&sides[0].cast, &sides[1].cast);
    let known = [denied_though_known(scenario, flannel)?, denied_though_known(scenario, tartan)?];
    never_laxer(&known, "a UDP flow that conntrack knows goes on")?;
    let outcomes = under_way.into_iter().map(|one| one.finish(scenario));
    let outcomes = outcomes.collect::<Result<Vec<_>>>()?;
    never_laxer(&[outcomes[0].clone(), outcomes[1].clone()], "an established connection goes on")?;
    status_says(&ours, &NAMED)?;

    plane.admin().delete_policy("only-friends")?;
    all_open(&denied)?;
    goes_fast(tartan)?;
    scenario.note("the policy is gone: flows are back, and fast after the stack accepted them");

    denies(scenario, plane.admin(), "clients-are-mute", &mute_clients(), &denied)?;
    plane.admin().delete_policy("clients-are-mute")?;
    all_open(&denied)?;
    ensure!(sides[1].agents_pids()? == processes, "an agent was restarted");
    without_engine(scenario, &mut sides)
}

/// The engine goes with its chains, and the fast path is on.
fn without_engine(scenario: &Scenario, sides: &mut [Side; 2]) -> Result<()> {
    sides.iter_mut().flat_map(|side| &mut side.engines).try_for_each(PolicyEngine::still_runs)?;
    for engine in std::mem::take(&mut sides[1].engines) {
        engine.remove()?;
    }
    let cast = &sides[1].cast;
    status_says(&cast.nodes(), &["on (configured: auto)"])?;
    all_open(&cast.denied_ways())?;
    goes_fast(cast)?;
    scenario.note("the engine is gone with its chains: the fast path is on");
    Ok(())
}

/// The server hears friends only.
fn only_friends() -> Value {
    json!({
        "podSelector": { "matchLabels": { "role": "server" } },
        "policyTypes": ["Ingress"],
        "ingress": [{ "from": [{ "podSelector": { "matchLabels": { "role": "friend" } } }] }],
    })
}

/// Clients may not speak to anybody.
fn mute_clients() -> Value {
    json!({
        "podSelector": { "matchLabels": { "role": "client" } },
        "policyTypes": ["Egress"],
    })
}

/// Makes a policy while new flows come all the time, and says when the last one got through.
fn denies(
    scenario: &Scenario,
    admin: &Client,
    name: &str,
    policy: &Value,
    ways: &[Way],
) -> Result<()> {
    let watched = Watched::start(ways)?;
    let since = SystemTime::now();
    admin.create_policy(name, policy)?;
    for (way, lag) in watched.until_denied(since)? {
        scenario.note(format!("{name}: {way}: the last new flow {lag} ms after the policy"));
        ensure!(u128::from(lag) < LIMIT.as_millis(), "{way}: {lag} ms");
    }
    Ok(())
}

/// Of each pair, flannel's outcome comes first, then ours.
fn never_laxer([theirs, ours]: &[Vec<bool>; 2], what: &str) -> Result<()> {
    let laxer = theirs.iter().zip(ours).any(|(theirs, ours)| *ours && !theirs);
    ensure!(!laxer && theirs.len() == ours.len(), "{what}: flannel {theirs:?}, Tartan {ours:?}");
    Ok(())
}
