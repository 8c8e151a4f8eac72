//! The benchmark: host networking, the kernel's vxlan and Tartan in one run.
//!
//! Each contender has its own pair of nodes on the same wire, and connection tracking on in both.
//! Every round measures every figure of every contender, beginning with another one each time;
//! ratios are taken within a round, so that what a machine does in the meantime cancels out. Both
//! nodes of a pair share this machine, so ratios count, not figures, and processor time beside
//! them. No figure decides about the exit code.

mod contender;
mod cpu;
mod figures;
mod metric;
mod premises;
mod record;
mod results;
mod sample;
mod stats;
mod table;
mod wires;

use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::holder;
use crate::lab::Lab;
use crate::sandbox::{Ended, Sandbox, require_root};
use crate::wire::Wire;
use contender::{Contender, Name};
use metric::Metric;
use premises::Premises;
use results::Results;
use wires::WireKind;

/// How long the machine is watched before the run.
const WATCH: Duration = Duration::from_millis(500);

/// Flags of `tartan-lab bench`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Rounds; the spread is that of the rounds [default: 6, quick: 3].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,
    /// Seconds per measurement [default: 1, quick: 0.4].
    #[arg(long, value_parser = measurable)]
    seconds: Option<f64>,
    /// About a minute instead of four.
    #[arg(long)]
    quick: bool,
    /// Write every sample to this file as well.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Only these figures.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Metric>,
    /// Only these contenders; ratios need those that they are taken to.
    #[arg(long, value_enum, value_delimiter = ',')]
    contenders: Vec<Name>,
}

fn measurable(text: &str) -> Result<f64> {
    let seconds: f64 = text.parse()?;
    ensure!((0.1..=600.0).contains(&seconds), "give 0.1 to 600 seconds");
    Ok(seconds)
}

impl Args {
    fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 3 } else { 6 })
    }

    fn seconds(&self) -> f64 {
        self.seconds.unwrap_or(if self.quick { 0.4 } else { 1.0 })
    }

    fn metrics(&self) -> Vec<Metric> {
        Metric::ALL.into_iter().filter(|m| self.only.is_empty() || self.only.contains(m)).collect()
    }

    fn names(&self) -> Vec<Name> {
        let wanted = |name: &Name| self.contenders.is_empty() || self.contenders.contains(name);
        Name::ALL.into_iter().filter(wanted).collect()
    }
}

/// Measures in a lab. The exit code is 0 if everything could be measured.
///
/// # Errors
/// When the user is not root or the lab cannot be started.
pub fn run() -> Result<u8> {
    require_root()?;
    let words: Vec<_> = std::env::args().skip(2).collect();
    let args: Vec<_> = ["bench"].into_iter().chain(words.iter().map(String::as_str)).collect();
    match Sandbox::spawn(&args, None)?.wait(None)? {
        Ended::Exited(code) => Ok(u8::try_from(code).unwrap_or(1)),
        Ended::Interrupted(signal) => Ok(u8::try_from(128 + signal).unwrap_or(1)),
        Ended::TimedOut => bail!("the benchmark was not done in time"),
    }
}

/// The run, in the lab's process 1.
///
/// # Errors
/// When something cannot be set up or measured.
pub fn inside(args: &Args) -> Result<u8> {
    // The lab covers some of the machine's directories, so the file is opened before.
    let mut json = args.json.as_ref().map(create).transpose()?;
    holder::prepare_lab()?;
    let start = Instant::now();
    let used_by_others = cpu::used_by_others(WATCH)?;
    introduce(args);
    let lab = Lab::new(Wire::Framed)?;
    let contenders: Vec<_> =
        args.names().into_iter().map(|name| Contender::new(name, &lab)).collect::<Result<_>>()?;
    println!("  nodes ready after {:.0} s", start.elapsed().as_secs_f64());
    let results = measure(args, &contenders)?;
    let premises = Premises::check(&contenders, &results, used_by_others)?;
    table::print(&results, &args.names());
    premises.print();
    table::print_verdicts(&results);
    if let Some(file) = &mut json {
        record::write(file, args, &results, &premises)?;
    }
    println!("\n{:.0} s in all", start.elapsed().as_secs_f64());
    Ok(0)
}

fn create(path: &PathBuf) -> Result<File> {
    File::create(path).with_context(|| format!("cannot write {}", path.display()))
}

fn introduce(args: &Args) {
    println!("Host networking, the kernel's vxlan and Tartan, each on its own pair of nodes");
    println!("  host          sockets of the nodes, connection tracking on");
    println!("  kernel vxlan  vxlan, bridge and rules as flannel makes them, tracking on");
    println!("  Tartan fast   FastPath on; Tartan stack: FastPath off; same rules, tracking on");
    println!(
        "  {} rounds of {} s per figure, in rotated order. Round trips and connections:",
        args.rounds(),
        args.seconds()
    );
    println!("  both ends on CPU 0. Streams and datagrams: sender on CPU 0, receiver on CPU 1.");
    println!("  Both nodes share this machine: ratios count, not figures.");
}

fn measure(args: &Args, contenders: &[Contender]) -> Result<Results> {
    let mut results = Results::default();
    let (mut wire, start) = (None, Instant::now());
    for round in 0..args.rounds() {
        for (number, metric) in args.metrics().into_iter().enumerate() {
            set_wire(contenders, &mut wire, metric.wire())?;
            for turn in 0..contenders.len() {
                let who = (usize::try_from(round)? + number + turn) % contenders.len();
                let sample = sample::measure(&contenders[who], metric, args.seconds())?;
                results.add(metric, contenders[who].name, sample);
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        println!("  round {} of {} done after {seconds:.0} s", round + 1, args.rounds());
    }
    Ok(results)
}

/// Changes the wire if it is another one.
fn set_wire(contenders: &[Contender], is: &mut Option<WireKind>, wanted: WireKind) -> Result<()> {
    if *is != Some(wanted) {
        contenders.iter().try_for_each(|contender| contender.set_wire(wanted))?;
        *is = Some(wanted);
    }
    Ok(())
}
