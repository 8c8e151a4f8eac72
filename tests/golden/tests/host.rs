//! The table on the host.

use std::{env, fs};

use proptest::prelude::*;
use tartan_common::NetAddr;
use tartan_common::hook::Meta;
use tartan_golden::fixture::{Memory, POD_IFINDEX, config};
use tartan_golden::{Hook, Verdict, cases, render, run};

#[test]
fn every_case_ends_as_the_table_says() {
    for case in cases() {
        let maps = Memory::new();
        case.prepare(&config(), &maps);
        let mut frame = case.frame.clone();
        let verdict = run(case.hook, &mut frame, &case.meta(), &config(), &maps, 0);
        assert_eq!(verdict, case.expected, "{} ({} bytes)", case.name, case.frame.len());
    }
}

/// A device that was flannel's gives no tunnel key.
#[test]
fn without_a_tunnel_key_only_what_the_uplinks_hook_accepted_comes_in() {
    use tartan_common::hook::{OverlayIngress, UNJUDGED, overlay_ingress};
    use tartan_common::reason::Reason;
    use tartan_common::wire::INNER_AT;
    let mut judged = 0;
    for case in cases() {
        let Verdict::ToDevice(tag) = case.expected else { continue };
        let meta = Meta { tag, ..case.meta() };
        let inner = &case.frame[INNER_AT..];
        let verdict = overlay_ingress(inner, &meta, None, &config(), &Memory::new());
        let refused = OverlayIngress::Drop(Reason::NoTunnelKey);
        let expected = if tag == UNJUDGED { refused } else { OverlayIngress::Judged };
        assert_eq!(verdict, expected, "{}", case.name);
        judged += u32::from(tag != UNJUDGED);
    }
    assert_eq!(judged, 5, "four merged packets and a first fragment");
}

#[test]
fn the_rendered_table_is_the_committed_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/golden.txt");
    let rendered = render();
    if env::var_os("TARTAN_BLESS").is_some() {
        fs::write(path, &rendered).unwrap();
    }
    let committed = fs::read_to_string(path).unwrap_or_default();
    assert!(
        rendered == committed,
        "golden.txt is outdated: TARTAN_BLESS=1 cargo test -p tartan-golden, then read the diff"
    );
}

/// The other node's view of the same fixture: what we send must be what it accepts.
fn mirrored() -> (tartan_common::abi::NodeConfig, Memory) {
    use tartan_common::abi::{NodeEntry, PodEntry};
    use tartan_golden::fixture::{HOST_MAC, NODE, PEER, PEER_VTEP, POD_MAC, REMOTE};
    let mut config = config();
    config.node = PEER;
    config.subnet = NetAddr::from_octets([10, 244, 2, 0]);
    config.vtep_mac = PEER_VTEP;
    let mut maps = Memory::new();
    let pod = PodEntry { ifindex: 1, flags: 0, pod_mac: POD_MAC, host_mac: HOST_MAC };
    maps.pods = [(REMOTE, pod)].into();
    let subnet = NetAddr::from_octets([10, 244, 1, 0]);
    maps.nodes = [(NODE, NodeEntry { subnet, mask: NetAddr::mask(24) })].into();
    (config, maps)
}

proptest! {
    #[test]
    fn noise_never_panics(noise: Vec<u8>, direct: bool, gso_size in prop::sample::select(vec![0_u32, 1398])) {
        for hook in [Hook::PodEgress, Hook::PodIngress, Hook::OverlayEgress, Hook::UplinkIngress, Hook::UplinkEgress] {
            for case in cases().iter().filter(|case| case.hook == hook).take(3) {
                let mut frame = case.frame.clone();
                for (at, byte) in noise.iter().enumerate() {
                    if let Some(target) = frame.get_mut(at * 7 % 100) {
                        *target ^= byte;
                    }
                }
                let maps = Memory::new();
                if direct {
                    case.prepare(&config(), &maps);
                }
                let len = u32::try_from(frame.len()).unwrap();
                let meta = Meta { len, gso_size, ifindex: POD_IFINDEX, tag: 0, in_vlan: false, for_us: true };
                run(hook, &mut frame, &meta, &config(), &maps, 0);
            }
        }
    }

    #[test]
    fn what_one_node_sends_the_other_delivers(
        payload in proptest::collection::vec(any::<u8>(), 0..1300),
        ports: (u16, u16),
        tos: u8,
        identification: u16,
    ) {
        use tartan_golden::fixture::{HOST_MAC, POD, POD_MAC, REMOTE};
        use tartan_golden::packets::{fix_checksum, frame, ipv4, tcp};
        let mut packet = ipv4(POD, REMOTE, 6, &tcp(ports, 0x02, &payload));
        packet[1] = tos;
        fix_checksum(&mut packet);
        let mut sent = frame(POD_MAC, HOST_MAC, &packet);
        let meta = |frame: &[u8]| Meta {
            len: u32::try_from(frame.len()).unwrap(),
            gso_size: 0,
            ifindex: POD_IFINDEX,
            tag: 0,
            in_vlan: false,
            for_us: true,
        };
        let here = Memory::new();
        let verdict = run(Hook::PodEgress, &mut sent.clone(), &meta(&sent), &config(), &here, 0);
        prop_assert_eq!(verdict, Verdict::ToWire);
        let before = meta(&sent);
        run(Hook::PodEgress, &mut sent, &before, &config(), &Memory::new(), identification);
        let (config, maps) = mirrored();
        let on_wire = meta(&sent);
        let verdict = run(Hook::UplinkIngress, &mut sent, &on_wire, &config, &maps, 0);
        prop_assert_eq!(verdict, Verdict::ToPod);
        let mut expected = packet;
        expected[8] -= 2;
        fix_checksum(&mut expected);
        prop_assert_eq!(&sent[14..], &expected[..]);
    }
}
