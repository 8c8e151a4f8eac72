//! The run from the first node to the last premise.

use std::time::Instant;

use anyhow::{Result, ensure};

use super::contender::{Contender, Name};
use super::cpu::Moment;
use super::ground::Ground;
use super::machine::{Machine, Meanwhile};
use super::metric::Metric;
use super::premises::{Premise, Premises};
use super::programs::traffic::{self, InTraffic};
use super::progress::{self, Progress};
use super::results::Results;
use super::rules::{self, RuleSet};
use super::sample::{self, Sample};
use super::wires::WireKind;
use super::{Args, Report, Skipped, cni, goals, offloads, programs};
use crate::scenario::is_skip;

pub(super) fn all(args: &Args, machine: Machine) -> Result<Report<'_>> {
    introduce(args, &machine);
    let mut skipped = Vec::new();
    let mut run = Run::prepare(args, &mut skipped)?;
    let mut programs = args.programs().then(programs::measure).transpose()?;
    let moment = Moment::now()?;
    run.measure(args)?;
    let meanwhile = Meanwhile::since(&moment)?;
    if let Some(programs) = &mut programs {
        programs.in_traffic = run.in_traffic(args)?;
    }
    // Last, because the kernel is busy for a while with what is left of the pods.
    let cni = args.programs().then(|| cni::measure(&run.contenders)).transpose()?.flatten();
    let Run { contenders, results, offloads, .. } = run;
    let premises = Premises::check(&contenders, &results, &machine, meanwhile, offloads)?;
    let verdicts = goals::verdicts(&results, programs.as_ref(), cni.as_ref());
    Ok(Report { args, machine, results, programs, cni, premises, verdicts, skipped })
}

fn introduce(args: &Args, machine: &Machine) {
    println!("Contenders, each on its own pair of nodes, connection tracking on in all of them");
    for name in args.names() {
        println!("  {:14} {}", name.text(), name.about());
    }
    println!(
        "{} rounds of {} s per figure, in rotated order; ratios are taken within a round.",
        args.rounds(),
        args.seconds()
    );
    println!(
        "Round trips and connections: both ends on CPU 0. One stream and datagrams: sender on"
    );
    println!("CPU 0, receiver on CPU 1. Several streams: anywhere. Both nodes share this machine:");
    println!("ratios count, not figures.");
    println!(
        "Linux {}, {} CPUs, {:.0} % used by others",
        machine.kernel,
        machine.cpus,
        machine.used_by_others * 100.0
    );
}

struct Run {
    contenders: Vec<Contender>,
    metrics: Vec<Metric>,
    results: Results,
    wire: Option<WireKind>,
    offloads: Vec<Premise>,
}

impl Run {
    /// The nodes, and the rules of kube-proxy if a figure wants them. The control plane ends with
    /// this.
    fn prepare(args: &Args, skipped: &mut Vec<Skipped>) -> Result<Self> {
        let (start, ground) = (Instant::now(), Ground::new()?);
        let mut contenders = Vec::new();
        for name in args.names() {
            match Contender::new(name, &ground) {
                Ok(contender) => contenders.push(contender),
                Err(error) if is_skip(&error) => leave_out(skipped, name.text(), &error),
                Err(error) => return Err(error),
            }
        }
        ensure!(!contenders.is_empty(), "no contender can be measured here");
        println!("  nodes ready after {}", progress::shown(start.elapsed()));
        let mut metrics = args.metrics();
        if metrics.iter().any(|metric| metric.rules() == RuleSet::Services) {
            println!(
                "  kube-proxy writes the rules of {} Services on every node ...",
                rules::SERVICES
            );
            if let Err(error) = rules::prepare(&ground, &contenders) {
                if !is_skip(&error) {
                    return Err(error);
                }
                metrics.retain(|metric| metric.rules() == RuleSet::Own);
                leave_out(skipped, Metric::TcpCrrServices.name(), &error);
            }
        }
        ground.leave();
        println!("  all ready after {}", progress::shown(start.elapsed()));
        let results = Results::default();
        Ok(Self { contenders, metrics, results, wire: None, offloads: Vec::new() })
    }

    /// All rounds under the contenders' own rules, then all under those of Services.
    fn measure(&mut self, args: &Args) -> Result<()> {
        let weights: u32 = self.metrics.iter().map(|metric| metric.weight()).sum();
        let people = u32::try_from(self.contenders.len())?;
        let mut progress = Progress::new(weights * people * args.rounds());
        for rules in [RuleSet::Own, RuleSet::Services] {
            let metrics: Vec<_> =
                self.metrics.iter().copied().filter(|metric| metric.rules() == rules).collect();
            if metrics.is_empty() {
                continue;
            }
            if rules == RuleSet::Services {
                rules.set(&self.contenders)?;
            }
            for round in 0..args.rounds() {
                self.round(args, round, &metrics, &mut progress)?;
                let with = if rules == RuleSet::Services { " with Services" } else { "" };
                progress.note(&format!("round {} of {}{with} done", round + 1, args.rounds()));
            }
        }
        Ok(())
    }

    fn round(
        &mut self,
        args: &Args,
        round: u32,
        metrics: &[Metric],
        progress: &mut Progress,
    ) -> Result<()> {
        for (number, metric) in metrics.iter().enumerate() {
            self.set_wire(metric.wire())?;
            progress.on(&format!("round {}: {}", round + 1, metric.name()));
            for turn in 0..self.contenders.len() {
                let who = (usize::try_from(round)? + number + turn) % self.contenders.len();
                let contender = &self.contenders[who];
                let sample = measure_again(contender, *metric, args.seconds(), progress)?;
                self.results.add(*metric, contender.name, sample);
                progress.add(metric.weight());
            }
        }
        Ok(())
    }

    /// The programs of Tartan's nodes under traffic, after everything that this would disturb.
    fn in_traffic(&mut self, args: &Args) -> Result<Vec<InTraffic>> {
        self.set_wire(WireKind::Framed)?;
        let fast = self.contenders.iter().find(|contender| contender.name == Name::TartanFast);
        let measured = fast.map(|fast| traffic::measure(fast, Metric::UdpRr, args.seconds()));
        Ok(measured.transpose()?.unwrap_or_default())
    }

    /// Changes the wire if it is another one; the first time its offloads are looked at.
    fn set_wire(&mut self, wanted: WireKind) -> Result<()> {
        if self.wire == Some(wanted) {
            return Ok(());
        }
        self.contenders.iter().try_for_each(|contender| contender.set_wire(wanted))?;
        self.wire = Some(wanted);
        if self.offloads.iter().all(|premise| !premise.what.starts_with(wanted.name())) {
            self.offloads.push(offloads::check(wanted, &self.contenders)?);
        }
        Ok(())
    }
}

/// One failure is the machine's, and no reason to lose what was measured before; two are not.
fn measure_again(
    contender: &Contender,
    metric: Metric,
    seconds: f64,
    progress: &Progress,
) -> Result<Sample> {
    sample::measure(contender, metric, seconds).or_else(|error| {
        progress.note(&format!("measured once more, because: {error:#}"));
        sample::measure(contender, metric, seconds)
    })
}

fn leave_out(skipped: &mut Vec<Skipped>, what: &str, error: &anyhow::Error) {
    let why = format!("{:#}", error.root_cause());
    println!("  SKIPPED {what}: {why}");
    skipped.push(Skipped { what: what.to_owned(), why });
}

impl Report<'_> {
    /// Contenders that were measured, in order.
    pub(super) fn names(&self) -> Vec<Name> {
        self.results.names()
    }
}
