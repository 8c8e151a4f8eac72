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

const NO_ETCD: Effect = Effect::Less("ignored: etcd is not built in");

/// Every flag, in the order of the command line's definition.
pub(super) const EFFECTS: [(&str, Effect); 38] = [
    ("lease-dir", Effect::Full),
    ("net-config-path", Effect::Full),
    ("subnet-file", Effect::Full),
    ("iface", Effect::Full),
    ("iface-regex", Effect::Full),
    ("iface-can-reach", Effect::Full),
    ("public-ip", Effect::Full),
    ("public-ipv6", Effect::Full),
    ("ip-masq", Effect::Full),
    ("ip-masq-fully-random-disable", Effect::Full),
    ("iptables-resync", Effect::Less("not needed: rules are put back as soon as they change")),
    ("iptables-forward-rules", Effect::Full),
    ("ip-blackhole-route", Effect::Full),
    ("healthz-ip", Effect::Full),
    ("healthz-port", Effect::Full),
    (
        "subnet-lease-renew-margin",
        Effect::Less(
            "no effect: leases in a directory are renewed every hour, Kubernetes needs no renewal",
        ),
    ),
    ("kube-subnet-mgr", Effect::Full),
    ("kube-api-url", Effect::Full),
    ("kubeconfig-file", Effect::Full),
    ("kube-annotation-prefix", Effect::Full),
    ("set-node-network-unavailable", Effect::Full),
    ("last-known-file", Effect::Full),
    ("cni-conf-source", Effect::Full),
    ("cni-conf-file", Effect::Full),
    ("replace-programs", Effect::Full),
    ("xdp-iface", Effect::Full),
    ("etcd-endpoints", NO_ETCD),
    ("etcd-prefix", NO_ETCD),
    ("etcd-keyfile", NO_ETCD),
    ("etcd-certfile", NO_ETCD),
    ("etcd-cafile", NO_ETCD),
    ("etcd-username", NO_ETCD),
    ("etcd-password", NO_ETCD),
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
        // Its value may be a password.
        Effect::Less(text) if flag.name.starts_with("etcd-") => {
            Some(format!("--{}: {text}", flag.name))
        }
        Effect::Less(text) => Some(format!("--{}={}: {text}", flag.name, flag.value)),
    }
}

/// Who switches off what is not there gets what they asked for.
fn asks_for_nothing(value: &str) -> bool {
    go_bool(value) == Ok(false)
}
