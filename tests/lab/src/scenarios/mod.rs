//! The table of scenarios: one file per subject, one line per file.

mod agent_restarts;
mod all_pairs;
mod bad_input;
mod cluster_commands;
mod cni_beside_the_agent;
mod cni_handover;
mod cni_lifecycle;
mod cni_load;
mod conntrack_mixed_paths;
mod cross;
mod differential;
mod direct;
mod direct6;
mod fast_share;
mod ipv6;
mod kernel_baseline;
mod kernel_drops;
mod kernel_reach;
mod kernel_vxlan_interop;
mod kube_changes;
mod kube_control_plane;
mod kube_mixed;
mod kube_outage;
mod kube_permissions;
mod kube_scale;
mod kube_services;
mod kube_store_suite;
mod kube_surface;
mod kube_takeover;
mod l2_cluster;
mod l2_migration;
mod l2_pods;
mod l2_privilege;
mod l2_reboot;
mod l2_rest;
mod l2_rollout;
mod l2_selftest;
mod l2_traffic;
mod lab_itself;
mod least_privilege;
mod matrix;
mod netfilter;
mod operator;
mod outer_fragments;
mod pod_links;
mod policy;
mod refusals;
mod repairs;
mod services;
mod source_check_sender;
mod takeover_device;
mod traced;
mod uplinks;
mod wire_equality;
mod xdp;

use crate::scenario::Entry;

/// Every scenario, by subject.
pub static SCENARIOS: &[&[Entry]] = &[
    lab_itself::SCENARIOS,
    cluster_commands::SCENARIOS,
    kernel_baseline::SCENARIOS,
    cni_lifecycle::SCENARIOS,
    cni_load::SCENARIOS,
    cni_beside_the_agent::SCENARIOS,
    cni_handover::SCENARIOS,
    all_pairs::SCENARIOS,
    kernel_vxlan_interop::SCENARIOS,
    direct::SCENARIOS,
    direct6::SCENARIOS,
    kernel_reach::SCENARIOS,
    matrix::SCENARIOS,
    wire_equality::SCENARIOS,
    differential::SCENARIOS,
    kernel_drops::SCENARIOS,
    agent_restarts::SCENARIOS,
    refusals::SCENARIOS,
    repairs::SCENARIOS,
    netfilter::SCENARIOS,
    operator::SCENARIOS,
    traced::SCENARIOS,
    pod_links::SCENARIOS,
    source_check_sender::SCENARIOS,
    outer_fragments::SCENARIOS,
    services::SCENARIOS,
    conntrack_mixed_paths::SCENARIOS,
    fast_share::SCENARIOS,
    least_privilege::SCENARIOS,
    bad_input::SCENARIOS,
    takeover_device::SCENARIOS,
    uplinks::SCENARIOS,
    xdp::SCENARIOS,
    kube_control_plane::SCENARIOS,
    kube_permissions::SCENARIOS,
    kube_outage::SCENARIOS,
    kube_changes::SCENARIOS,
    kube_scale::SCENARIOS,
    kube_store_suite::SCENARIOS,
    kube_mixed::SCENARIOS,
    ipv6::SCENARIOS,
    cross::SCENARIOS,
    kube_takeover::SCENARIOS,
    kube_surface::SCENARIOS,
    policy::SCENARIOS,
    kube_services::SCENARIOS,
    l2_cluster::SCENARIOS,
    l2_selftest::SCENARIOS,
    l2_migration::SCENARIOS,
    l2_pods::SCENARIOS,
    l2_privilege::SCENARIOS,
    l2_reboot::SCENARIOS,
    l2_rest::SCENARIOS,
    l2_rollout::SCENARIOS,
];
