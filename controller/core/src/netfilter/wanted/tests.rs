//! Our rules have flannel's outcome for every packet.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::netfilter::testing::{Outcome, Packet};

const TUNNEL: u16 = 8472;

/// One family's networks: the pods', this node's, an exempt one, and multicast.
#[derive(Debug, Clone, Copy)]
struct Nets {
    network: &'static str,
    subnet: &'static str,
    exempt: &'static str,
    multicast: &'static str,
    outside: &'static str,
}

const V4: Nets = Nets {
    network: "10.244.0.0/16",
    subnet: "10.244.1.0/24",
    exempt: "192.168.0.0/16",
    multicast: "224.0.0.0/4",
    outside: "198.51.100.0/24",
};
const V6: Nets = Nets {
    network: "2001:cafe:42::/56",
    subnet: "2001:cafe:42:1::/64",
    exempt: "fd00::/8",
    multicast: "ff00::/8",
    outside: "2001:db8::/32",
};

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn settings() -> Settings {
    Settings {
        ip_masq: true,
        random_fully: true,
        skips_conntrack: false,
        tunnel_port: Some(TUNNEL),
        exempt: vec![net(V4.exempt), net(V6.exempt)],
        nodes: vec!["198.51.100.9".parse().unwrap(), "198.51.100.7".parse().unwrap()],
    }
}

fn wanted(nets: Nets, settings: Settings) -> Masquerade {
    Masquerade::new(net(nets.network), net(nets.subnet), settings).unwrap()
}

/// flannel's rows, one rule for each.
fn flannels(nets: Nets) -> Table {
    let (c, p, m) = (net(nets.network), net(nets.subnet), net(nets.multicast));
    let from = |net, negated| Match::Source { net, negated };
    let to = |net, negated| Match::Destination { net, negated };
    let mark = Match::Mark { value: 0x4000, mask: 0x4000, negated: false };
    let masquerade = Action::Masquerade { random_fully: true, ports: None };
    let rows = [
        (vec![mark], Action::Return),
        (vec![from(p, false), to(c, false)], Action::Return),
        (vec![from(c, false), to(p, false)], Action::Return),
        (vec![from(c, true), to(p, false)], Action::Return),
        (vec![from(c, false), to(m, true)], masquerade.clone()),
        (vec![from(c, true), to(c, false)], masquerade),
    ];
    let rules = rows.map(|(matches, action)| Rule::new(matches, action, "flanneld masq"));
    let base = base("nat", Hook::Postrouting, SOURCE_NAT);
    let chain = Chain { name: "postrouting".to_owned(), base, rules: rules.to_vec() };
    let (engine, family) = (Engine::NfTables, family(c));
    Table { engine, family, name: "flannel".to_owned(), sets: vec![], chains: vec![chain] }
}

/// The xtables form as one table, entered at the built-in chains.
fn xtables_table(wanted: &Masquerade) -> Table {
    let mut table = table(wanted);
    table.sets.clear();
    table.chains.clear();
    for hooked in xtables(wanted) {
        let rules = vec![hooked.jump];
        let base = base("nat", Hook::Postrouting, SOURCE_NAT);
        table.chains.push(Chain { name: hooked.base.to_owned(), base, rules });
        table.chains.push(hooked.chain);
    }
    table
}

/// An address in one of the networks that matter, or anywhere.
fn address(nets: Nets) -> impl Strategy<Value = IpAddr> {
    let all = [nets.network, nets.subnet, nets.exempt, nets.multicast, nets.outside];
    let is_v4 = matches!(net(nets.network), IpNet::V4(_));
    let inside = (prop::sample::select(all.to_vec()), any::<u128>()).prop_map(|(text, bits)| {
        match net(text) {
            IpNet::V4(net) => {
                let host = u32::try_from(bits & 0xffff_ffff).unwrap() & net.hostmask().to_bits();
                IpAddr::V4((net.network().to_bits() | host).into())
            }
            IpNet::V6(net) => {
                let host = bits & net.hostmask().to_bits();
                IpAddr::V6((net.network().to_bits() | host).into())
            }
        }
    });
    let anywhere = any::<u128>().prop_map(move |bits| {
        let low = u32::try_from(bits & 0xffff_ffff).unwrap();
        if is_v4 { IpAddr::V4(low.into()) } else { IpAddr::V6(bits.into()) }
    });
    let node = if is_v4 { "198.51.100.7" } else { "2001:db8::7" };
    prop_oneof![4 => inside, 1 => anywhere, 1 => Just(node.parse().unwrap())]
}

fn packet(nets: Nets) -> impl Strategy<Value = (Nets, Packet)> {
    let protocol = prop::sample::select(vec![1_u8, 6, 17, 132]);
    let port = prop_oneof![Just(TUNNEL), any::<u16>()];
    let mark = prop_oneof![Just(0), Just(0x4000), Just(0xc000), any::<u32>()];
    let rest = (protocol, port, mark, any::<bool>());
    (address(nets), address(nets), rest).prop_map(move |(source, destination, rest)| {
        let (protocol, port, mark, translated) = rest;
        let packet = Packet::between(source, destination);
        (nets, Packet { protocol, port, mark, translated, ..packet })
    })
}

fn any_packet() -> impl Strategy<Value = (Nets, Packet)> {
    prop_oneof![packet(V4), packet(V6)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn every_packet_has_flannels_outcome_unless_it_is_exempt(
        (nets, packet) in any_packet(),
        random_fully: bool,
    ) {
        let wanted = wanted(nets, Settings { random_fully, ..settings() });
        let ours = packet.through(&table(&wanted), "postrouting");
        prop_assert_eq!(&ours, &packet.through(&xtables_table(&wanted), "POSTROUTING"));
        let flannels = packet.through(&flannels(nets), "postrouting");
        let exempt = net(nets.network).contains(&packet.source)
            && net(nets.exempt).contains(&packet.destination);
        match (ours, flannels) {
            (ours, _) if exempt => prop_assert_eq!(ours, Outcome::Accepted),
            (Outcome::Accepted, theirs) => prop_assert_eq!(theirs, Outcome::Accepted),
            (Outcome::Masqueraded { random_fully: random, ports }, theirs) => {
                let masqueraded = matches!(theirs, Outcome::Masqueraded { .. });
                prop_assert!(masqueraded, "{theirs:?}");
                prop_assert_eq!(random, random_fully);
                prop_assert_eq!(ports, (packet.protocol == 17).then_some((8473, 65535)));
            }
            (ours @ (Outcome::Dropped | Outcome::Touched(_)), _) => prop_assert!(false, "{ours:?}"),
        }
    }

    #[test]
    fn nothing_is_masqueraded_to_the_tunnels_port_of_a_node((nets, packet) in any_packet()) {
        let from_pod = net(nets.network).contains(&packet.source);
        let tunnel = from_pod && packet.protocol == 17 && packet.port == TUNNEL;
        let wanted = wanted(nets, settings());
        let elsewhere = packet.translated && !net(nets.network).contains(&packet.destination);
        let to_node = match packet.destination {
            IpAddr::V4(address) => wanted.settings.nodes.contains(&address),
            IpAddr::V6(_) => elsewhere,
        };
        let dropped = |drop: bool| if drop { Outcome::Dropped } else { Outcome::Accepted };
        prop_assert_eq!(packet.through(&table(&wanted), "forward"), dropped(tunnel && to_node));
        let guard = packet.through(&xtables_table(&wanted), "FORWARD");
        prop_assert_eq!(guard, dropped(tunnel && elsewhere));
    }

    #[test]
    fn no_source_port_of_udp_is_the_tunnels(tunnel_port: u16) {
        let wanted = wanted(V4, Settings { tunnel_port: Some(tunnel_port), ..settings() });
        let pod = Packet::between([10, 244, 1, 2].into(), [198, 51, 100, 1].into());
        let outcome = Packet { protocol: 17, ..pod }.through(&table(&wanted), "postrouting");
        let Outcome::Masqueraded { ports: Some((first, last)), .. } = outcome else {
            return Err(TestCaseError::fail(format!("{outcome:?}")));
        };
        prop_assert!((1024..=last).contains(&first), "{first} {last}");
        prop_assert!(!(first..=last).contains(&tunnel_port), "{first} {last}");
        prop_assert!(last - first >= 32255, "{first} {last}");
    }
}

#[test]
fn the_source_ports_are_the_larger_side_of_the_tunnels_port() {
    for (port, wanted_ports) in [
        (0, (1024, 65535)),
        (1023, (1024, 65535)),
        (1024, (1025, 65535)),
        (4789, (4790, 65535)),
        (8472, (8473, 65535)),
        (51820, (1024, 51819)),
        (65535, (1024, 65534)),
    ] {
        let wanted = wanted(V4, Settings { tunnel_port: Some(port), ..settings() });
        let text = table(&wanted).chain("postrouting").unwrap().rules[5].to_string();
        let (first, last) = wanted_ports;
        let ports = format!("--to-ports {first}-{last} --random-fully");
        assert!(text.ends_with(&ports), "{port}: {text}");
    }
}

#[test]
fn the_rules_read_like_flannels() {
    let wanted = wanted(V4, settings());
    let table = table(&wanted);
    let rules = &table.chain("postrouting").unwrap().rules;
    let lines: Vec<String> = rules.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "--mark 0x4000/0x4000 -j RETURN",
            "-s 10.244.1.0/24 -d 10.244.0.0/16 -j RETURN",
            "-s 10.244.0.0/16 -d 10.244.1.0/24 -j RETURN",
            "! -s 10.244.0.0/16 -d 10.244.1.0/24 -j RETURN",
            "-s 10.244.0.0/16 -d 192.168.0.0/16 -j RETURN",
            "-s 10.244.0.0/16 ! -d 224.0.0.0/4 -p udp -j MASQUERADE --to-ports 8473-65535 --random-fully",
            "-s 10.244.0.0/16 ! -d 224.0.0.0/4 -j MASQUERADE --random-fully",
            "! -s 10.244.0.0/16 -d 10.244.0.0/16 -p udp -j MASQUERADE --to-ports 8473-65535 --random-fully",
            "! -s 10.244.0.0/16 -d 10.244.0.0/16 -j MASQUERADE --random-fully",
        ]
    );
    let comments = |rule: &Rule| rule.comment.starts_with("tartan ") && rule.handle.is_none();
    assert!(table.chains.iter().flat_map(|chain| &chain.rules).all(comments));
    let guard = table.chain("forward").unwrap().rules[0].to_string();
    assert_eq!(guard, "-s 10.244.0.0/16 -d @nodes -p udp --dport 8472 -j DROP");
    let guard = xtables(&wanted).pop().unwrap();
    assert_eq!(
        guard.chain.rules[0].to_string(),
        "-s 10.244.0.0/16 ! -d 10.244.0.0/16 -p udp --dport 8472 --ctstate DNAT -j DROP"
    );
    assert_eq!((guard.table, guard.base, guard.chain.name.as_str()), ("mangle", "FORWARD", FWD));
    assert_eq!(guard.jump.to_string(), "-j TARTAN-FWD");
}

#[test]
fn without_masquerading_the_tunnel_is_still_guarded() {
    for nets in [V4, V6] {
        let wanted = wanted(nets, Settings { ip_masq: false, ..settings() });
        let table = table(&wanted);
        assert!(table.chain("postrouting").is_none());
        assert_eq!(table.chain("forward").unwrap().rules.len(), 1);
        let hooked: Vec<_> = xtables(&wanted).iter().map(|hooked| hooked.table).collect();
        assert_eq!(hooked, ["mangle"]);
    }
}

#[test]
fn the_set_of_nodes_is_in_order_and_of_ipv4_alone() {
    let mut settings = settings();
    settings.nodes.push("198.51.100.9".parse().unwrap());
    let nodes = &table(&wanted(V4, settings.clone())).sets;
    let addresses: Vec<_> = nodes[0].elements.iter().map(ToString::to_string).collect();
    assert_eq!((nodes.len(), nodes[0].name.as_str()), (1, NODES));
    assert_eq!(addresses, ["198.51.100.7", "198.51.100.9"]);
    assert!(table(&wanted(V6, settings)).sets.is_empty());
}

#[test]
fn the_order_of_nodes_makes_no_other_table() {
    let one = settings();
    let mut other = one.clone();
    other.nodes.reverse();
    assert!(table(&wanted(V4, one)).says_the_same(&table(&wanted(V4, other))));
}

#[test]
fn a_subnet_outside_the_network_is_refused() {
    let refused = |network, subnet| Masquerade::new(net(network), net(subnet), settings());
    let error = refused(V4.network, "10.245.1.0/24").unwrap_err().to_string();
    assert!(error.starts_with("the subnet 10.245.1.0/24 is not part of"), "{error}");
    assert!(refused(V4.network, V6.subnet).is_err());
    assert!(refused(V6.network, V4.subnet).is_err());
    assert!(refused(V4.subnet, V4.network).is_err());
    let masked = refused("10.244.9.9/16", "10.244.1.7/24").unwrap();
    assert_eq!(table(&masked), table(&wanted(V4, settings())));
}

#[test]
fn what_a_dropping_forward_chain_gets_accepts_pods_both_ways() {
    let rules = forward_rules(net("10.244.3.0/16"));
    let lines = rules.each_ref().map(ToString::to_string);
    assert_eq!(lines, ["-s 10.244.0.0/16 -j ACCEPT", "-d 10.244.0.0/16 -j ACCEPT"]);
    assert!(rules.iter().all(|rule| rule.comment == "tartan forward"));
}

#[test]
fn an_exemption_of_everything_has_no_condition_that_an_engine_would_forget() {
    let everywhere = vec![net("0.0.0.0/0"), net("::/0")];
    for (nets, text) in [(V4, "-s 10.244.0.0/16 -j RETURN"), (V6, "-s 2001:cafe:42::/56 -j RETURN")]
    {
        let settings = Settings { exempt: everywhere.clone(), ..settings() };
        let table = table(&wanted(nets, settings));
        assert_eq!(table.chain("postrouting").unwrap().rules[4].to_string(), text);
    }
}

#[test]
fn the_end_of_an_unseen_flow_is_let_go_where_flows_skip_conntrack() {
    for nets in [V4, V6] {
        assert!(table(&wanted(nets, settings())).chain("prerouting").is_none());
        let wanted = wanted(nets, Settings { skips_conntrack: true, ..settings() });
        let table = table(&wanted);
        let chain = table.chain("prerouting").unwrap();
        let base = chain.base.as_ref().unwrap();
        assert_eq!((base.hook, base.priority), (Hook::Prerouting, -150));
        let network = wanted.network();
        assert_eq!(
            chain.rules[0].to_string(),
            format!(
                "-s {network} -d {network} -p tcp ! --tcp-flags 0x07 NONE \
                 -m conntrack --ctstate INVALID -j CT --notrack"
            )
        );
    }
}
