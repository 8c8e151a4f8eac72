//! In netfilter's house: source addresses, repair, firewalls, flannel's leftovers and older kernels.

mod firewalls;
mod ground;
mod ipv6;
mod launder;
mod leftovers;
mod legacy;
mod masquerade;
mod repair;
mod table;

use self::ground::Flavour;
use self::legacy::NO_NF_TABLES;
use crate::scenario::Entry;

pub(super) static SCENARIOS: &[Entry] = &[
    Entry::new("netfilter::flannels_source_addresses_iptables", |s| {
        masquerade::flannels_table(s, Flavour::Iptables)
    })
    .with_tools(),
    Entry::new("netfilter::flannels_source_addresses_nft", |s| {
        masquerade::flannels_table(s, Flavour::Nft)
    })
    .with_tools(),
    Entry::new("netfilter::source_addresses_are_flannels", |s| {
        masquerade::our_table(s, &[], "iptables")
    }),
    Entry::new("netfilter::source_addresses_beside_iptables_legacy", |s| {
        masquerade::our_table(s, &[], "iptables-legacy")
    }),
    Entry::new("netfilter::source_addresses_without_nf_tables", |s| {
        masquerade::our_table(s, &NO_NF_TABLES, "iptables-legacy")
    }),
    Entry::new("netfilter::ipv6_source_addresses_are_flannels", ipv6::beside_flannel).with_tools(),
    Entry::new("netfilter::nothing_is_masqueraded_unless_asked_for", masquerade::not_asked_for),
    Entry::new("netfilter::pods_keep_their_source_where_told", masquerade::exceptions),
    Entry::new("netfilter::source_ports_are_random_unless_disabled", |s| masquerade::ports(s, &[])),
    Entry::new("netfilter::source_ports_without_nf_tables", |s| {
        masquerade::ports(s, &NO_NF_TABLES)
    }),
    Entry::new("netfilter::no_source_port_is_the_tunnels", |s| masquerade::tunnel_port(s, &[])),
    Entry::new("netfilter::no_source_port_is_the_tunnels_without_nf_tables", |s| {
        masquerade::tunnel_port(s, &NO_NF_TABLES)
    }),
    Entry::new("netfilter::a_service_launders_no_tunnel_packet", |s| {
        launder::a_service(s, "iptables", &[])
    }),
    Entry::new("netfilter::a_service_launders_no_tunnel_packet_without_nf_tables", |s| {
        launder::a_service(s, "iptables-legacy", &NO_NF_TABLES)
    }),
    Entry::new("netfilter::whatever_is_deleted_is_back_in_a_second", repair::of_anything)
        .within(120),
    Entry::new("netfilter::whoever_empties_netfilter_it_is_back", repair::of_everything),
    Entry::new("netfilter::what_xtables_lose_is_back_in_a_second", legacy::repair).within(120),
    Entry::new("netfilter::strangers_are_left_alone", repair::strangers_are_left_alone),
    Entry::new("netfilter::a_right_table_is_not_written_again", repair::a_right_table_is_left),
    Entry::new("netfilter::the_blackhole_route_is_kept", repair::blackhole),
    Entry::new("netfilter::forward_drop_by_iptables_nft", |s| {
        firewalls::forward_drop(s, "iptables-nft", &[])
    }),
    Entry::new("netfilter::forward_drop_by_iptables_legacy", |s| {
        firewalls::forward_drop(s, "iptables-legacy", &[])
    }),
    Entry::new("netfilter::forward_drop_without_nf_tables", |s| {
        firewalls::forward_drop(s, "iptables-legacy", &NO_NF_TABLES)
    }),
    Entry::new("netfilter::beside_ufw", firewalls::beside_ufw),
    Entry::new("netfilter::beside_firewalld", firewalls::beside_firewalld),
    Entry::new("netfilter::input_rules_see_no_tunnel_packet", firewalls::input_sees_no_tunnel),
    Entry::new("netfilter::input_rules_see_fragments", firewalls::input_sees_fragments),
    Entry::new("netfilter::from_flannel_and_back_iptables", |s| {
        leftovers::there_and_back(s, Flavour::Iptables, false)
    })
    .with_tools(),
    Entry::new("netfilter::from_flannel_and_back_iptables_legacy", |s| {
        leftovers::there_and_back(s, Flavour::Iptables, true)
    })
    .with_tools(),
    Entry::new("netfilter::from_flannel_and_back_nft", |s| {
        leftovers::there_and_back(s, Flavour::Nft, false)
    })
    .with_tools(),
];
