//! A network namespace for one test, the tools that observe it, and tables to write.

#![expect(clippy::expect_used, reason = "a test's scaffolding fails its test")]
#![expect(clippy::panic, reason = "a test's scaffolding fails its test")]

use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;

use nix::sched::{CloneFlags, unshare};
use tartan_core::netfilter::model::{
    Action, Base, Chain, Engine, Family, Hook, Match, Policy, Rule, Set, Table,
};
use tartan_netfilter::nft::{Edit, Nft};

/// Runs a test in a network namespace of its own; says so where that is not possible.
pub(crate) fn namespace(test: impl FnOnce() + Send) {
    thread::scope(|scope| {
        let outcome = scope.spawn(|| {
            if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
                println!("skipped: a network namespace of its own needs root ({error})");
                return;
            }
            test();
        });
        if let Err(panic) = outcome.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Runs a program with an input; it must succeed. Gives what it printed.
pub(crate) fn run(program: &str, arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("ended");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Loads a script of `nft`.
pub(crate) fn nft(script: &str) {
    run("nft", &["-f", "-"], script);
}

/// What `nft` says about everything.
pub(crate) fn listed() -> String {
    run("nft", &["list", "ruleset"], "")
}

pub(crate) fn iptables(arguments: &str) -> String {
    run("iptables-nft", &arguments.split(' ').collect::<Vec<_>>(), "")
}

/// Writes a table.
pub(crate) fn put(kernel: &mut Nft, table: &Table) {
    kernel.apply(&[Edit::PutTable(table.clone())]).expect("written");
}

/// Our table as the kernel has it.
pub(crate) fn ours(kernel: &mut Nft) -> Option<Table> {
    let tables = kernel.ruleset("tartan").expect("read");
    tables.into_iter().find(|table| table.name == "tartan")
}

/// A table like the one that is written in earnest.
pub(crate) fn table(rules: Vec<Rule>, nodes: u16) -> Table {
    let elements =
        (0..nodes).map(|index| [192, 168, index.to_be_bytes()[0], index.to_be_bytes()[1]].into());
    Table {
        engine: Engine::NfTables,
        family: Family::Ip,
        name: "tartan".into(),
        sets: vec![Set { name: "nodes".into(), elements: elements.collect() }],
        chains: vec![
            Chain { name: "elsewhere".into(), base: None, rules: Vec::new() },
            Chain {
                name: "postrouting".into(),
                base: Some(Base {
                    kind: "nat".into(),
                    hook: Hook::Postrouting,
                    priority: 100,
                    policy: Policy::Accept,
                    devices: Vec::new(),
                }),
                rules,
            },
        ],
    }
}

pub(crate) fn source(net: &str, negated: bool) -> Match {
    Match::Source { net: net.parse().expect("a network"), negated }
}

pub(crate) fn destination(net: &str, negated: bool) -> Match {
    Match::Destination { net: net.parse().expect("a network"), negated }
}

/// Every kind of rule that can be written.
pub(crate) fn every_kind() -> Vec<Rule> {
    let masquerade = |random_fully, ports| Action::Masquerade { random_fully, ports };
    let named = |name: &str| name.to_owned();
    vec![
        Rule::new(
            vec![source("10.244.0.0/16", false), destination("10.244.128.0/17", true)],
            masquerade(true, None),
            "tartan masquerade",
        ),
        Rule::new(vec![Match::Protocol(17)], masquerade(true, Some((1024, 8471))), "tartan"),
        Rule::new(vec![Match::Protocol(6)], masquerade(false, Some((5, 5))), ""),
        Rule::new(vec![source("10.1.2.3/32", true)], masquerade(false, None), "tartan \u{fc}"),
        Rule::new(
            vec![
                Match::InDevice { name: named("eth0"), negated: true },
                Match::OutDevice { name: named("veth+"), negated: false },
            ],
            Action::Return,
            "",
        ),
        Rule::new(
            vec![Match::Mark { value: 0x4000, mask: 0x4000, negated: false }],
            Action::Jump("elsewhere".into()),
            "",
        ),
        Rule::new(
            vec![Match::Mark { value: 7, mask: u32::MAX, negated: true }],
            Action::Goto("elsewhere".into()),
            "",
        ),
        Rule::new(
            vec![
                Match::DestinationIn("nodes".into()),
                Match::Protocol(17),
                Match::DestinationPort(8472),
            ],
            Action::Drop,
            "tartan guard",
        ),
        Rule::new(vec![Match::DestinationTranslated], Action::Accept, ""),
        Rule::new(
            vec![
                source("10.244.0.0/16", false),
                destination("10.244.0.0/16", false),
                Match::Protocol(6),
                Match::TcpFlagsAny(7),
                Match::ConntrackInvalid,
            ],
            Action::NoTrack,
            "tartan ends",
        ),
        Rule::new(vec![source("0.0.0.0/0", false)], Action::Continue, ""),
        Rule::new(vec![], Action::Continue, "tartan says nothing"),
    ]
}
