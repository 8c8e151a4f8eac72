//! `SELFTEST.md`, and the committed lists of what people and CI systems rely on in it.

use std::fmt::Write as _;

use clap::{Args as _, Command};
use tartan_ctl::test::{EXIT_CODES, Options, SCENARIOS};

const HEAD: &str = "\
# The self-test

`tartanctl test` shows that the pod network of a cluster works, or what does not: it starts pods on
every node, lets them talk to each other in all the ways that workloads do, and takes everything
away again. It needs what kubectl needs, a kubeconfig; run it from where kubectl works.

    tartanctl test
    tartanctl test --nodes node1,node2 --include mtu,large-udp
    tartanctl test -o json --junit selftest.xml

It works with any pod network, also before a migration: where Tartan is not installed, name the
image by `--image`; the scenario about Tartan's agents is skipped then.

";

const MADE: &str = "\
## What it makes

One namespace, `tartan-test-` and six characters, with:

- two pods per node in the pod network, which comply with the pod security standard `restricted`;
- one pod per node in the node's own network, for the scenarios that say so: such pods are what
  `restricted` forbids, so the namespace allows them unless `--exclude` leaves none of these
  scenarios; where the cluster forbids them, the scenarios are skipped. They are no more privileged
  than the others otherwise. They listen on one TCP and UDP port between 20000 and 27999;
- a handful of Services, two of them NodePorts, and for some seconds one NetworkPolicy, all about
  its own pods.

The pods run the very image that the DaemonSet `kube-tartan-ds` uses, so nothing is pulled that the
nodes do not have. They go past the scheduler, to every node that is Ready, cordoned or tainted.
Questions reach them by exec through the API server.

The namespace is deleted at the end, also after a failure, an error, Ctrl-C, SIGTERM or SIGHUP; a
second Ctrl-C ends at once and names what is left. After SIGKILL the namespace stays: the next test
names it, `tartanctl test --cleanup` deletes it, and its pods end by themselves ten minutes after
`--timeout`.

## Rights

The user of the kubeconfig needs: list on nodes, daemonsets, namespaces, and on services in
`kube-system`; create and delete on namespaces; in the test's namespace create and list on pods,
create on services, create and delete on networkpolicies, list on events, get and create on
pods/exec; for the scenario `tartan-agents` list on pods and get and create on pods/exec in
`kube-tartan`. A cluster administrator has them all.

## Results

Progress is one line per scenario, with its seconds. The end is a summary: for each failure what it
means, which nodes it has in common, and where to look next. When a scenario fails, the drop
counters of Tartan on all nodes are compared with those of before, and what grew is named: a packet
that nobody counted was lost outside of Tartan.

With `-o json` progress goes to standard error and one document to standard output: `namespace`,
`image`, `nodes`, `end` (`finished`, `interrupted`, `timed-out`), `seconds`, `passed`, `failed`,
`skipped`, and per scenario `number`, `id`, `shows`, `outcome` (`passed`, `failed`, `skipped`),
`seconds`, `notes`, `reason` of a skip, `failure` with `means`, `next` and `findings`, each of these
with `node`, `to_node` and `text`. `--junit` writes the same as JUnit XML, a case per scenario.

";

/// `docs/SELFTEST.md`.
pub(crate) fn document() -> String {
    let head = HEAD.replacen("\n\n", &format!("\n\n{}\n\n", super::GENERATED), 1);
    [head, scenarios(), options(), exit_codes(), MADE.trim_end().to_owned() + "\n"].concat()
}

fn scenarios() -> String {
    let mut text = String::from(
        "## Scenarios\n\nNumbers and ids are stable. The first one runs always: the others stand on \
         it.\n\n| | id | shows | when it fails |\n|---|---|---|---|\n",
    );
    for scenario in SCENARIOS {
        let (number, id) = (scenario.number(), scenario.id);
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {number} | `{id}` | {} | {}: {} |",
            scenario.shows, scenario.means, scenario.next
        );
    }
    text + "\n"
}

fn options() -> String {
    let mut text = String::from("## Options\n\n| Option | Meaning |\n|---|---|\n");
    let command = Options::augment_args(Command::new("test"));
    for argument in command.get_arguments() {
        let Some(name) = argument.get_long() else { continue };
        let value = argument.get_value_names().filter(|_| argument.get_action().takes_values());
        let value = value.map(|names| format!("={}", names.join(" "))).unwrap_or_default();
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let defaults = argument.get_default_values().iter().map(|one| one.to_string_lossy());
        let defaults: Vec<_> = defaults.filter(|_| argument.get_action().takes_values()).collect();
        let default = match defaults.as_slice() {
            [] => String::new(),
            some => format!(" [default: {}]", some.join(" ")),
        };
        let _ = writeln!(text, "| `--{name}{value}` | {help}{default} |");
    }
    text + "| `-o`, `--output` | `text` or `json` |\n\n"
}

fn exit_codes() -> String {
    let mut text = String::from("## Exit codes\n\n| Code | When |\n|---|---|\n");
    for (code, when) in EXIT_CODES {
        let _ = writeln!(text, "| {code} | {when} |");
    }
    text + "\n"
}

/// `docs/surface/selftest-scenarios.txt`.
pub(crate) fn surface() -> String {
    let line = |one: &tartan_ctl::test::Scenario| format!("{} {}\n", one.number(), one.id);
    SCENARIOS.iter().map(line).collect()
}
