//! Every reason is given where it is due, and the answer depends on nothing but the set.

use proptest::prelude::*;

use super::*;
use crate::Timestamp;

fn vni(number: u64) -> Vni {
    Vni::new(number).unwrap()
}

fn lease(node: &str, last: u8, subnet: &str) -> Lease {
    Lease {
        subnet: subnet.parse().unwrap(),
        public_ip: Ipv4Addr::new(192, 0, 2, last),
        node_name: node.to_owned(),
        backend: LeaseBackend::Vxlan(VxlanData::new(vni(1), Mac::local([last; 6]))),
        claimed_at: Timestamp::from_unix_seconds(100),
        renewed_at: Some(Timestamp::from_unix_seconds(200)),
    }
}

fn own() -> Lease {
    lease("me", 1, "10.244.1.0/24")
}

fn judged(leases: &[Lease]) -> Peers {
    let own = own();
    let network = "10.244.0.0/16".parse().unwrap();
    peers(Observer { own: &own, network, vni: Some(vni(1)) }, leases)
}

fn why(lease: Lease) -> RefusedReason {
    let mut judged = judged(&[own(), lease]);
    assert!(judged.usable.is_empty());
    judged.refused.remove(0).why
}

fn names(peers: &Peers) -> Vec<&str> {
    peers.usable.iter().map(|peer| peer.node_name.as_str()).collect()
}

#[test]
fn other_nodes_are_peers_and_the_own_lease_is_not() {
    let leases = [lease("c", 3, "10.244.3.0/24"), own(), lease("b", 2, "10.244.2.0/24")];
    let judged = judged(&leases);
    assert_eq!((names(&judged), judged.refused.len()), (vec!["b", "c"], 0));
    assert_eq!(judged.usable[0].vtep_mac, Some(Mac::local([2; 6])));
}

#[test]
fn each_fault_has_its_own_reason() {
    let network = "10.244.0.0/16".parse().unwrap();
    let ours = own().subnet.net().into();
    assert_eq!(why(lease("me", 2, "10.244.2.0/24")), RefusedReason::OurNodeName);
    assert_eq!(why(lease("b", 1, "10.244.2.0/24")), RefusedReason::OurAddress);
    assert_eq!(why(lease("b", 2, "10.244.0.0/22")), RefusedReason::OverlapsOurs { ours });
    assert_eq!(why(lease("b", 2, "10.245.2.0/24")), RefusedReason::OutsideNetwork { network });
    assert_eq!(why(lease("b", 2, "10.244.2.0/25")), RefusedReason::PrefixLength { wanted: 24 });
    let with_backend = |backend| Lease { backend, ..lease("b", 2, "10.244.2.0/24") };
    assert_eq!(why(with_backend(own().backend)), RefusedReason::OurVtepMac);
    for mac in [Mac([0; 6]), Mac([1, 0, 0x5e, 0, 0, 1])] {
        let data = LeaseBackend::Vxlan(VxlanData::new(vni(1), mac));
        assert_eq!(why(with_backend(data)), RefusedReason::UnusableVtepMac);
    }
    for other in [LeaseBackend::Other("udp".to_owned()), LeaseBackend::HostGw] {
        let reason = RefusedReason::backend_type(&other, "vxlan");
        assert_eq!(why(with_backend(other)), reason);
    }
    let data = VxlanData::new(vni(2), Mac::local([7; 6]));
    let reason = RefusedReason::OtherVni { theirs: vni(2), ours: vni(1) };
    assert_eq!(why(with_backend(LeaseBackend::Vxlan(data))), reason);
}

#[test]
fn addresses_that_no_tunnel_can_end_at_are_refused() {
    let at = |address: &str| {
        why(Lease { public_ip: address.parse().unwrap(), ..lease("b", 2, "10.244.2.0/24") })
    };
    for address in ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"] {
        assert_eq!(at(address), RefusedReason::UnusableAddress, "{address}");
    }
    let network = "10.244.0.0/16".parse().unwrap();
    assert_eq!(at("10.244.9.9"), RefusedReason::AddressInNetwork { network });
}

#[test]
fn a_node_without_a_published_vni_is_a_peer() {
    let data = VxlanData { vni: None, vtep_mac: Mac::local([7; 6]) };
    let lease = Lease { backend: LeaseBackend::Vxlan(data), ..lease("b", 2, "10.244.2.0/24") };
    assert_eq!(names(&judged(&[lease])), ["b"]);
}

#[test]
fn the_older_claim_keeps_the_subnet() {
    let older =
        Lease { claimed_at: Timestamp::from_unix_seconds(50), ..lease("z", 9, "10.244.2.0/24") };
    let judged = judged(&[lease("b", 2, "10.244.2.0/24"), older]);
    assert_eq!(names(&judged), ["z"]);
    let winner = "z".to_owned();
    assert_eq!(judged.refused[0].why, RefusedReason::OverlapsPeer { winner });
}

#[test]
fn a_tie_of_claims_is_decided_by_name() {
    let leases = [lease("z", 9, "10.244.2.0/24"), lease("b", 2, "10.244.2.0/24")];
    assert_eq!(names(&judged(&leases)), ["b"]);
}

#[test]
fn of_two_nodes_at_one_address_the_one_renewed_last_is_there() {
    let gone = lease("a", 2, "10.244.2.0/24");
    let there = Lease {
        renewed_at: Some(Timestamp::from_unix_seconds(900)),
        ..lease("b", 2, "10.244.3.0/24")
    };
    let judged = judged(&[gone, there]);
    assert_eq!(names(&judged), ["b"]);
    let winner = "b".to_owned();
    assert_eq!(judged.refused[0].why, RefusedReason::SharedAddress { winner });
}

#[test]
fn of_two_nodes_at_one_address_whose_leases_do_not_expire_the_older_one_is_there() {
    let forever = |node, subnet, claimed| Lease {
        renewed_at: None,
        claimed_at: Timestamp::from_unix_seconds(claimed),
        ..lease(node, 2, subnet)
    };
    let judged = judged(&[forever("b", "10.244.2.0/24", 70), forever("c", "10.244.3.0/24", 60)]);
    assert_eq!(names(&judged), ["c"]);
}

#[test]
fn every_reason_has_its_own_caption_and_says_what_to_do() {
    let name = || "n".to_owned();
    let network = "10.0.0.0/8".parse().unwrap();
    let reasons = [
        RefusedReason::OurNodeName,
        RefusedReason::OurAddress,
        RefusedReason::OverlapsOurs { ours: own().subnet.net().into() },
        RefusedReason::OverlapsPeer { winner: name() },
        RefusedReason::SharedAddress { winner: name() },
        RefusedReason::OurVtepMac,
        RefusedReason::UnusableVtepMac,
        RefusedReason::OutsideNetwork { network },
        RefusedReason::PrefixLength { wanted: 24 },
        RefusedReason::BackendType { found: name(), ours: "vxlan" },
        RefusedReason::OtherVni { theirs: vni(2), ours: vni(1) },
        RefusedReason::UnusableAddress,
        RefusedReason::AddressInNetwork { network },
    ];
    let captions: std::collections::BTreeSet<String> =
        reasons.iter().map(RefusedReason::caption).collect();
    assert_eq!(captions.len(), reasons.len());
    assert!(reasons.iter().all(|reason| reason.remedy().len() > 10));
    assert_eq!(
        reasons[2].to_string(),
        "the subnet overlaps this node's 10.244.1.0/24: \
         remove one of the two leases and restart its node's agent (in Kubernetes: delete and \
         recreate one of the two Nodes, so that it gets another podCIDR)"
    );
}

fn any_lease() -> impl Strategy<Value = Lease> {
    let backend = prop_oneof![
        6 => (1_u64..3, 0_u8..6).prop_map(|(number, mac)| {
            LeaseBackend::Vxlan(VxlanData::new(vni(number), Mac::local([mac; 6])))
        }),
        1 => Just(LeaseBackend::Other("host-gw".to_owned())),
    ];
    let subnet = (0_u8..6, 22_u8..=25).prop_map(|(third, len)| {
        PodCidr::around(Ipv4Net::new(Ipv4Addr::new(10, 244, third, 0), len).unwrap()).unwrap()
    });
    let times = (0_u64..4, prop::option::of(0_u64..4));
    (subnet, 0_u8..6, "[a-d]", backend, times).prop_map(
        |(subnet, last, node_name, backend, times)| Lease {
            subnet,
            public_ip: Ipv4Addr::new(192, 0, 2, last),
            node_name,
            backend,
            claimed_at: Timestamp::from_unix_seconds(times.0),
            renewed_at: times.1.map(Timestamp::from_unix_seconds),
        },
    )
}

proptest! {
    #[test]
    fn usable_peers_share_nothing(leases in prop::collection::vec(any_lease(), 0..14)) {
        let judged = judged(&leases);
        for (index, peer) in judged.usable.iter().enumerate() {
            prop_assert!(!peer.subnet.overlaps(own().subnet));
            prop_assert_ne!(peer.vtep_mac, own().vtep_mac());
            prop_assert_ne!(peer.public_ip, own().public_ip);
            for other in &judged.usable[index + 1..] {
                prop_assert!(!peer.subnet.overlaps(other.subnet));
                prop_assert_ne!(peer.public_ip, other.public_ip);
            }
        }
    }

    #[test]
    fn every_lease_is_told_once(leases in prop::collection::vec(any_lease(), 0..14)) {
        let judged = judged(&leases);
        let distinct = distinct_others(&own(), &leases).len();
        prop_assert_eq!(judged.usable.len() + judged.refused.len(), distinct);
    }

    #[test]
    fn the_order_of_the_leases_does_not_matter(
        (leases, shuffled) in prop::collection::vec(any_lease(), 0..14)
            .prop_flat_map(|leases| (Just(leases.clone()), Just(leases).prop_shuffle())),
    ) {
        prop_assert_eq!(judged(&leases), judged(&shuffled));
    }

    #[test]
    fn judging_the_winners_again_refuses_nobody(leases in prop::collection::vec(any_lease(), 0..14)) {
        let first = judged(&leases);
        let winners: Vec<Lease> = leases
            .into_iter()
            .filter(|lease| first.usable.iter().any(|peer| peer.node_name == lease.node_name
                && peer.subnet == lease.subnet && peer.public_ip == lease.public_ip
                && peer.vtep_mac == lease.vtep_mac()))
            .filter(|lease| !first.refused.iter().any(|refused| refused.lease == *lease))
            .collect();
        let again = judged(&winners);
        prop_assert_eq!(again.usable, first.usable);
        prop_assert!(again.refused.is_empty());
    }
}
