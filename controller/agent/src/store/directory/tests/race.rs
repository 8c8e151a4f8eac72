//! Several agents at once.

use std::sync::Barrier;
use std::thread;

use super::*;

#[test]
fn eight_agents_at_once_never_get_the_same_subnet() {
    for _ in 0..5 {
        let dir = TempDir::new().unwrap();
        let barrier = Barrier::new(8);
        let subnets: Vec<PodCidr> = thread::scope(|scope| {
            let claim = |last| {
                let (dir, barrier) = (&dir, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    let node = format!("node-{last}");
                    registry(dir, noon).acquire(&request(&node, last)).unwrap().subnet
                })
            };
            let agents: Vec<_> = (1..=8).map(claim).collect();
            agents.into_iter().map(|agent| agent.join().unwrap()).collect()
        });
        assert_eq!(subnets.iter().collect::<BTreeSet<_>>().len(), 8, "{subnets:?}");
        assert_eq!(names(&dir).len(), 8);
    }
}

#[test]
fn without_a_lock_a_name_is_still_claimed_only_once() {
    let dir = TempDir::new().unwrap();
    let lease = registry(&dir, noon).acquire(&request("a", 1)).unwrap();
    for third in 2..50 {
        let subnet = cidr(&format!("10.244.{third}.0/24"));
        let barrier = Barrier::new(8);
        let wins: usize = thread::scope(|scope| {
            let claim = |number: usize| {
                let (dir, barrier) = (dir.path(), &barrier);
                let node_name = format!("node-{number}");
                let lease = Lease { subnet, node_name, ..lease.clone() };
                scope.spawn(move || {
                    barrier.wait();
                    usize::from(files::create(dir, &lease).unwrap())
                })
            };
            let agents: Vec<_> = (0..8).map(claim).collect();
            agents.into_iter().map(|agent| agent.join().unwrap()).sum()
        });
        assert_eq!(wins, 1, "{subnet}");
    }
}

#[test]
fn eight_agents_racing_for_one_stale_lease_leave_one_holder() {
    let dir = TempDir::new().unwrap();
    let only = |node: &str, last| {
        let text =
            r#"{"Network": "10.244.0.0/22", "SubnetMin": "10.244.1.0", "SubnetMax": "10.244.1.0"}"#;
        LeaseRequest { pool: NetConf::parse(text).unwrap().conf.pool, ..request(node, last) }
    };
    registry(&dir, noon).acquire(&only("gone", 99)).unwrap();
    let barrier = Barrier::new(8);
    let wins = thread::scope(|scope| {
        let claim = |last| {
            let (dir, barrier) = (&dir, &barrier);
            scope.spawn(move || {
                barrier.wait();
                registry(dir, two_days_later).acquire(&only(&format!("n{last}"), last)).is_ok()
            })
        };
        let agents: Vec<_> = (1..=8).map(claim).collect();
        agents.into_iter().map(|agent| agent.join().unwrap()).filter(|won| *won).count()
    });
    assert_eq!(wins, 1);
    assert_eq!(names(&dir), ["10.244.1.0-24.json"]);
}
