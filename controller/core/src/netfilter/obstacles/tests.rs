//! Firewalls that shut pods out are named, those that let them through are not.

use super::*;
use crate::netfilter::model::{Action, Family};
use crate::netfilter::testing::nft;
use crate::netfilter::wanted;

fn scene() -> Scene {
    let networks = ["10.244.0.0/16".parse().unwrap()];
    Scene::new(&networks, &["flannel.1", "veth+"].map(str::to_owned))
}

fn lines(table: Table) -> Vec<String> {
    obstacles(&[table], &scene()).iter().map(ToString::to_string).collect()
}

/// firewalld's shape: everything that no zone accepts is rejected at the end.
fn firewalld(rules: &str) -> Table {
    let text = format!(
        "*firewalld
        :FORWARD ACCEPT
        :POLICIES -
        :PUBLIC -
        -A FORWARD --ctstate ESTABLISHED -j ACCEPT
        -A FORWARD --ctstate DNAT -j ACCEPT
        -A FORWARD -i lo -j ACCEPT
        -A FORWARD --ctstate INVALID -j DROP
        {rules}
        -A FORWARD -j POLICIES
        -A FORWARD -j REJECT
        -A POLICIES -i eth0 -j PUBLIC
        -A PUBLIC -p tcp --dport 22 -j ACCEPT
        -A PUBLIC -j REJECT"
    );
    Table { family: Family::Inet, ..nft(&text) }
}

#[test]
fn a_final_rejection_is_an_obstacle_until_pods_are_allowed() {
    let wanted = ["table inet firewalld, chain FORWARD, rule 6: -j REJECT"];
    assert_eq!(lines(firewalld("")), wanted);
    for rule in [
        "-s 10.244.0.0/16 -j ACCEPT",
        "-d 10.0.0.0/8 -j ACCEPT",
        "-i flannel.1 -j ACCEPT",
        "-o veth+ -j ACCEPT",
    ] {
        assert_eq!(lines(firewalld(&format!("-A FORWARD {rule}"))), [""; 0], "{rule}");
    }
    for rule in [
        "-s 172.17.0.0/16 -j ACCEPT",
        "-p tcp -j ACCEPT",
        "-i eth0 -j ACCEPT",
        "-i flannel.1 -p tcp -j ACCEPT",
    ] {
        let found = lines(firewalld(&format!("-A FORWARD {rule}")));
        assert_eq!(found, ["table inet firewalld, chain FORWARD, rule 7: -j REJECT"], "{rule}");
    }
}

#[test]
fn a_dropping_policy_is_an_obstacle_until_our_rules_stand_there() {
    let mut table = nft("*filter\n:FORWARD DROP\n:X -\n-A FORWARD -j X\n-A X -p tcp -j RETURN");
    assert_eq!(lines(table.clone()), ["table ip filter, chain FORWARD: policy drop"]);
    let network = "10.244.0.0/16".parse().unwrap();
    table.chains[0].rules.extend(wanted::forward_rules(network));
    assert_eq!(lines(table.clone()), [""; 0]);
    // Behind a drop they are no help.
    let drop = Rule::new(vec![], Action::Drop, "");
    table.chains[0].rules.insert(0, drop);
    assert_eq!(lines(table), ["table ip filter, chain FORWARD, rule 1: -j DROP"]);
}

#[test]
fn a_rejection_behind_jumps_is_found_where_it_stands() {
    let ufw = "*filter
        :FORWARD DROP
        :before -
        :reject -
        -A FORWARD -j before
        -A FORWARD -j reject
        -A before --ctstate ESTABLISHED -j ACCEPT
        -A before -p udp -j ACCEPT
        -A reject -j REJECT";
    assert_eq!(lines(nft(ufw)), ["table ip filter, chain reject, rule 1: -j REJECT"]);
}

#[test]
fn what_drops_some_packets_only_is_no_obstacle() {
    for rule in [
        "--ctstate INVALID -j DROP",
        "-p tcp --dport 25 -j REJECT",
        "-s 10.244.7.7/32 -j DROP",
        "-i docker0 -j DROP",
        "-j LOG",
        "-j MARK",
    ] {
        let table = nft(&format!("*filter\n:FORWARD ACCEPT\n-A FORWARD {rule}"));
        assert_eq!(lines(table), [""; 0], "{rule}");
    }
}

#[test]
fn other_hooks_families_and_known_tables_are_no_obstacles() {
    let drop = |name: &str, family| {
        let text = format!("*{name}\n:FORWARD DROP\n:INPUT DROP\n:POSTROUTING DROP");
        Table { family, ..nft(&text) }
    };
    assert_eq!(lines(drop("x", Family::Ip)).len(), 1);
    assert_eq!(lines(drop("x", Family::Ip6)), [""; 0]);
    assert_eq!(lines(drop("x", Family::Bridge)), [""; 0]);
    assert_eq!(lines(drop("kube-proxy", Family::Ip)), [""; 0]);
    assert_eq!(lines(drop("tartan", Family::Ip)), [""; 0]);
}

#[test]
fn a_circle_of_jumps_ends() {
    let text = "*filter\n:FORWARD ACCEPT\n:X -\n:Y -\n-A FORWARD -j X\n-A X -j Y\n-A Y -j X";
    assert_eq!(lines(nft(text)), [""; 0]);
}
