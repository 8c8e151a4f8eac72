//! The cells, as a reader sees them.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::{Result, ensure};

use super::ground::{Offloads, Pair, Way};
use super::shapes::{Outcome, Shape};
use crate::counters::Counts;
use crate::traffic::SumsReport;

/// One pair of families on one wire.
#[derive(Debug)]
pub(super) struct Row {
    mtu: u16,
    pub(super) pair: Pair,
    way: Way,
    pub(super) offloads: Offloads,
    cells: Vec<(&'static str, Outcome)>,
    /// Tunnel packets looked at on the wire.
    packets: u64,
}

impl Row {
    pub(super) fn new(mtu: u16, pair: Pair, way: Way, offloads: Offloads) -> Self {
        Self { mtu, pair, way, offloads, cells: Vec::new(), packets: 0 }
    }

    pub(super) fn set(&mut self, shape: Shape, outcome: Outcome) {
        self.cells.push((shape.name(), outcome));
    }

    /// The same for every cell, for a pair that cannot be here.
    pub(super) fn all(&mut self, outcome: &Outcome) {
        for name in Shape::ALL.iter().map(|shape| shape.name()).chain(["bad sums", "path"]) {
            self.cells.push((name, outcome.clone()));
        }
    }

    fn must(&mut self, name: &'static str, holds: bool, told: impl FnOnce() -> String) {
        let outcome = if holds { Outcome::Passed } else { Outcome::Failed(told()) };
        self.cells.push((name, outcome));
    }

    /// Without offloads every packet on the wire has its checksums, and they are right.
    pub(super) fn wire(&mut self, seen: &SumsReport) {
        self.packets = seen.packets;
        if self.offloads == Offloads::Off {
            let right = seen.outer_wrong + seen.inner_wrong == 0;
            self.must("on the wire", right && seen.inner_right > 1000, || format!("{seen:?}"));
        }
    }

    /// `seen` bad checksums were counted, and `wanted` sent.
    pub(super) fn bad_sums(&mut self, seen: u64, wanted: u64) {
        self.must("bad sums", seen == wanted, || format!("{seen} were counted, {wanted} sent"));
    }

    /// Flows must have taken the way that this row is about.
    pub(super) fn paths(&mut self, added: &Counts) {
        let [out, into] = ["pod-remote-fast", "uplink-pod-fast"].map(|name| added.get(name));
        let right = match self.way {
            Way::Fast => out > 100 && into > 100,
            Way::Stack => out + into == 0,
        };
        self.must("path", right, || format!("{added:?}"));
    }

    fn name(&self) -> String {
        format!(
            "{:5} {:?} inner {:?} {:5} offloads {:3}",
            self.mtu,
            self.pair.outer(),
            self.pair.inner(),
            format!("{:?}", self.way).to_lowercase(),
            format!("{:?}", self.offloads).to_lowercase()
        )
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name())?;
        for (name, outcome) in &self.cells {
            let shown = match outcome {
                Outcome::Passed => "ok",
                Outcome::NotApplicable(_) => "n/a",
                Outcome::Failed(_) => "FAILED",
            };
            write!(f, " | {name} {shown}")?;
        }
        write!(f, " | {} packets", self.packets)
    }
}

/// All rows.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) rows: Vec<Row>,
}

impl Table {
    fn failed(&self) -> Vec<String> {
        let of = |row: &Row| -> Vec<String> {
            let name = row.name();
            let told = |(cell, outcome): &(&str, Outcome)| match outcome {
                Outcome::Failed(why) => Some(format!("{name} {cell}: {why}")),
                Outcome::Passed | Outcome::NotApplicable(_) => None,
            };
            row.cells.iter().filter_map(told).collect()
        };
        self.rows.iter().flat_map(of).collect()
    }

    fn reasons(&self) -> BTreeSet<String> {
        let of = |row: &Row| match row.cells.first() {
            Some((_, Outcome::NotApplicable(why))) => {
                Some(format!("{} outer {:?}: {why}", row.mtu, row.pair.outer()))
            }
            _ => None,
        };
        self.rows.iter().filter_map(of).collect()
    }

    pub(super) fn judge(&self) -> Result<()> {
        let failed = self.failed();
        ensure!(failed.is_empty(), "{} cells: {failed:#?}", failed.len());
        ensure!(!self.rows.is_empty(), "no cells");
        Ok(())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "outer MTU, outer family, inner family, way, offloads")?;
        self.rows.iter().try_for_each(|row| write!(f, "\n  {row}"))?;
        self.reasons().iter().try_for_each(|reason| write!(f, "\n  n/a: {reason}"))
    }
}
