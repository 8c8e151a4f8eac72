//! What each flag does in this version, told at start and in the documents.

use super::normalise::Given;
use super::value::go_bool;

/// What a flag does in this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// What its meaning says.
    Full,
    /// Less than that: what the operator has to know.
    Less(&'static str),
}

const NO_RULES: Effect = Effect::Less("no effect yet: no firewall rules are written");
const NO_KUBE: Effect = Effect::Less("no effect yet: leases are kept in --lease-dir");
const NO_HEALTH: Effect = Effect::Less("no effect yet: there is no health listener");

/// Every flag, in the order of the command line's definition.
pub(super) const EFFECTS: [(&str, Effect); 26] = [
    ("lease-dir", Effect::Full),
    ("net-config-path", Effect::Full),
    ("subnet-file", Effect::Full),
    ("iface", Effect::Full),
    ("iface-regex", Effect::Full),
    ("iface-can-reach", Effect::Full),
    ("public-ip", Effect::Full),
    (
        "ip-masq",
        Effect::Less("only written into the subnet file yet: no firewall rules are written"),
    ),
    ("ip-masq-fully-random-disable", NO_RULES),
    ("iptables-resync", NO_RULES),
    ("iptables-forward-rules", NO_RULES),
    ("ip-blackhole-route", Effect::Less("no effect yet: no blackhole route is kept")),
    ("healthz-ip", NO_HEALTH),
    ("healthz-port", NO_HEALTH),
    ("subnet-lease-renew-margin", Effect::Less("no effect: leases are renewed every hour")),
    ("kube-subnet-mgr", Effect::Less("refused: not supported yet, use --lease-dir")),
    ("kube-api-url", NO_KUBE),
    ("kubeconfig-file", NO_KUBE),
    ("kube-annotation-prefix", NO_KUBE),
    ("set-node-network-unavailable", NO_KUBE),
    ("replace-programs", Effect::Full),
    ("version", Effect::Full),
    ("v", Effect::Full),
    ("vmodule", Effect::Less("ignored: use -v")),
    ("log_backtrace_at", Effect::Less("ignored: use -v")),
    ("help", Effect::Full),
];

/// What `name` does; an unknown flag never gets this far.
pub(super) fn effect_of(name: &str) -> Effect {
    EFFECTS.iter().find(|(flag, _)| *flag == name).map_or(Effect::Full, |(_, effect)| *effect)
}

/// One line for each flag that was given and does less than it says.
pub(super) fn warnings(given: &[Given]) -> Vec<String> {
    let mut lines: Vec<String> = given.iter().filter_map(warning).collect();
    lines.dedup();
    lines
}

fn warning(flag: &Given) -> Option<String> {
    match effect_of(&flag.name) {
        Effect::Full => None,
        Effect::Less(_) if asks_for_nothing(&flag.value) => None,
        Effect::Less(text) => Some(format!("--{}={}: {text}", flag.name, flag.value)),
    }
}

/// Who switches off what is not there gets what they asked for.
fn asks_for_nothing(value: &str) -> bool {
    go_bool(value) == Ok(false)
}
