//! Services by the real kube-proxy, in both its modes, under every mode of the fast path: each
//! kind works, and the server sees the source that it sees under flannel.

mod flows;
mod host;
mod outcome;
mod restarts;
mod side;
mod table;

use anyhow::{Result, ensure};

use self::flows::FLOWS;
use self::outcome::Outcome;
use self::side::{Family, Side};
use self::table::Column;
use crate::control_plane::{ControlPlane, Options};
use crate::ipv6::{plug_outside6, plug6};
use crate::kube_proxy::{self, ProxyMode};
use crate::lab::{Lab, Outsider};
use crate::scenario::{Entry, Scenario};
use crate::wire::Wire;

pub(super) static SCENARIOS: &[Entry] = &[
    Entry::new("kube_services::every_kind_as_under_flannel", |s| every_kind(s, Family::V4))
        .within(240)
        .with_tools(),
    Entry::new("kube_services::every_kind_over_ipv6_as_under_flannel", |s| {
        every_kind(s, Family::V6)
    })
    .within(240)
    .with_tools(),
    Entry::new("kube_services::ten_thousand_connections_while_the_agent_restarts", ten_thousand)
        .within(180)
        .with_tools(),
];

/// `FastPath`, as the columns of the table have it.
const FAST_PATHS: [&str; 4] = ["on", "auto", "after-accept", "off"];

fn plane(scenario: &mut Scenario, family: Family) -> Result<(Lab, ControlPlane)> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let options = match family {
        Family::V4 => Options::default(),
        Family::V6 => Options::dual_stack(),
    };
    let plane = ControlPlane::start(&lab, &Options { users: vec![kube_proxy::user()], ..options })?;
    Ok((lab, plane))
}

/// A machine on the wire, of both families where IPv6 is asked about.
fn outside(lab: &Lab, family: Family) -> Result<Outsider> {
    let host = lab.outsider("client")?;
    if family == Family::V6 {
        plug_outside6()?;
        plug6(&host, host.address())?;
    }
    Ok(host)
}

fn every_kind(scenario: &mut Scenario, family: Family) -> Result<()> {
    let (lab, plane) = plane(scenario, family)?;
    let outside = outside(&lab, family)?;
    let mut tartan = Side::tartan(&lab, &plane, &outside, family)?;
    let flannel = Side::flannel(&lab, &plane, &outside, family)?;
    let (mut columns, mut references) = (Vec::new(), Vec::new());
    for mode in ProxyMode::ALL {
        let _proxies = [tartan.proxies(&plane, mode)?, flannel.proxies(&plane, mode)?];
        scenario.note(format!("{mode:?}: every Service is in the rules"));
        let outcomes = run_all(&flannel, &plane)?;
        references.push(Column { mode, fast_path: "flannel".to_owned(), outcomes });
        for fast_path in FAST_PATHS {
            columns.push(column(scenario, &mut tartan, &plane, (mode, fast_path))?);
        }
    }
    judge(scenario, &columns, &references)?;
    table::settle(family, &table::render(family, &columns, &references)?)
}

fn column(
    scenario: &Scenario,
    side: &mut Side,
    plane: &ControlPlane,
    (mode, fast_path): (ProxyMode, &str),
) -> Result<Column> {
    side.set_fast_path(fast_path)?;
    let effective = side.effective_fast_path()?;
    scenario.note(format!("{mode:?}, FastPath {fast_path}: {effective}"));
    restarts::goes_fast(side, effective != "off")?;
    let shown =
        if effective == fast_path { effective } else { format!("{fast_path} ({effective})") };
    Ok(Column { mode, fast_path: shown, outcomes: run_all(side, plane)? })
}

fn run_all(side: &Side, plane: &ControlPlane) -> Result<Vec<Outcome>> {
    FLOWS.iter().map(|flow| flow.run(side, plane)).collect()
}

/// Every fault of every cell goes into the log; flannel is held to the same rows.
fn judge(scenario: &Scenario, columns: &[Column], references: &[Column]) -> Result<()> {
    let mut faults = 0;
    for column in references.iter().chain(columns) {
        let reference = references.iter().find(|reference| reference.mode == column.mode);
        let Some(reference) = reference else { continue };
        for ((flow, outcome), wanted) in FLOWS.iter().zip(&column.outcomes).zip(&reference.outcomes)
        {
            let Some(fault) = table::fault(flow, outcome, wanted) else { continue };
            faults += 1;
            let (mode, fast_path) = (column.mode.name(), &column.fast_path);
            scenario.note(format!("{mode}, {fast_path}: {}: {fault}", flow.title()));
        }
    }
    ensure!(faults == 0, "{faults} cells are not as they should be");
    Ok(())
}

fn ten_thousand(scenario: &mut Scenario) -> Result<()> {
    let (lab, plane) = plane(scenario, Family::V4)?;
    let outside = outside(&lab, Family::V4)?;
    let mut side = Side::tartan(&lab, &plane, &outside, Family::V4)?;
    restarts::run(scenario, &mut side, &plane)
}
