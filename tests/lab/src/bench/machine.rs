//! The machine that is measured on, and when.

use std::fs;
use std::process::Command;
use std::thread;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::cpu::{Moment, used_by_others};
use crate::process::checked;

/// What does not change during a run; read before the lab covers the machine's directories.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Machine {
    /// UTC, as `date` prints it.
    pub(super) date: String,
    /// What the user typed.
    pub(super) command: String,
    pub(super) kernel: String,
    pub(super) cpus: usize,
    pub(super) model: String,
    pub(super) memory_gib: f64,
    /// Whether the processor says that it is a virtual one.
    pub(super) hypervisor: bool,
    /// Of CPU 0; `None` where none is visible, as in most virtual machines.
    pub(super) governor: Option<String>,
    pub(super) congestion_control: String,
    /// Whether programs are compiled: without it every program's figure is an interpreter's.
    pub(super) bpf_jit: bool,
    /// Of the last minute, before the run.
    pub(super) load_average: f64,
    /// Part of the machine that other programs used just before the run.
    pub(super) used_by_others: f64,
    /// The build of Tartan's programs.
    pub(super) programs: String,
}

impl Machine {
    pub(super) fn look() -> Result<Self> {
        let info = read("/proc/cpuinfo");
        let field = |name: &str| {
            let line = info.lines().find(|line| line.starts_with(name))?;
            line.split_once(':').map(|(_, value)| value.trim().to_owned())
        };
        let words: Vec<_> = std::env::args().skip(3).collect();
        Ok(Self {
            date: checked(Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"]))?
                .trim()
                .to_owned(),
            command: format!("cargo xtask bench {}", words.join(" ")).trim().to_owned(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            cpus: thread::available_parallelism()?.get(),
            model: field("model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            memory_gib: memory(&read("/proc/meminfo")).unwrap_or(0.0),
            hypervisor: field("flags")
                .is_some_and(|flags| flags.split_whitespace().any(|flag| flag == "hypervisor")),
            governor: fs::read_to_string("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
                .ok()
                .map(|text| text.trim().to_owned()),
            congestion_control: read("/proc/sys/net/ipv4/tcp_congestion_control").trim().to_owned(),
            bpf_jit: read("/proc/sys/net/core/bpf_jit_enable").trim() != "0",
            load_average: load_average()?,
            used_by_others: used_by_others(super::WATCH)?,
            programs: tartan_datapath::Build::embedded().to_string(),
        })
    }

    /// Name and value, for people.
    pub(super) fn facts(&self) -> Vec<(&'static str, String)> {
        let kind = if self.hypervisor { "virtual machine" } else { "no hypervisor seen" };
        let governor = self.governor.clone().unwrap_or_else(|| "not visible".to_owned());
        vec![
            ("date", self.date.clone()),
            ("command", self.command.clone()),
            ("kernel", format!("Linux {}", self.kernel)),
            ("processor", format!("{} x {}, {kind}", self.cpus, self.model)),
            ("memory", format!("{:.0} GiB", self.memory_gib)),
            ("frequency governor", governor),
            ("TCP congestion control", self.congestion_control.clone()),
            ("BPF compiler", if self.bpf_jit { "on" } else { "OFF" }.to_owned()),
            ("load before the run", format!("{:.2}", self.load_average)),
            ("used by others before", format!("{:.0} %", self.used_by_others * 100.0)),
            ("Tartan's programs", self.programs.clone()),
        ]
    }
}

/// What happened to the machine during the measurements.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Meanwhile {
    /// Part of the processors' time that a hypervisor gave to others.
    pub(super) stolen: f64,
}

impl Meanwhile {
    pub(super) fn since(start: &Moment) -> Result<Self> {
        Ok(Self { stolen: start.stolen_since()? })
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn load_average() -> Result<f64> {
    let text = fs::read_to_string("/proc/loadavg")?;
    let first = text.split_whitespace().next().context("/proc/loadavg is empty")?;
    Ok(first.parse()?)
}

/// In GiB.
fn memory(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_kib() {
        assert_eq!(memory("MemTotal:  2097152 kB\nMemFree: 1 kB\n"), Some(2.0));
    }
}
