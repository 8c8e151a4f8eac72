//! The choice never overlaps, repeats itself, and ends exactly when nothing is left.

use proptest::prelude::*;

use super::*;
use crate::lease::LeaseBackend;
use crate::{NetConf, Timestamp};

fn pool(keys: &str) -> SubnetPool {
    NetConf::parse(&format!("{{{keys}}}")).unwrap().conf.pool.unwrap()
}

fn small_pool() -> SubnetPool {
    pool(r#""Network": "10.9.0.0/24", "SubnetLen": 27"#)
}

fn cidr(text: &str) -> PodCidr {
    text.parse().unwrap()
}

fn lease(node: &str, last: u8, subnet: PodCidr, claimed: u64) -> Lease {
    Lease {
        subnet,
        public_ip: Ipv4Addr::new(192, 0, 2, last),
        node_name: node.to_owned(),
        backend: LeaseBackend::Other("vxlan".to_owned()),
        claimed_at: Timestamp::from_unix_seconds(claimed),
        renewed_at: None,
    }
}

fn claimant(previous: Option<PodCidr>) -> Claimant<'static> {
    Claimant { node_name: "a", public_ip: Ipv4Addr::new(192, 0, 2, 1), previous }
}

#[test]
fn the_first_subnet_of_the_network_is_skipped() {
    let choice = choose(&small_pool(), claimant(None), &[], &[]);
    assert_eq!(choice, Ok(Choice::Free(cidr("10.9.0.32/27"))));
}

#[test]
fn an_own_lease_is_kept_before_the_previous_subnet() {
    let own = [lease("a", 1, cidr("10.9.0.96/27"), 5)];
    let choice = choose(&small_pool(), claimant(Some(cidr("10.9.0.64/27"))), &own, &[]);
    assert_eq!(choice, Ok(Choice::Own(cidr("10.9.0.96/27"))));
}

#[test]
fn a_lease_is_own_by_name_before_it_is_own_by_address() {
    let leases =
        [lease("old-name", 1, cidr("10.9.0.64/27"), 1), lease("a", 9, cidr("10.9.0.96/27"), 2)];
    let own = own_lease(claimant(None), &leases).unwrap();
    assert_eq!(own.node_name, "a");
    assert_eq!(own_lease(claimant(None), &leases[..1]).unwrap().node_name, "old-name");
}

#[test]
fn an_own_lease_that_no_longer_fits_is_given_up() {
    for own in ["10.9.0.0/27", "10.9.0.64/28", "10.8.0.32/27"] {
        let choice = choose(&small_pool(), claimant(None), &[lease("a", 1, cidr(own), 0)], &[]);
        assert_eq!(choice, Ok(Choice::Free(cidr("10.9.0.32/27"))), "{own}");
    }
}

#[test]
fn the_previous_subnet_is_taken_if_it_is_free_and_fits() {
    let wish = Some(cidr("10.9.0.128/27"));
    let choice = choose(&small_pool(), claimant(wish), &[], &[]);
    assert_eq!(choice, Ok(Choice::Previous(cidr("10.9.0.128/27"))));
    let taken = [lease("b", 2, cidr("10.9.0.128/27"), 0)];
    let choice = choose(&small_pool(), claimant(wish), &taken, &[]);
    assert_eq!(choice, Ok(Choice::Free(cidr("10.9.0.32/27"))));
}

#[test]
fn a_full_pool_says_what_to_do() {
    let pool = pool(r#""Network": "10.9.0.0/24", "SubnetLen": 26"#);
    let blocked = ["10.9.0.64/26", "10.9.0.128/25"].map(cidr);
    let error = choose(&pool, claimant(None), &[], &blocked).unwrap_err();
    assert_eq!(
        error.to_string(),
        "out of subnets: all 3 subnets of length /26 between 10.9.0.64/26 and 10.9.0.192/26 are \
         taken: enlarge Network or SubnetMax, raise SubnetLen, or remove the leases of nodes that \
         are gone"
    );
}

#[test]
fn the_end_of_the_address_space_is_no_overflow() {
    let pool = pool(r#""Network": "223.255.255.0/24", "SubnetLen": 26"#);
    let blocked = ["223.255.255.0/24"].map(cidr);
    assert!(choose(&pool, claimant(None), &[], &blocked).is_err());
    assert_eq!(following(cidr("255.255.255.252/30"), Ipv4Addr::BROADCAST), None);
}

#[test]
fn fifteen_thousand_leases_are_walked_in_no_time() {
    let pool = pool(r#""Network": "10.0.0.0/8""#);
    let mut blocked = Vec::new();
    let start = std::time::Instant::now();
    for number in 1_u32..=15_000 {
        let bits = (10 << 24) + (number << 8);
        blocked.push(PodCidr::around(ipnet::Ipv4Net::new(bits.into(), 24).unwrap()).unwrap());
    }
    let choice = choose(&pool, claimant(None), &[], &blocked).unwrap();
    assert_eq!(choice.subnet(), cidr("10.58.153.0/24"));
    assert!(start.elapsed().as_secs() < 2, "{:?}", start.elapsed());
}

fn any_subnet() -> impl Strategy<Value = PodCidr> {
    // Around the pool's network, of any length, so that some overlap it and some do not.
    (0_u32..0x400, 20_u8..=30).prop_map(|(low, len)| {
        let bits = (10 << 24) + (8 << 16) + 0xff00 + low;
        PodCidr::around(ipnet::Ipv4Net::new(bits.into(), len).unwrap()).unwrap()
    })
}

proptest! {
    #[test]
    fn the_choice_overlaps_nobody_and_is_always_the_same(
        taken in prop::collection::vec(any_subnet(), 0..12), previous in prop::option::of(any_subnet()),
    ) {
        let leases: Vec<Lease> = taken.iter().map(|subnet| lease("b", 2, *subnet, 0)).collect();
        let choice = choose(&small_pool(), claimant(previous), &leases, &[]);
        if let Ok(choice) = choice {
            prop_assert!(small_pool().contains(choice.subnet()));
            prop_assert!(!taken.iter().any(|other| other.overlaps(choice.subnet())));
        }
        let mut shuffled = leases.clone();
        shuffled.reverse();
        prop_assert_eq!(choose(&small_pool(), claimant(previous), &shuffled, &[]), choice);
    }

    #[test]
    fn the_first_free_subnet_is_the_lowest_of_all_free_ones(
        taken in prop::collection::vec(any_subnet(), 0..12),
    ) {
        let pool = small_pool();
        let all = (1_u32..8).map(|number| (10 << 24) + (9 << 16) + number * 32);
        let all = all.map(|bits| PodCidr::new(ipnet::Ipv4Net::new(bits.into(), 27).unwrap()).unwrap());
        let lowest = all.into_iter().find(|one| !taken.iter().any(|other| other.overlaps(*one)));
        prop_assert_eq!(first_free(&pool, &taken), lowest);
    }

    #[test]
    fn a_pool_is_exhausted_exactly(prefix in 20_u8..=26, extra in 2_u8..=4) {
        let len = prefix + extra;
        let pool = pool(&format!(r#""Network": "10.9.0.0/{prefix}", "SubnetLen": {len}"#));
        let mut blocked = Vec::new();
        for _ in 0..pool.len() {
            blocked.push(choose(&pool, claimant(None), &[], &blocked).unwrap().subnet());
        }
        prop_assert!(choose(&pool, claimant(None), &[], &blocked).is_err());
    }
}
