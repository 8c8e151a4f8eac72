//! docs/SERVICES.md: what the scenario found, as a page for readers.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::flows::{FLOWS, Flow};
use super::outcome::Outcome;
use super::side::Family;
use crate::kube_proxy::ProxyMode;

/// Set to 1, it makes the scenario write the page instead of comparing it.
const BLESS: &str = "TARTAN_BLESS";
const COMMITTED: &str = include_str!("../../../../../docs/SERVICES.md");
const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/SERVICES.md");

const INTRODUCTION: &str = "\
# Services

This page is written by the tests `kube_services::every_kind_as_under_flannel`, for IPv4, and
`kube_services::every_kind_over_ipv6_as_under_flannel`, and compared with what
they find on every run. The real kube-proxy runs on every node, in both its modes; two nodes
are run by Tartan, two by flannel 0.28 (vxlan, its bridge and portmap), all on one API server and
one wire. Every row asks several times over connections of their own, first under flannel, then
under Tartan with each mode of the fast path.

`ok` means: every question was answered, by the right pod, and the server saw the source address
that it sees under flannel. `.0` and `.1` are the first addresses of a node's part of the pod
network: that of its tunnel device, and the pods' gateway.
";

/// What begins the part of the page that the other scenario writes.
const IPV6: &str = "\n## IPv6\n";

const DIFFERENCES: &str = "
Where two sources are given: portmap hides the clients of a bridge's own subnet, because answers
would go past it. Tartan has no bridge, and the client stays visible.

If this page differs from what the test finds, write it anew and look at the difference:

    TARTAN_BLESS=1 cargo xtask test kube_services
";

const INTRODUCTION6: &str = "
The same kinds, asked for over IPv6 on nodes of both families.
";

/// What one mode of kube-proxy and one of the fast path gave, row by row.
pub(super) struct Column {
    pub(super) mode: ProxyMode,
    /// `FastPath`; what `auto` chose follows it.
    pub(super) fast_path: String,
    pub(super) outcomes: Vec<Outcome>,
}

/// What is wrong with a cell, if anything.
pub(super) fn fault(flow: &Flow, outcome: &Outcome, flannel: &Outcome) -> Option<String> {
    flow.fault(outcome).or_else(|| {
        let differs = !outcome.is_as(flannel, flow);
        differs.then(|| {
            format!("the source is {}, under flannel {}", outcome.sources(), flannel.sources())
        })
    })
}

/// This family's part of the page. `flannel` has one column for each mode of kube-proxy.
pub(super) fn render(family: Family, columns: &[Column], flannel: &[Column]) -> Result<String> {
    Ok(match family {
        Family::V4 => [INTRODUCTION, &rows(columns, flannel)?, DIFFERENCES].concat(),
        Family::V6 => [IPV6, INTRODUCTION6, &rows(columns, flannel)?].concat(),
    })
}

fn rows(columns: &[Column], flannel: &[Column]) -> Result<String> {
    let mut page = "\n".to_owned();
    let heads =
        columns.iter().map(|column| format!("{}: {}", column.mode.name(), column.fast_path));
    let heads: Vec<_> = heads.collect();
    writeln!(page, "| Kind | Flow | Source | {} |", heads.join(" | "))?;
    writeln!(page, "|---|---|---|{}", "---|".repeat(columns.len()))?;
    for (row, flow) in FLOWS.iter().enumerate() {
        let cells = columns.iter().map(|column| cell(row, column, flannel));
        let cells = cells.collect::<Result<Vec<_>>>()?.join(" | ");
        let source = source(row, columns, flannel);
        writeln!(page, "| {} | {} | {source} | {cells} |", flow.kind, flow.path)?;
    }
    Ok(page)
}

fn cell(row: usize, column: &Column, flannel: &[Column]) -> Result<&'static str> {
    let reference = flannel.iter().find(|reference| reference.mode == column.mode);
    let reference = reference.context("flannel was not run in this mode")?;
    let fault = fault(&FLOWS[row], &column.outcomes[row], &reference.outcomes[row]);
    Ok(if fault.is_none() { "ok" } else { "**fails**" })
}

/// What servers see under Tartan, and under flannel if that is another address.
fn source(row: usize, columns: &[Column], flannel: &[Column]) -> String {
    let all = |columns: &[Column]| {
        let mut all: Vec<_> = columns.iter().map(|column| column.outcomes[row].sources()).collect();
        all.sort_unstable();
        all.dedup();
        all.join(" or ")
    };
    let (ours, theirs) = (all(columns), all(flannel));
    if ours == theirs { ours } else { format!("{ours} (flannel: {theirs})") }
}

/// Compares a family's part of the page with the committed one, or writes it.
pub(super) fn settle(family: Family, part: &str) -> Result<()> {
    if env::var_os(BLESS).is_some_and(|value| value == "1") {
        return write(&with_part(&fs::read_to_string(PATH)?, family, part));
    }
    let page = &with_part(COMMITTED, family, part);
    let line = page.lines().zip(COMMITTED.lines()).find(|(found, committed)| found != committed);
    ensure!(
        page == COMMITTED,
        "docs/SERVICES.md differs: {line:?}; run: {BLESS}=1 cargo xtask test kube_services"
    );
    Ok(())
}

/// The page with one family's part in place of what it says there.
fn with_part(page: &str, family: Family, part: &str) -> String {
    let (v4, v6) = page.split_at(page.find(IPV6).unwrap_or(page.len()));
    match family {
        Family::V4 => [part, v6].concat(),
        Family::V6 => [v4, part].concat(),
    }
}

fn write(page: &str) -> Result<()> {
    ensure!(
        Path::new(PATH).exists(),
        "the lab hides {PATH} behind its own mounts; move the tree out of /tmp, /run and /mnt"
    );
    fs::write(PATH, page).with_context(|| format!("cannot write {PATH}"))
}
