//! What is harmless is taken for that, what is not is named, and a clear verdict is never wrong.

use proptest::prelude::*;

use super::*;
use crate::netfilter::model::{Chain, Engine, Match, Rule};
use crate::netfilter::testing::{Outcome, Packet, iptables, nft, rule};
use crate::netfilter::wanted;

fn scene() -> Scene {
    let networks = ["10.244.0.0/16".parse().unwrap()];
    Scene::new(&networks, &["flannel.1", "veth+", "cni0"].map(str::to_owned))
}

fn line(tables: &[Table]) -> String {
    match assess(tables, &scene()) {
        Verdict::Clear => "clear".to_owned(),
        Verdict::Stranger(stranger) => stranger.to_string(),
    }
}

/// The verdict on these rules in FORWARD, with the chain X behind it.
fn forward(policy: &str, rules: &[&str]) -> String {
    let rules: Vec<String> = rules.iter().map(|rule| format!("-A {rule}")).collect();
    let rules = rules.join("\n");
    line(&[nft(&format!("*filter\n:FORWARD {policy}\n:X -\n:Y -\n{rules}"))])
}

fn in_forward(rule: &str) -> String {
    forward("ACCEPT", &[&format!("FORWARD {rule}")])
}

/// A node with kube-proxy in iptables mode, portmap, flannel's leftovers and ours.
const KUBE_NAT: &str = "*nat
    :PREROUTING ACCEPT
    :INPUT ACCEPT
    :OUTPUT ACCEPT
    :POSTROUTING ACCEPT
    :KUBE-SERVICES -
    :KUBE-POSTROUTING -
    :CNI-HOSTPORT-DNAT -
    :CNI-HOSTPORT-MASQ -
    :FLANNEL-POSTRTG -
    :TARTAN-POSTRTG -
    -A PREROUTING -j KUBE-SERVICES
    -A PREROUTING --dst-type-LOCAL -j CNI-HOSTPORT-DNAT
    -A OUTPUT -j KUBE-SERVICES
    -A POSTROUTING -j CNI-HOSTPORT-MASQ
    -A POSTROUTING -j KUBE-POSTROUTING
    -A POSTROUTING -j FLANNEL-POSTRTG
    -A POSTROUTING -j TARTAN-POSTRTG
    -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
    -A KUBE-SERVICES -d 10.96.0.1/32 -p tcp --dport 443 -j DNAT
    -A KUBE-POSTROUTING -j MASQUERADE
    -A CNI-HOSTPORT-DNAT -p tcp --dport 8080 -j DNAT
    -A CNI-HOSTPORT-MASQ --mark-it -j MASQUERADE
    -A FLANNEL-POSTRTG -s 10.244.0.0/16 ! -d 224.0.0.0/4 -j MASQUERADE
    -A TARTAN-POSTRTG -s 10.244.0.0/16 ! -d 224.0.0.0/4 -j MASQUERADE";

const KUBE_FILTER: &str = "*filter
    :INPUT DROP
    :FORWARD DROP
    :OUTPUT ACCEPT
    :KUBE-FORWARD -
    :KUBE-SERVICES -
    :KUBE-EXTERNAL-SERVICES -
    :KUBE-PROXY-FIREWALL -
    :KUBE-FIREWALL -
    :FLANNEL-FWD -
    -A INPUT --ct-state-NEW -j KUBE-PROXY-FIREWALL
    -A INPUT -j KUBE-FIREWALL
    -A FORWARD --ct-state-NEW -j KUBE-PROXY-FIREWALL
    -A FORWARD -j KUBE-FORWARD
    -A FORWARD --ct-state-NEW -j KUBE-SERVICES
    -A FORWARD --ct-state-NEW -j KUBE-EXTERNAL-SERVICES
    -A FORWARD -j FLANNEL-FWD
    -A KUBE-FORWARD --ctstate INVALID -j DROP
    -A KUBE-FIREWALL -d 127.0.0.0/8 -j DROP
    -A FLANNEL-FWD -s 10.244.0.0/16 -j ACCEPT
    -A FLANNEL-FWD -d 10.244.0.0/16 -j ACCEPT";

#[test]
fn an_empty_host_is_clear() {
    assert_eq!(line(&[]), "clear");
}

#[test]
fn kube_proxy_portmap_flannel_and_we_leave_pods_alone() {
    for engine in [Engine::NfTables, Engine::Xtables] {
        let tables = [iptables(engine, KUBE_NAT), iptables(engine, KUBE_FILTER)];
        assert_eq!(line(&tables), "clear");
    }
}

#[test]
fn known_tables_are_known_as_a_whole_and_in_their_own_family() {
    for (name, family, known) in [
        ("kube-proxy", Family::Ip, true),
        ("kube-proxy", Family::Inet, false),
        ("cni_hostport", Family::Ip, true),
        ("flannel-ipv4", Family::Ip, true),
        ("flannel-ipv6", Family::Ip, false),
        ("tartan", Family::Ip, true),
        ("tartan", Family::Inet, false),
        ("kube-router-filter-ipv4", Family::Ip, false),
        ("kube-proxy2", Family::Ip, false),
    ] {
        let mut table = nft("*x\n:FORWARD ACCEPT\n-A FORWARD -j DROP");
        (table.name, table.family) = (name.to_owned(), family);
        assert_eq!(line(&[table.clone()]) == "clear", known, "{family} {name}");
        table.engine = Engine::Xtables;
        assert_ne!(line(&[table]), "clear", "{name} is no table of xtables");
    }
}

#[test]
fn a_known_chain_is_known_only_in_its_own_table() {
    let text = "*filter\n:FORWARD ACCEPT\n:KUBE-FORWARD -\n-A FORWARD -j KUBE-FORWARD\n-A KUBE-FORWARD -j DROP";
    let mut table = nft(text);
    assert_eq!(line(&[table.clone()]), "clear");
    for (family, name) in [(Family::Ip, "nat"), (Family::Inet, "filter"), (Family::Ip, "mine")] {
        (table.family, table.name) = (family, name.to_owned());
        let wanted =
            format!("table {family} {name}, chain FORWARD > KUBE-FORWARD, rule 1: -j DROP");
        assert_eq!(line(&[table.clone()]), wanted);
    }
}

#[test]
fn policy_engines_are_strangers_whatever_their_names_begin_with() {
    for chain in ["KUBE-ROUTER-FORWARD", "KUBE-POD-FW-ABC", "KUBE-NWPLCY-ABC", "cali-FORWARD"] {
        let text = format!("*filter\n:FORWARD ACCEPT\n:{chain} -\n-A FORWARD -j {chain}\n");
        assert_eq!(line(&[nft(&text)]), "clear", "an empty chain does nothing");
        let text = format!("{text}-A {chain} -j MARK");
        assert_eq!(
            line(&[nft(&text)]),
            format!("table ip filter, chain FORWARD > {chain}, rule 1: -j MARK")
        );
    }
}

#[test]
fn rules_that_cannot_mean_pods_traffic_are_harmless() {
    for rule in [
        "-d 169.254.20.10/32 -p udp --dport 53 -j CT",
        "! -s 10.0.0.0/8 -j DROP",
        "! -d 10.244.0.0/16 -j MASQUERADE",
        "-s 172.17.0.0/16 -j DROP",
        "-d fd00::/8 -j DROP",
        "! -s fd00::/8 -j DROP",
        "-i docker0 -j DROP",
        "-o docker0 -j DROP",
        "-i lo -j DNAT",
        "-i br-+ -j DROP",
        "! -i + -j DROP",
        "--ctstate DNAT -j DROP",
        "-s 10.244.0.0/16 -i docker0 --whatever -j REJECT",
    ] {
        assert_eq!(in_forward(rule), "clear", "{rule}");
    }
}

#[test]
fn rules_without_effect_are_harmless() {
    for rule in ["-j ACCEPT", "-j RETURN", "-p tcp", "--ctstate RELATED -j ACCEPT", "--x -j X"] {
        assert_eq!(in_forward(rule), "clear", "{rule}");
    }
}

#[test]
fn rules_that_may_mean_pods_traffic_are_strangers() {
    for rule in [
        "-j DROP",
        "-p tcp --dport 25 -j DROP",
        "-s 10.244.1.7/32 -j DROP",
        "-d 10.0.0.0/8 -j DROP",
        "! -s 10.244.1.0/24 -j DROP",
        "! -d 172.17.0.0/16 -j DROP",
        "-i flannel.1 -j DROP",
        "-o veth17 -j DROP",
        "-i ve+ -j DROP",
        "! -o cni0 -j DROP",
        "! -i docker0 -j DROP",
        "--mark 0x1/0x1 -j REJECT",
        "-p udp -j NFQUEUE",
        "-j LOG",
        "-s 10.244.0.0/16 -j MASQUERADE",
        "-j NOWHERE",
    ] {
        let rule = rule.replace("--mark 0x1/0x1", "--mark-is-1");
        let wanted = format!("table ip filter, chain FORWARD, rule 1: {rule}");
        assert_eq!(in_forward(&rule), wanted);
    }
}

#[test]
fn jumps_are_followed_and_their_conditions_count() {
    let drop = "X -j DROP";
    let place = "table ip filter, chain FORWARD > X, rule 1: -j DROP";
    for (jump, wanted) in [
        ("-j X", place),
        ("-g X", place),
        ("--ctstate NEW -j X", place),
        ("-j Y", "table ip filter, chain FORWARD > Y > X, rule 1: -j DROP"),
        ("-i docker0 -j X", "clear"),
        ("-i docker0 -g X", "clear"),
        ("! -s 10.0.0.0/8 -j Y", "clear"),
    ] {
        let rules = [&format!("FORWARD {jump}"), "Y -j X", drop];
        assert_eq!(forward("ACCEPT", &rules), wanted, "{jump}");
    }
    assert_eq!(forward("ACCEPT", &["FORWARD -j Y", "Y -i lo -j X", drop]), "clear");
    let circle = forward("ACCEPT", &["FORWARD -j X", "X -j Y", "Y -j X"]);
    assert!(circle.starts_with("table ip filter, chain "), "{circle}");
}

#[test]
fn what_no_pod_reaches_is_harmless() {
    for rules in [
        ["FORWARD -s 10.0.0.0/8 -j ACCEPT", "FORWARD -j DROP", "X -j DROP"],
        ["FORWARD -j RETURN", "FORWARD -j X", "X -j DROP"],
        ["FORWARD -g Y", "FORWARD -j X", "X -j DROP"],
        ["FORWARD -j Y", "Y -d 10.244.0.0/16 -j ACCEPT", "FORWARD -j DROP"],
    ] {
        assert_eq!(forward("ACCEPT", &rules), "clear", "{rules:?}");
    }
    for rules in [
        ["FORWARD -s 10.244.1.0/24 -j ACCEPT", "FORWARD -j DROP"],
        ["FORWARD --ctstate ESTABLISHED -j ACCEPT", "FORWARD -j DROP"],
        ["FORWARD --x -g Y", "FORWARD -j DROP"],
        ["FORWARD --x -j RETURN", "FORWARD -j DROP"],
        ["FORWARD -i veth+ -j ACCEPT", "FORWARD -j DROP"],
    ] {
        let wanted = "table ip filter, chain FORWARD, rule 2: -j DROP";
        assert_eq!(forward("ACCEPT", &rules), wanted, "{rules:?}");
    }
}

#[test]
fn a_dropping_policy_is_a_stranger_until_pods_are_accepted() {
    let policy = "table ip filter, chain FORWARD: policy drop";
    assert_eq!(forward("DROP", &[]), policy);
    assert_eq!(forward("DROP", &["FORWARD --ctstate ESTABLISHED -j ACCEPT"]), policy);
    assert_eq!(forward("DROP", &["FORWARD -s 10.244.0.0/16 -i veth+ -j ACCEPT"]), policy);
    assert_eq!(forward("DROP", &["FORWARD -s 10.244.0.0/16 -j ACCEPT"]), "clear");
    assert_eq!(forward("DROP", &["FORWARD -j X", "X -d 10.244.0.0/16 -j ACCEPT"]), "clear");
    let mut table = nft("*filter\n:FORWARD DROP");
    let network = "10.244.0.0/16".parse().unwrap();
    table.chains[0].rules.extend(wanted::forward_rules(network));
    assert_eq!(line(&[table]), "clear");
}

#[test]
fn hooks_that_pods_do_not_pass_are_not_looked_at() {
    for (chain, family, harmless) in [
        ("PREROUTING", Family::Ip, false),
        ("FORWARD", Family::Inet, false),
        ("POSTROUTING", Family::Ip, false),
        ("INPUT", Family::Ip, true),
        ("OUTPUT", Family::Inet, true),
        ("FORWARD", Family::Ip6, true),
        ("FORWARD", Family::Bridge, true),
        ("FORWARD", Family::Arp, true),
        ("INGRESS", Family::Netdev, false),
        ("INGRESS", Family::Inet, false),
        ("FORWARD", Family::Other(77), false),
    ] {
        let mut table = nft(&format!("*x\n:{chain} ACCEPT\n-A {chain} -j DROP"));
        table.family = family;
        assert_eq!(line(&[table]) == "clear", harmless, "{family} {chain}");
    }
}

#[test]
fn at_a_devices_own_hook_every_rule_is_a_stranger() {
    let mut table = nft("*x\n:INGRESS ACCEPT");
    table.family = Family::Netdev;
    assert_eq!(line(&[table.clone()]), "clear");
    table.chains[0].rules.push(rule("-s 198.51.100.1/32 -j ACCEPT"));
    let wanted = "table netdev x, chain INGRESS, rule 1: -s 198.51.100.1/32 -j ACCEPT";
    assert_eq!(line(&[table]), wanted);
}

#[test]
fn ipv6_counts_as_soon_as_pods_have_it() {
    let mut table = nft("*filter\n:FORWARD ACCEPT\n-A FORWARD -d fd00::/8 -j DROP");
    table.family = Family::Ip6;
    let networks = ["10.244.0.0/16", "fd00:42::/56"].map(|net| net.parse().unwrap());
    let both = Scene::new(&networks, &["flannel.1".to_owned()]);
    assert_eq!(assess(&[table.clone()], &scene()), Verdict::Clear);
    assert_ne!(assess(&[table.clone()], &both), Verdict::Clear);
    table.family = Family::Inet;
    assert_eq!(assess(&[table.clone()], &scene()), Verdict::Clear);
    assert_ne!(assess(&[table], &both), Verdict::Clear);
}

#[test]
fn the_line_names_the_rule_its_engine_and_its_comment() {
    let text = "*filter\n:FORWARD ACCEPT\n-A FORWARD -i lo -j DROP\n-A FORWARD --comment no_mail -p tcp --dport 25 -j DROP";
    let wanted =
        "legacy table ip filter, chain FORWARD, rule 2: -p tcp --dport 25 -j DROP (no mail)";
    let mut table = iptables(Engine::Xtables, text);
    assert_eq!(line(&[table.clone()]), wanted);
    table.chains[0].rules[1].comment = "no\nmail".to_owned();
    assert_eq!(line(&[table]), wanted);
}

#[test]
fn chains_that_are_jumped_to_from_everywhere_are_walked_once() {
    let mut lines = vec!["*filter".to_owned(), ":FORWARD ACCEPT".to_owned()];
    lines.extend((0..14).map(|number| format!(":C{number} -")));
    let mut from = "FORWARD".to_owned();
    for number in 0..14 {
        lines.extend(vec![format!("-A {from} --x -j C{number}"); 20]);
        from = format!("C{number}");
    }
    let text = lines.join("\n");
    assert_eq!(line(&[nft(&text)]), "clear");
}

/// One condition of those that decide.
fn one_match() -> impl Strategy<Value = Match> {
    let nets = ["10.244.0.0/16", "10.244.1.0/24", "10.0.0.0/8", "172.17.0.0/16", "fd00::/8"];
    let net = prop::sample::select(nets.map(|net| net.parse::<IpNet>().unwrap()).to_vec());
    let devices = ["flannel.1", "veth+", "veth1", "v+", "+", "docker0", "lo"];
    let device = prop::sample::select(devices.map(str::to_owned).to_vec());
    let address = (net, any::<bool>(), any::<bool>()).prop_map(|(net, negated, source)| {
        if source { Match::Source { net, negated } } else { Match::Destination { net, negated } }
    });
    let device = (device, any::<bool>(), any::<bool>()).prop_map(|(name, negated, input)| {
        if input { Match::InDevice { name, negated } } else { Match::OutDevice { name, negated } }
    });
    let other = prop::sample::select(vec![
        Match::Other("x".to_owned()),
        Match::DestinationTranslated,
        Match::Protocol(17),
        Match::Mark { value: 1, mask: 1, negated: true },
    ]);
    prop_oneof![3 => address, 2 => device, 1 => other]
}

/// A rule of the chain of this number; it jumps only to later ones.
fn one_rule(number: usize) -> impl Strategy<Value = Rule> {
    let next = format!("C{}", number + 1);
    let last = format!("C{}", (number + 2).min(4));
    let jumps = [Action::Jump(next.clone()), Action::Jump(last.clone()), Action::Goto(last)];
    let jumps = if number < 4 { jumps.to_vec() } else { vec![Action::Continue] };
    let action = prop_oneof![
        3 => prop::sample::select(jumps),
        2 => prop::sample::select(vec![Action::Accept, Action::Return, Action::Continue]),
        2 => prop::sample::select(vec![
            Action::Drop,
            Action::Other("-j X".to_owned()),
            Action::Masquerade { random_fully: false, ports: None },
        ]),
    ];
    (prop::collection::vec(one_match(), 0..3), action)
        .prop_map(|(matches, action)| Rule::new(matches, action, ""))
}

fn any_table() -> impl Strategy<Value = Table> {
    let chain = |number| prop::collection::vec(one_rule(number), 0..4);
    let chains = (chain(0), chain(1), chain(2), chain(3), chain(4));
    (chains, any::<bool>()).prop_map(|((c0, c1, c2, c3, c4), drop)| {
        let mut table = nft(if drop { "*t\n:FORWARD DROP" } else { "*t\n:FORWARD ACCEPT" });
        table.chains[0].rules = c0;
        for (number, rules) in [c1, c2, c3, c4].into_iter().enumerate() {
            table.chains.push(Chain { name: format!("C{}", number + 1), base: None, rules });
        }
        table
    })
}

fn pods_packet() -> impl Strategy<Value = Packet> {
    let pod = || prop_oneof![Just(1_u8), Just(2), any::<u8>()];
    let device = || prop::sample::select(vec!["flannel.1", "veth1", "veth23", "cni0"]);
    let rest = (any::<bool>(), prop_oneof![Just(6_u8), Just(17)], any::<u32>());
    (pod(), pod(), device(), device(), rest).prop_map(|(from, to, input, output, rest)| {
        let (other, protocol, mark) = rest;
        let packet = Packet::between([10, 244, from, 5].into(), [10, 244, to, 6].into());
        let (input, output) = (input.to_owned(), output.to_owned());
        Packet { protocol, mark, input, output, other, ..packet }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8192))]

    #[test]
    fn where_the_verdict_is_clear_no_pods_packet_is_touched(
        table in any_table(),
        packets in prop::collection::vec(pods_packet(), 8),
    ) {
        if assess(std::slice::from_ref(&table), &scene()) == Verdict::Clear {
            for packet in packets {
                prop_assert_eq!(packet.through(&table, "FORWARD"), Outcome::Accepted, "{:?}", packet);
            }
        }
    }
}
