//! What flannel takes is taken, and every fault is named.

use proptest::prelude::*;

use super::*;

fn conf(text: &str) -> NetConf {
    NetConf::parse(text).unwrap().conf
}

fn fault(text: &str) -> String {
    NetConf::parse(text).unwrap_err().to_string()
}

/// A document with the stock network and these further keys.
fn with(keys: &str) -> String {
    format!(r#"{{"Network": "10.244.0.0/16", {keys}}}"#)
}

fn backend(keys: &str) -> String {
    with(&format!(r#""Backend": {{"Type": "vxlan", {keys}}}"#))
}

/// The settings of the tunnel, which there must be.
fn tunnel(conf: &NetConf) -> VxlanConf {
    *conf.backend.vxlan().unwrap()
}

#[test]
fn the_stock_configuration_gives_flannels_defaults() {
    let loaded = NetConf::parse(&with(r#""EnableNFTables": false, "Backend": {"Type": "vxlan"}"#));
    let Loaded { conf, warnings } = loaded.unwrap();
    assert_eq!(conf.network().unwrap().to_string(), "10.244.0.0/16");
    assert_eq!(conf.pool.unwrap().min().to_string(), "10.244.1.0/24");
    assert_eq!(conf.pool.unwrap().max().to_string(), "10.244.255.0/24");
    assert_eq!(conf.pool.unwrap().len(), 255);
    assert_eq!((tunnel(&conf).vni.get(), tunnel(&conf).port), (1, 8472));
    assert_eq!((tunnel(&conf).mtu, tunnel(&conf).direct_routing), (None, false));
    assert_eq!((conf.fast_path, tunnel(&conf).source_check), (FastPath::Auto, SourceCheck::Strict));
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn an_absent_backend_means_vxlan() {
    assert_eq!(tunnel(&conf(r#"{"Network": "10.244.0.0/16"}"#)).vni.get(), 1);
    assert_eq!(tunnel(&conf(&with(r#""Backend": null"#))).port, 8472);
}

#[test]
fn keys_match_in_any_case_and_the_last_wins() {
    let text = r#"{"network": "10.0.0.0/8", "NETWORK": "10.3.0.0/16", "subnetLen": 28,
        "SUBNETMIN": "10.3.5.0", "subnetmax": "10.3.8.0",
        "backend": {"type": "VXLAN", "vni": 3, "VNI": 4, "Vni": null, "port": 4789}}"#;
    let conf = conf(text);
    assert_eq!(conf.pool.unwrap().min().to_string(), "10.3.5.0/28");
    assert_eq!(conf.pool.unwrap().max().to_string(), "10.3.8.0/28");
    assert_eq!((tunnel(&conf).vni.get(), tunnel(&conf).port), (4, 4789));
}

#[test]
fn null_and_zero_mean_not_set() {
    let conf = conf(&with(
        r#""SubnetLen": 0, "SubnetMin": null, "SubnetMax": "0.0.0.0", "FastPath": null,
           "Backend": {"Type": "vxlan", "Port": 0, "MTU": 0, "VNI": null}"#,
    ));
    assert_eq!(conf.pool.unwrap().subnet_len(), 24);
    assert_eq!((tunnel(&conf).port, tunnel(&conf).mtu), (8472, None));
}

#[test]
fn host_bits_of_the_network_are_masked_off() {
    let conf = conf(r#"{"Network": "10.244.7.9/16"}"#);
    assert_eq!(conf.network().unwrap().to_string(), "10.244.0.0/16");
}

#[test]
fn small_networks_are_split_in_four() {
    for (network, len, first) in [
        ("10.0.0.0/22", 24, "10.0.1.0/24"),
        ("10.0.0.0/23", 25, "10.0.0.128/25"),
        ("10.0.0.0/28", 30, "10.0.0.4/30"),
    ] {
        let conf = conf(&format!(r#"{{"Network": "{network}"}}"#));
        assert_eq!(
            (conf.pool.unwrap().subnet_len(), conf.pool.unwrap().min().to_string().as_str()),
            (len, first)
        );
    }
}

#[test]
fn every_key_of_ours_is_read() {
    for (word, mode) in [
        ("on", FastPath::On),
        ("after-accept", FastPath::AfterAccept),
        ("OFF", FastPath::Off),
        ("auto", FastPath::Auto),
    ] {
        assert_eq!(conf(&with(&format!(r#""FastPath": "{word}""#))).fast_path, mode);
        assert_eq!(mode.to_string().parse(), Ok(mode));
    }
    let backend = tunnel(&conf(&backend(
        r#""SourceCheck": "sender", "DirectRouting": true, "MTU": 9000, "VNI": 16777215"#,
    )));
    assert_eq!(backend.source_check, SourceCheck::Sender);
    assert_eq!(
        (backend.mtu.map(tartan_common::Mtu::get), backend.direct_routing),
        (Some(9000), true)
    );
    assert_eq!(backend.vni.get(), 0xff_ffff);
}

#[test]
fn networks_that_see_pods_addresses_may_be_of_both_families() {
    assert!(conf(&with(r#""FastPath": "on""#)).non_masquerade.is_empty());
    assert!(conf(&with(r#""NonMasqueradeCIDRs": null"#)).non_masquerade.is_empty());
    let text = with(
        r#""nonmasqueradecidrs": ["192.168.7.9/16", "fd00::1/8", "192.168.0.0/16", "0.0.0.0/0"]"#,
    );
    let Loaded { conf, warnings } = NetConf::parse(&text).unwrap();
    let networks: Vec<String> = conf.non_masquerade.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["192.168.0.0/16", "fd00::/8", "0.0.0.0/0"]);
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn the_flow_table_has_a_size_of_its_own() {
    let entries = |pair: &str| conf(&with(pair)).flow_entries.get();
    assert_eq!(entries(r#""FlowTableEntries": 0"#), 262_144);
    assert_eq!(entries(r#""FlowTableEntries": 64"#), 64);
    let text = fault(&with(r#""FlowTableEntries": 63"#));
    assert_eq!(text, "net-conf: FlowTableEntries = 63 is out of range: use 64..=16777216");
}

#[test]
fn a_network_that_is_none_is_named() {
    let fix = r#"write them like ["192.168.0.0/16", "fd00::/8"]"#;
    for (value, problem) in [
        (r#""192.168.0.0/16""#, r#""192.168.0.0/16" is not a list"#),
        (r#"["192.168.0.0"]"#, r#""192.168.0.0" is not a network"#),
        (r#"["10.0.0.0/8", "10.0.0.0/33"]"#, r#""10.0.0.0/33" is not a network"#),
        (r#"["fe80::/10/1"]"#, r#""fe80::/10/1" is not a network"#),
        ("[1]", "1 is not a network"),
        ("[null]", "(null) is not a network"),
        ("[[]]", "(an array) is not a network"),
        ("{}", "(an object) is not a list"),
    ] {
        let text = with(&format!(r#""NonMasqueradeCIDRs": {value}"#));
        let wanted = format!("net-conf: NonMasqueradeCIDRs = {problem}: {fix}");
        assert_eq!(fault(&text), wanted, "{text}");
    }
}

#[test]
fn each_fault_names_its_key_its_value_and_the_fix() {
    let cases = [
        (backend(r#""VNI": 16777216"#), "Backend.VNI = 16777216 is out of range: use 1..=16777215"),
        (backend(r#""VNI": 0"#), "Backend.VNI = 0 is out of range: use 1..=16777215"),
        (backend(r#""VNI": -1"#), "Backend.VNI = -1 is out of range: use 1..=16777215"),
        (backend(r#""VNI": "1""#), "Backend.VNI = \"1\" is not an integer: use 1..=16777215"),
        (backend(r#""VNI": 1.5"#), "Backend.VNI = 1.5 is not an integer: use 1..=16777215"),
        (backend(r#""Port": 65536"#), "Backend.Port = 65536 is out of range: use 1..=65535"),
        (backend(r#""MTU": 100"#), "Backend.MTU = 100 is out of range: use 626..=65535"),
        (backend(r#""GBP": true"#), "Backend.GBP = true is not supported yet: remove the key"),
        (
            backend(r#""DirectRouting": "true""#),
            "Backend.DirectRouting = \"true\" is not a boolean: write true or false, without quotes",
        ),
        (
            backend(r#""SourceCheck": "none""#),
            "Backend.SourceCheck = \"none\" is not known: use \"strict\" or \"sender\"",
        ),
        (
            with(r#""Backend": []"#),
            "Backend = (an array) is not an object: write {\"Type\": \"vxlan\"}",
        ),
        (
            with(r#""Backend": {}"#),
            "Backend.Type is missing: write \"Type\": \"vxlan\" or \"Type\": \"host-gw\"",
        ),
        (
            with(r#""Backend": {"Type": 1}"#),
            "Backend.Type = 1 is not a string: write it in double quotes",
        ),
        (
            with(r#""Backend": {"Type": "WireGuard"}"#),
            "Backend.Type = \"WireGuard\" is not supported yet: use \"vxlan\" or \"host-gw\"",
        ),
        (
            with(r#""Backend": {"Type": "gce"}"#),
            "Backend.Type = \"gce\" is not a known backend: use \"vxlan\" or \"host-gw\"",
        ),
        (
            with(r#""FastPath": "fast""#),
            "FastPath = \"fast\" is not known: use \"on\", \"after-accept\", \"off\" or \"auto\"",
        ),
        (with(r#""SubnetLen": 31"#), "SubnetLen = 31 is out of range: use 8..=30"),
        (
            with(r#""SubnetLen": 17"#),
            "SubnetLen = 17 does not fit Network 10.244.0.0/16, which must hold four subnets: use 18..=30",
        ),
        (
            with(r#""SubnetMin": "10.245.0.0""#),
            "SubnetMin = 10.245.0.0 is outside 10.244.0.0/16: use 10.244.0.0..=10.244.255.255",
        ),
        (
            with(r#""SubnetMax": "10.244.9.1""#),
            "SubnetMax = 10.244.9.1 is not the first address of a /24: use 10.244.9.0",
        ),
        (
            with(r#""SubnetMin": "10.244.9.0", "SubnetMax": "10.244.8.0""#),
            "SubnetMin = 10.244.9.0 is above SubnetMax: use at most SubnetMax, which is 10.244.8.0",
        ),
        (
            with(r#""SubnetMin": "ten""#),
            "SubnetMin = \"ten\" is not an IPv4 address: write it like \"10.244.1.0\"",
        ),
        (
            with(r#""EnableIPv4": false, "EnableIPv6": true"#),
            "IPv6Network is missing: write it like \"2001:cafe:42::/56\", or remove EnableIPv6",
        ),
        (
            with(r#""EnableIPv4": false"#),
            "EnableIPv4 = false leaves no address family: set EnableIPv6 and IPv6Network",
        ),
        (
            with(r#""EnableIPv6": true, "IPv6Network": "10.0.0.0/8""#),
            "IPv6Network = \"10.0.0.0/8\" is not an IPv6 network: write it like \"2001:cafe:42::/56\"",
        ),
        (
            with(r#""EnableNFTables": 1"#),
            "EnableNFTables = 1 is not a boolean: write true or false, without quotes",
        ),
        ("{}".to_owned(), "Network is missing: write it like \"10.244.0.0/16\""),
        (
            r#"{"Network": "2001:db8::/56"}"#.to_owned(),
            "Network = \"2001:db8::/56\" is not an IPv4 network: write it like \"10.244.0.0/16\"",
        ),
        (
            r#"{"Network": "10.0.0.0/29"}"#.to_owned(),
            "Network = 10.0.0.0/29 is too small for four subnets: use a prefix length of at most 28",
        ),
        (
            r#"{"Network": "127.0.0.0/16"}"#.to_owned(),
            "Network = 127.0.0.0/16 overlaps 127.0.0.0/8, which is loopback: \
             use a private network such as 10.244.0.0/16",
        ),
    ];
    for (text, wanted) in cases {
        assert_eq!(fault(&text), format!("net-conf: {wanted}"), "{text}");
    }
}

#[test]
fn broken_json_is_refused_with_its_place() {
    assert_eq!(
        fault("{\"Network\": \"10.244.0.0/16\",\n}"),
        "net-conf: not valid JSON at line 2, column 1: trailing comma"
    );
    assert!(fault("").starts_with("net-conf: not valid JSON at line 1, column 0: EOF"));
    assert!(fault("{} {}").contains("trailing characters"));
    assert!(
        fault("[1, 2]").starts_with("net-conf: the document is an array, not an object: write")
    );
}

#[test]
fn the_whole_ipv4_space_is_no_pod_network() {
    assert!(fault(r#"{"Network": "0.0.0.0/0"}"#).contains("Network = 0.0.0.0/0 overlaps"));
}

#[test]
fn what_has_no_effect_is_said_and_not_refused() {
    let text = with(
        r#""EnableIPv6": true, "IPv6Network": "2001:cafe:42::/56", "Netwrok": "x",
           "EnableNFTables": true, "Backend": {"Type": "vxlan", "Learning": true, "VNl": 2}"#,
    );
    let warnings = NetConf::parse(&text).unwrap().warnings;
    for word in ["Netwrok", "EnableNFTables", "Backend.VNl", "Backend.Learning"] {
        assert_eq!(warnings.iter().filter(|line| line.contains(word)).count(), 1, "{word}");
    }
    assert_eq!(warnings.len(), 4, "{warnings:?}");
}

proptest! {
    #[test]
    fn noise_is_refused_without_a_panic(text in ".{0,80}") {
        drop(NetConf::parse(&text));
    }

    #[test]
    fn faults_are_always_one_line(key in "[A-Za-z0-9]{1,12}", value in any::<i64>(), text in ".{0,200}") {
        let quoted = serde_json::to_string(&text).unwrap();
        for document in [
            with(&format!(r#""SubnetLen": {value}"#)),
            with(&format!(r#""SubnetMin": {quoted}"#)),
            backend(&format!(r#""{key}": {quoted}, "MTU": {value}"#)),
            backend(&format!(r#""SourceCheck": {quoted}"#)),
            with(&format!(r#""NonMasqueradeCIDRs": [{quoted}]"#)),
        ] {
            if let Err(error) = NetConf::parse(&document) {
                prop_assert!(!error.to_string().contains('\n'), "{}", error);
            }
        }
    }

    #[test]
    fn every_accepted_pool_lies_in_its_network(bits: u32, prefix in 8_u8..=28, len in 8_u8..=30) {
        let network = Ipv4Net::new(bits.into(), prefix).unwrap();
        if let Ok(pool) = SubnetPool::new(network, Some(len), None, None) {
            prop_assert!(pool.min().is_within(pool.network()));
            prop_assert!(pool.max().is_within(pool.network()));
            prop_assert!(pool.min() <= pool.max());
            prop_assert_eq!(u64::from(pool.len()), (1_u64 << (len - prefix)) - 1);
        }
    }
}

#[test]
fn host_gw_has_no_tunnel_and_takes_flannels_spelling() {
    for text in [r#"{"Type": "host-gw"}"#, r#"{"type": "Host-GW"}"#] {
        let loaded = NetConf::parse(&with(&format!(r#""Backend": {text}"#))).unwrap();
        let backend = loaded.conf.backend;
        assert_eq!((backend.vxlan(), backend.outer_mtu(), backend.is_direct()), (None, None, true));
        assert!(loaded.warnings.is_empty());
    }
}

#[test]
fn keys_of_the_tunnel_mean_nothing_beside_host_gw() {
    let text = r#""Backend": {"Type": "host-gw", "VNI": 7, "SourceCheck": "sender"}"#;
    let loaded = NetConf::parse(&with(text)).unwrap();
    assert_eq!(loaded.conf.backend.source_check(), SourceCheck::Sender);
    assert_eq!(loaded.warnings, ["net-conf: Backend.VNI is not a known key and is ignored"]);
}
