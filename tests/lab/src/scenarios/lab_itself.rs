//! The lab leaves nothing, whatever ends it, and its tools tell the truth.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::leftovers::Inventory;
use crate::process::{Place as _, eventually};
use crate::sandbox::{myself, reap_all};
use crate::scenario::{Entry, Scenario};
use crate::traffic;
use crate::wire::{GATEWAY, Wire};

pub(super) static SCENARIOS: &[Entry] = &[
    Entry::new("lab_itself::a_node_has_every_path_of_its_own", own_paths),
    Entry::new("lab_itself::a_panicking_run_leaves_nothing", |s| leaves_nothing(s, Death::Panic)),
    Entry::new("lab_itself::a_killed_run_leaves_nothing", |s| leaves_nothing(s, Death::Kill)),
    Entry::new("lab_itself::an_interrupted_run_leaves_nothing", |s| {
        leaves_nothing(s, Death::Interrupt)
    }),
    Entry::new("lab_itself::the_probe_counts_what_the_wire_loses", probe_counts_losses),
    Entry::new("lab_itself::a_capture_holds_the_frames_that_were_sent", capture_holds_frames),
    Entry::new("lab_itself::an_interrupted_demo_leaves_nothing", interrupted_demo),
    // Not a test: what the three above start and kill.
    Entry::new("lab_itself::victim", victim).long(),
];

fn own_paths(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let [one, two] = lab.nodes()?;
    for directory in ["/run", "/var/lib", "/opt", "/etc", "/sys/fs/bpf"] {
        let probe = format!("{directory}/only-node1");
        one.run(&format!("mkdir {probe}"))?;
        ensure!(!two.path(&probe).exists(), "node2 sees {probe} of node1");
        ensure!(!fs::exists(&probe)?, "the lab sees {probe} of node1");
    }
    ensure!(one.run("hostname")?.trim() == "node1", "the hostname is not the node's");
    let links = one.run("ls /sys/class/net")?;
    ensure!(links.split_whitespace().eq(["eth0", "lo"]), "unexpected links: {links}");
    one.run(&format!("ping -c 1 -W 1 {}", two.address()))?;
    one.run(&format!("ping -c 1 -W 1 {GATEWAY}")).map(drop)
}

#[derive(Clone, Copy)]
enum Death {
    Panic,
    Kill,
    Interrupt,
}

/// A lab inside the lab, so that nothing else comes and goes meanwhile.
fn leaves_nothing(scenario: &mut Scenario, death: Death) -> Result<()> {
    let before = Inventory::take()?;
    scenario.note(format!("{} things before", before.len()));
    let mut command = myself();
    command.args(["test", "--all", "lab_itself::victim"]);
    if matches!(death, Death::Panic) {
        command.env("VICTIM_PANICS", "1");
    }
    let outer = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    match death {
        Death::Panic => {}
        Death::Kill => kill_when_busy(outer.id(), &before, Signal::SIGKILL)?,
        Death::Interrupt => kill_when_busy(outer.id(), &before, Signal::SIGINT)?,
    }
    let output = outer.wait_with_output()?;
    // What outlived it is ours now.
    reap_all()?;
    ensure!(!output.status.success(), "the victim passed");
    let said = String::from_utf8_lossy(&output.stdout);
    let panicked = said.contains("as asked for");
    ensure!(panicked == matches!(death, Death::Panic), "the victim said: {said}");
    let left = before.left_since()?;
    ensure!(left.is_empty(), "left: {left:#?}");
    Ok(())
}

fn interrupted_demo(scenario: &mut Scenario) -> Result<()> {
    let before = Inventory::take()?;
    let mut command = myself();
    command.arg("demo").stdin(Stdio::null()).stdout(Stdio::piped());
    let demo = command.spawn()?;
    kill_when_busy(demo.id(), &before, Signal::SIGINT)?;
    let output = demo.wait_with_output()?;
    reap_all()?;
    let said = String::from_utf8_lossy(&output.stdout);
    scenario.note(&said);
    ensure!(output.status.code() == Some(130), "exit: {}", output.status);
    ensure!(said.ends_with("FAIL\n"), "the last line is not FAIL: {said}");
    let left = before.left_since()?;
    ensure!(left.is_empty(), "left: {left:#?}");
    Ok(())
}

fn kill_when_busy(pid: u32, before: &Inventory, signal: Signal) -> Result<()> {
    eventually("the victim has its nodes", Duration::from_secs(20), || Ok(node_holders()? >= 2))?;
    ensure!(Inventory::take()? != *before, "the inventory does not see a running lab");
    Ok(kill(Pid::from_raw(i32::try_from(pid)?), signal)?)
}

fn node_holders() -> Result<usize> {
    let processes = crate::process::checked(Command::new("ps").args(["-eo", "args"]))?;
    Ok(processes.lines().filter(|line| line.contains("holder node")).count())
}

fn victim(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let nodes: [_; 2] = lab.nodes()?;
    nodes[0].pod("a")?;
    nodes[0].run("mkdir /sys/fs/bpf/tartan")?;
    assert!(std::env::var_os("VICTIM_PANICS").is_none(), "as asked for");
    thread::sleep(Duration::from_secs(50));
    bail!("nobody killed the victim")
}

fn probe_counts_losses(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let [one, two] = lab.nodes()?;
    let _echo = traffic::echo(&two, None)?;
    let probe = traffic::udp_probe(&one, &[two.address().into()], 1000, 1.0)?;
    thread::sleep(Duration::from_millis(300));
    two.run("ip link set eth0 down")?;
    thread::sleep(Duration::from_millis(200));
    two.run("ip link set eth0 up")?;
    let reports = probe.finish()?;
    let report = reports.first().context("no report")?;
    scenario.note(format!("{report:?}"));
    ensure!((100..500).contains(&report.lost), "200 ms of darkness cost {} packets", report.lost);
    ensure!(report.max_gap_ms > 150.0, "the gap was {} ms", report.max_gap_ms);
    Ok(())
}

fn capture_holds_frames(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let [one, two] = lab.nodes()?;
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 1, 0x88, 0xb5]);
    frame.extend(*b"a frame of the local experimental ethertype, long enough for Ethernet");
    let capture = traffic::sniff(&two, "eth0", "--contains 88b5 --count 3")?;
    let sent = traffic::raw_send(&one, "eth0", std::slice::from_ref(&frame), 3)?;
    ensure!(sent.sent == 3, "{sent:?}");
    let frames = capture.finish()?.frames;
    ensure!(frames.len() == 3 && frames.iter().all(|got| got.bytes == frame), "{frames:?}");
    Ok(())
}
