//! The selection on a host with four interfaces.

use netlink_packet_route::address::AddressFlags;

use super::*;

const PERMANENT: AddressFlags = AddressFlags::Permanent;
const DYNAMIC: AddressFlags = AddressFlags::empty();

fn interface(ifindex: u32, name: &str, addresses: &[(&str, AddressFlags)]) -> Interface {
    let address = |(ip, flags): &(&str, AddressFlags)| Address {
        ifindex,
        ip: ip.parse().unwrap(),
        prefix_len: 24,
        flags: *flags,
    };
    let addresses = addresses.iter().map(address).collect();
    Interface { ifindex, name: name.to_owned(), mtu: 1500, addresses }
}

fn view() -> View {
    View {
        interfaces: vec![
            interface(1, "lo", &[("127.0.0.1", PERMANENT), ("::1", PERMANENT)]),
            interface(
                2,
                "eth0",
                &[
                    ("169.254.7.7", PERMANENT),
                    ("192.0.2.20", DYNAMIC),
                    ("192.0.2.10", PERMANENT),
                    ("192.0.2.11", PERMANENT),
                    ("fe80::1", PERMANENT),
                    ("2001:db8::99", DYNAMIC),
                    ("2001:db8::1", PERMANENT),
                ],
            ),
            interface(3, "eth1", &[("198.51.100.3", PERMANENT)]),
            interface(4, "spare", &[]),
        ],
        default_route: DefaultRoute::Through(2),
        reach: None,
    }
}

fn flags(interfaces: &[&str], patterns: &[&str]) -> UplinkChoice {
    UplinkChoice {
        interfaces: interfaces.iter().map(ToString::to_string).collect(),
        patterns: patterns.iter().map(|text| Regex::new(text).unwrap()).collect(),
        ..UplinkChoice::default()
    }
}

fn chosen(choice: &UplinkChoice) -> (String, String) {
    let uplink = decide(choice, &view()).unwrap();
    (uplink.name, uplink.address.unwrap().to_string())
}

fn is(name: &str, address: &str) -> (String, String) {
    (name.to_owned(), address.to_owned())
}

#[test]
fn without_flags_the_default_route_decides_and_the_best_address_is_used() {
    let uplink = decide(&UplinkChoice::default(), &view()).unwrap();
    assert_eq!((uplink.name.as_str(), uplink.ifindex), ("eth0", 2));
    assert_eq!(uplink.address, Some(Ipv4Addr::new(192, 0, 2, 10)));
    assert_eq!(uplink.public_ip, uplink.address);
    assert_eq!(uplink.address_v6, "2001:db8::1".parse().ok());
    assert_eq!(uplink.public_ipv6, uplink.address_v6);
}

#[test]
fn the_first_interface_that_is_there_wins() {
    assert_eq!(chosen(&flags(&["eth9", "eth1", "eth0"], &[])), is("eth1", "198.51.100.3"));
    assert_eq!(chosen(&flags(&["203.0.113.1", "192.0.2.20"], &[])), is("eth0", "192.0.2.20"));
}

#[test]
fn an_ipv6_address_names_its_interface() {
    let uplink = decide(&flags(&["2001:db8::99"], &[]), &view()).unwrap();
    assert_eq!(
        (uplink.name.as_str(), uplink.address),
        ("eth0", Some(Ipv4Addr::new(192, 0, 2, 10)))
    );
    assert_eq!(uplink.address_v6, "2001:db8::99".parse().ok());
}

#[test]
fn a_pattern_looks_at_all_addresses_before_any_name() {
    // "1" is in the name of eth1 and in an address of eth0.
    assert_eq!(chosen(&flags(&[], &["1$"])), is("eth0", "192.0.2.11"));
    assert_eq!(chosen(&flags(&[], &["^th", "eth1"])), is("eth1", "198.51.100.3"));
    assert_eq!(chosen(&flags(&[], &[r"198\.51\."])), is("eth1", "198.51.100.3"));
}

#[test]
fn names_come_before_patterns_and_patterns_before_what_can_reach() {
    let mut view = view();
    view.reach = Some(RouteTo { ifindex: 3, gateway: None, source: None });
    let mut choice = flags(&["eth0"], &["eth1"]);
    choice.can_reach = Some(Ipv4Addr::new(203, 0, 113, 9));
    assert_eq!(decide(&choice, &view).unwrap().name, "eth0");
    choice.interfaces = vec!["eth9".to_owned()];
    choice.patterns = vec![Regex::new("nothing").unwrap()];
    assert_eq!(decide(&choice, &view).unwrap().name, "eth1");
}

#[test]
fn what_can_reach_brings_its_preferred_source() {
    let mut view = view();
    let source = Some(Ipv4Addr::new(192, 0, 2, 11));
    view.reach = Some(RouteTo { ifindex: 2, gateway: None, source });
    let choice = UplinkChoice { can_reach: Some(Ipv4Addr::new(203, 0, 113, 9)), ..flags(&[], &[]) };
    assert_eq!(decide(&choice, &view).unwrap().address, Some(Ipv4Addr::new(192, 0, 2, 11)));
}

#[test]
fn a_public_address_alone_chooses_its_owner() {
    let choice =
        UplinkChoice { public_ip: Some(Ipv4Addr::new(198, 51, 100, 3)), ..flags(&[], &[]) };
    assert_eq!(chosen(&choice), is("eth1", "198.51.100.3"));
}

#[test]
fn a_public_address_beside_an_interface_may_be_anybodys() {
    let public_ip = Some(Ipv4Addr::new(203, 0, 113, 5));
    let public_ipv6 = "2001:db8:ffff::5".parse().ok();
    let choice = UplinkChoice { public_ip, public_ipv6, ..flags(&["eth0"], &[]) };
    let uplink = decide(&choice, &view()).unwrap();
    assert_eq!(uplink.address, Some(Ipv4Addr::new(192, 0, 2, 10)));
    assert_eq!((uplink.public_ip, uplink.public_ipv6), (public_ip, public_ipv6));
    assert_eq!(uplink.address_v6, "2001:db8::1".parse().ok());
}

#[test]
fn a_dynamic_address_beats_a_link_local_one_and_a_deprecated_one_is_never_used() {
    let mut view = view();
    view.interfaces[1].addresses = interface(
        2,
        "eth0",
        &[
            ("192.0.2.9", AddressFlags::Permanent.union(AddressFlags::Deprecated)),
            ("169.254.7.7", PERMANENT),
            ("192.0.2.20", DYNAMIC),
        ],
    )
    .addresses;
    let uplink = decide(&UplinkChoice::default(), &view).unwrap();
    assert_eq!(uplink.address, Some(Ipv4Addr::new(192, 0, 2, 20)));
    assert_eq!(uplink.address_v6, None);
}

#[test]
fn a_temporary_ipv6_address_is_the_last_choice() {
    let mut view = view();
    view.interfaces[2].addresses.extend(
        interface(3, "eth1", &[("2001:db8::a", AddressFlags::Secondary), ("2001:db8::b", DYNAMIC)])
            .addresses,
    );
    let uplink = decide(&flags(&["eth1"], &[]), &view).unwrap();
    assert_eq!(uplink.address_v6, "2001:db8::b".parse().ok());
}

#[test]
fn every_refusal_says_what_there_is_and_what_to_do() {
    let public = UplinkChoice { public_ip: Some(Ipv4Addr::new(203, 0, 113, 5)), ..flags(&[], &[]) };
    let reach = UplinkChoice { can_reach: Some(Ipv4Addr::new(203, 0, 113, 9)), ..flags(&[], &[]) };
    let routeless = View { default_route: DefaultRoute::Missing, ..view() };
    let multipath = View { default_route: DefaultRoute::Several, ..view() };
    let mut without_mtu = view();
    without_mtu.interfaces[1].mtu = 0;
    let none = UplinkChoice::default();
    for (choice, view, words) in [
        (&flags(&["eth9"], &["x"]), view(), ["--iface eth9, --iface-regex x", "eth1:[198"]),
        (
            &flags(&["spare"], &[]),
            view(),
            ["failed to find IPv4 address for interface spare", "eth0"],
        ),
        (&reach, view(), ["--iface-can-reach 203.0.113.9", "ip route get 203.0.113.9"]),
        (&public, view(), ["no interface with given IP found", "--iface"]),
        (&none, routeless, ["unable to find default route", "--iface"]),
        (&none, multipath, ["found default route but could not determine interface", "--iface"]),
        (&none, without_mtu, ["failed to determine MTU for eth0 interface", "--iface"]),
    ] {
        let text = decide(choice, &view).unwrap_err();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    }
}

#[test]
fn in_a_cluster_of_ipv6_alone_ipv4_decides_nothing() {
    let alone = |choice| UplinkChoice { ipv6_alone: true, ..choice };
    let uplink = decide(&alone(UplinkChoice::default()), &view()).unwrap();
    assert_eq!((uplink.address, uplink.public_ip), (None, None));
    assert_eq!(uplink.public_ipv6, "2001:db8::1".parse().ok());
    assert_eq!(uplink.shown_address().to_string(), "2001:db8::1");
    let uplink = decide(&alone(flags(&[], &["db8::99$"])), &view()).unwrap();
    assert_eq!(uplink.address_v6, "2001:db8::99".parse().ok());
    let error = decide(&alone(flags(&["eth1"], &[])), &view()).unwrap_err();
    assert!(error.contains("failed to find global IPv6 address for interface eth1"), "{error}");
}
