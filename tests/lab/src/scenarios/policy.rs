//! Policy engines beside the fast path, with everything at its default: what an engine in netfilter
//! denies is denied, also to flows that the fast path already knew, and what it allows goes on.
//!
//! A real engine (kube-router's NetworkPolicy controller) rules over nodes of ours and of flannel's
//! in one cluster, so that both are measured by one clock. Calico's contract is restated by hand.

mod calico;
mod calico_rules;
mod cast;
mod flows;
mod known;
mod kube_router;
mod modes;
mod observe;
mod sides;
mod under_way;

use self::calico_rules::Dataplane;
use crate::network_policy::Flavour;
use crate::scenario::Entry;

pub(super) static SCENARIOS: &[Entry] = &[
    Entry::new("policy::kube_router_by_iptables_nft", |s| kube_router::run(s, Flavour::Nft))
        .within(150)
        .with_tools(),
    Entry::new("policy::kube_router_by_iptables_legacy", |s| kube_router::run(s, Flavour::Legacy))
        .within(150)
        .with_tools(),
    Entry::new("policy::calicos_contract_by_iptables_nft", |s| {
        calico::run(s, Dataplane::Iptables(Flavour::Nft))
    })
    .within(120),
    Entry::new("policy::calicos_contract_by_iptables_legacy", |s| {
        calico::run(s, Dataplane::Iptables(Flavour::Legacy))
    })
    .within(120),
    Entry::new("policy::calicos_contract_by_nftables", |s| calico::run(s, Dataplane::Nftables))
        .within(120),
    Entry::new("policy::the_first_rules_deny_already", |s| {
        calico::first_rules_deny(s, Dataplane::Nftables)
    })
    .within(90),
    Entry::new("policy::the_first_legacy_rules_deny_already", |s| {
        calico::first_rules_deny(s, Dataplane::Iptables(Flavour::Legacy))
    })
    .within(90),
    Entry::new("policy::mode_on_goes_past_a_rule", |s| modes::run(s, "on")),
    Entry::new("policy::mode_after_accept_asks_netfilter", |s| modes::run(s, "after-accept")),
    Entry::new("policy::mode_off_asks_netfilter", |s| modes::run(s, "off")),
];
