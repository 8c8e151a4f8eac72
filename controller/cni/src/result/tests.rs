//! Results in every version of the specification.

use super::*;

fn sample() -> CniResult {
    let interface = |name: &str, mac: &str, sandbox: &str| Interface {
        name: name.into(),
        mac: mac.into(),
        mtu: Some(1450),
        sandbox: sandbox.into(),
    };
    let gateway: IpAddr = "10.244.1.1".parse().expect("an address");
    CniResult {
        interfaces: vec![
            interface("veth0a1b2c3d", "02:00:00:00:00:01", ""),
            interface("eth0", "02:00:00:00:00:02", "/var/run/netns/p"),
        ],
        ips: vec![IpConfig {
            address: "10.244.1.2/32".parse().expect("a network"),
            gateway: Some(gateway),
            interface: Some(1),
        }],
        routes: vec![
            Route::via("0.0.0.0/0".parse().expect("a network"), gateway),
            Route {
                mtu: Some(1400),
                ..Route::via("10.244.0.0/16".parse().expect("a network"), gateway)
            },
        ],
        dns: Dns { nameservers: vec!["10.96.0.10".into()], ..Dns::default() },
    }
}

fn snapshot(version: SpecVersion) -> String {
    sample().to_json(version).to_string()
}

const ROUTES: &str = r#"[{"dst":"0.0.0.0/0","gw":"10.244.1.1"},{"dst":"10.244.0.0/16","gw":"10.244.1.1","mtu":1400}]"#;

#[test]
fn the_oldest_versions_have_one_address_with_the_routes_inside() {
    for version in [SpecVersion::V0_1_0, SpecVersion::V0_2_0] {
        assert_eq!(
            snapshot(version),
            format!(
                r#"{{"cniVersion":"{}","dns":{{"nameservers":["10.96.0.10"]}},"ip4":{{"gateway":"10.244.1.1","ip":"10.244.1.2/32","routes":{ROUTES}}}}}"#,
                version.as_str()
            )
        );
    }
}

#[test]
fn versions_of_0_3_and_0_4_name_the_family() {
    for version in [SpecVersion::V0_3_0, SpecVersion::V0_3_1, SpecVersion::V0_4_0] {
        assert_eq!(
            snapshot(version),
            format!(
                r#"{{"cniVersion":"{}","dns":{{"nameservers":["10.96.0.10"]}},"interfaces":[{{"mac":"02:00:00:00:00:01","name":"veth0a1b2c3d"}},{{"mac":"02:00:00:00:00:02","name":"eth0","sandbox":"/var/run/netns/p"}}],"ips":[{{"address":"10.244.1.2/32","gateway":"10.244.1.1","interface":1,"version":"4"}}],"routes":{ROUTES}}}"#,
                version.as_str()
            )
        );
    }
}

#[test]
fn versions_from_1_0_do_not_and_1_1_adds_the_mtu() {
    for (version, mtu) in [(SpecVersion::V1_0_0, ""), (SpecVersion::V1_1_0, r#""mtu":1450,"#)] {
        assert_eq!(
            snapshot(version),
            format!(
                r#"{{"cniVersion":"{}","dns":{{"nameservers":["10.96.0.10"]}},"interfaces":[{{"mac":"02:00:00:00:00:01",{mtu}"name":"veth0a1b2c3d"}},{{"mac":"02:00:00:00:00:02",{mtu}"name":"eth0","sandbox":"/var/run/netns/p"}}],"ips":[{{"address":"10.244.1.2/32","gateway":"10.244.1.1","interface":1}}],"routes":{ROUTES}}}"#,
                version.as_str()
            )
        );
    }
}

#[test]
fn a_result_survives_the_way_through_the_runtime() {
    for version in [SpecVersion::V0_4_0, SpecVersion::V1_1_0] {
        let value = sample().to_json(version);
        let parsed = CniResult::parse(&Object::root(value.as_object().expect("an object")));
        assert_eq!(parsed.expect("ours").to_json(version), value);
    }
}

#[test]
fn what_later_plugins_add_does_not_confuse() {
    let value = json!({
        "CNIVersion": "1.0.0",
        "interfaces": [{ "name": "bwp0", "mac": "", "socketPath": "/s" }],
        "ips": [{ "address": "fd00::2/64" }, { "address": "10.0.0.2/24" }],
        "routes": [{ "dst": "::/0" }, { "dst": "0.0.0.0/0", "gw": null }],
    });
    let parsed = CniResult::parse(&Object::root(value.as_object().expect("an object")));
    let parsed = parsed.expect("legal");
    assert_eq!((parsed.ips.len(), parsed.routes.len()), (2, 2));
    assert!(parsed.routes.iter().all(|route| route.gw.is_none()));
}

#[test]
fn resolv_conf_is_read_as_host_local_does() {
    let dns = Dns::from_resolv_conf(
        "# c\nnameserver 10.96.0.10\nsearch a b\noptions ndots:5\ndomain x\n",
    );
    assert_eq!(dns.nameservers, ["10.96.0.10"]);
    assert_eq!((dns.search.join(" "), dns.domain.as_str()), ("a b".into(), "x"));
}
