//! No subnet is ever given twice, nothing is lost, and every fault is named.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;

use tartan_common::{Mac, Vni};
use tartan_core::{LeaseBackend, NetConf, SubnetPool, VxlanData};
use tempfile::TempDir;

use super::*;

mod race;
mod watching;

const HOUR: u64 = 3600;
const NOW: u64 = 1_800_000_000;

fn noon() -> Timestamp {
    Timestamp::from_unix_seconds(NOW)
}

fn two_days_later() -> Timestamp {
    Timestamp::from_unix_seconds(NOW + 48 * HOUR)
}

fn at(clock: fn() -> Timestamp) -> Options {
    Options { clock, ..Options::default() }
}

fn registry(dir: &TempDir, clock: fn() -> Timestamp) -> Registry {
    Registry { dir: dir.path().to_owned(), ttl: TTL, clock }
}

fn pool(len: u8) -> Option<SubnetPool> {
    let text = format!(r#"{{"Network": "10.244.0.0/20", "SubnetLen": {len}}}"#);
    NetConf::parse(&text).unwrap().conf.pool
}

fn request(node: &str, last: u8) -> LeaseRequest {
    LeaseRequest {
        node_name: node.to_owned(),
        public_ip: Some(Ipv4Addr::new(192, 0, 2, last)),
        backend: LeaseBackend::Vxlan(VxlanData::new(Vni::new(1).unwrap(), Mac::local([last; 6]))),
        pool: pool(24),
        previous: None,
        ipv6: None,
    }
}

fn cidr(text: &str) -> PodCidr {
    text.parse().unwrap()
}

fn names(dir: &TempDir) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != ".lock")
        .collect();
    names.sort();
    names
}

#[test]
fn leases_are_readable_files_named_for_their_subnet() {
    let dir = TempDir::new().unwrap();
    let lease = registry(&dir, noon).acquire(&request("a", 1)).unwrap();
    assert_eq!(lease.subnet, cidr("10.244.1.0/24"));
    assert_eq!((lease.claimed_at, lease.renewed_at), (noon(), Some(noon())));
    assert_eq!(names(&dir), ["10.244.1.0-24.json"]);
    let path = dir.path().join("10.244.1.0-24.json");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    let text = fs::read_to_string(path).unwrap();
    assert_eq!(record::parse(&text, lease.subnet), Ok(lease));
}

#[test]
fn a_node_that_comes_back_keeps_its_subnet_and_its_claim() {
    let dir = TempDir::new().unwrap();
    let first = registry(&dir, noon).acquire(&request("a", 1)).unwrap();
    registry(&dir, noon).acquire(&request("b", 2)).unwrap();
    let again = registry(&dir, two_days_later).acquire(&request("a", 1)).unwrap();
    assert_eq!((again.subnet, again.claimed_at), (first.subnet, noon()));
    assert_eq!(again.renewed_at, Some(two_days_later()));
}

#[test]
fn a_node_with_a_new_address_publishes_it_under_the_same_lease() {
    let dir = TempDir::new().unwrap();
    let registry = registry(&dir, noon);
    let first = registry.acquire(&request("a", 1)).unwrap();
    let moved = registry.acquire(&request("a", 9)).unwrap();
    assert_eq!(moved.subnet, first.subnet);
    assert_eq!(moved.public_ip, Ipv4Addr::new(192, 0, 2, 9));
    assert_eq!(files::read_all(dir.path()).unwrap().leases, [moved]);
}

#[test]
fn an_address_that_is_leased_to_a_live_node_is_refused_and_nothing_changes() {
    let dir = TempDir::new().unwrap();
    registry(&dir, noon).acquire(&request("a", 1)).unwrap();
    let error = registry(&dir, noon).acquire(&request("b", 1)).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "node address 192.0.2.1 is leased to node a already ({}): set --public-ip on one of \
             the two nodes, or remove that file if a is gone",
            dir.path().join("10.244.1.0-24.json").display()
        )
    );
    assert_eq!(names(&dir), ["10.244.1.0-24.json"]);
}

#[test]
fn a_renamed_node_takes_its_expired_lease_over() {
    let dir = TempDir::new().unwrap();
    registry(&dir, noon).acquire(&request("old-name", 1)).unwrap();
    let lease = registry(&dir, two_days_later).acquire(&request("new-name", 1)).unwrap();
    assert_eq!(lease.subnet, cidr("10.244.1.0/24"));
    assert_eq!((lease.node_name.as_str(), lease.claimed_at), ("new-name", two_days_later()));
    assert_eq!(names(&dir), ["10.244.1.0-24.json"]);
}

#[test]
fn expired_leases_of_others_are_spared_until_nothing_else_is_free() {
    let dir = TempDir::new().unwrap();
    let small = |node: &str, last| LeaseRequest { pool: pool(22), ..request(node, last) };
    for (node, last) in [("a", 1), ("b", 2)] {
        registry(&dir, noon).acquire(&small(node, last)).unwrap();
    }
    let late = registry(&dir, two_days_later);
    assert_eq!(late.acquire(&small("c", 3)).unwrap().subnet, cidr("10.244.12.0/22"));
    assert_eq!(late.acquire(&small("d", 4)).unwrap().subnet, cidr("10.244.4.0/22"));
    assert_eq!(late.acquire(&small("e", 5)).unwrap().subnet, cidr("10.244.8.0/22"));
    let error = late.acquire(&small("f", 6)).unwrap_err().to_string();
    assert!(error.starts_with("out of subnets: all 3 subnets of length /22"), "{error}");
}

#[test]
fn the_previous_subnet_is_asked_for_again() {
    let dir = TempDir::new().unwrap();
    let wish = LeaseRequest { previous: Some(cidr("10.244.7.0/24")), ..request("a", 1) };
    assert_eq!(registry(&dir, noon).acquire(&wish).unwrap().subnet, cidr("10.244.7.0/24"));
    let wish = LeaseRequest { previous: Some(cidr("10.244.7.0/24")), ..request("b", 2) };
    assert_eq!(registry(&dir, noon).acquire(&wish).unwrap().subnet, cidr("10.244.1.0/24"));
}

#[test]
fn a_lease_that_no_longer_fits_is_exchanged() {
    let dir = TempDir::new().unwrap();
    registry(&dir, noon).acquire(&request("a", 1)).unwrap();
    let narrower = LeaseRequest { pool: pool(26), ..request("a", 1) };
    let lease = registry(&dir, noon).acquire(&narrower).unwrap();
    assert_eq!(lease.subnet, cidr("10.244.0.64/26"));
    assert_eq!(names(&dir), ["10.244.0.64-26.json"]);
}

#[test]
fn publishing_writes_only_what_changed_and_renewing_always() {
    let dir = TempDir::new().unwrap();
    let lease = registry(&dir, noon).acquire(&request("a", 1)).unwrap();
    let late = registry(&dir, two_days_later);
    assert_eq!(late.put(&lease, false).unwrap(), lease);
    let data = VxlanData::new(Vni::new(1).unwrap(), Mac::local([7; 6]));
    let changed = Lease { backend: LeaseBackend::Vxlan(data), ..lease.clone() };
    let stored = late.put(&changed, false).unwrap();
    assert_eq!((stored.vtep_mac(), stored.claimed_at), (Some(Mac::local([7; 6])), noon()));
    assert_eq!(stored.renewed_at, Some(two_days_later()));
    let renewed = registry(&dir, noon).put(&changed, true).unwrap();
    assert_eq!(renewed.renewed_at, Some(noon()));
}

#[test]
fn a_lease_that_names_another_node_is_a_conflict_and_stays_theirs() {
    let dir = TempDir::new().unwrap();
    let registry = registry(&dir, noon);
    let lease = registry.acquire(&request("a", 1)).unwrap();
    let theirs = Lease { node_name: "b".to_owned(), ..lease.clone() };
    files::replace(dir.path(), &theirs).unwrap();
    for renew in [false, true] {
        let error = registry.put(&lease, renew).unwrap_err();
        assert!(matches!(error, StoreError::Conflict { .. }));
        let text = error.to_string();
        assert!(text.starts_with("lease 10.244.1.0/24 of node a is held by node b now"), "{text}");
    }
    assert_eq!(files::read_all(dir.path()).unwrap().leases, [theirs]);
}

#[tokio::test]
async fn what_is_held_is_written_again_only_when_the_request_differs() {
    let dir = TempDir::new().unwrap();
    let store = DirectoryStore::open_with(dir.path(), at(noon)).unwrap();
    let held = store.hold(&request("a", 1), None).await.unwrap();
    let v4 = |own: &OwnLeases| own.v4.clone().unwrap();
    let path = store.lease_path(v4(&held).subnet);
    fs::remove_file(&path).unwrap();
    assert_eq!(store.hold(&request("a", 1), Some(&held)).await.unwrap(), held);
    assert!(!path.exists());
    let moved = store.hold(&request("a", 9), Some(&held)).await.unwrap();
    assert_eq!(v4(&moved).public_ip, Ipv4Addr::new(192, 0, 2, 9));
    assert_eq!((v4(&moved).subnet, path.exists()), (v4(&held).subnet, true));
    let wishes = store.wishes("a").await.unwrap();
    assert_eq!(wishes, Wishes { vtep_mac: v4(&moved).vtep_mac(), ..Wishes::default() });
    assert_eq!(store.wishes("b").await.unwrap(), Wishes::default());
    assert_eq!(store.standing(), Standing { trouble: None, published: true });
}

#[test]
fn a_removed_lease_is_put_back_unless_somebody_took_its_place() {
    let dir = TempDir::new().unwrap();
    let registry = registry(&dir, noon);
    let lease = registry.acquire(&request("a", 1)).unwrap();
    let path = files::path_of(dir.path(), lease.subnet);
    fs::remove_file(&path).unwrap();
    assert_eq!(registry.put(&lease, true).unwrap().claimed_at, lease.claimed_at);
    fs::remove_file(&path).unwrap();
    let wide = Lease { subnet: cidr("10.244.0.0/22"), node_name: "b".to_owned(), ..lease.clone() };
    assert!(files::create(dir.path(), &wide).unwrap());
    assert!(matches!(registry.put(&lease, true), Err(StoreError::Conflict { .. })));
}

#[test]
fn files_that_are_no_leases_block_their_subnet_and_stay_as_they_are() {
    let dir = TempDir::new().unwrap();
    let broken = dir.path().join("10.244.1.0-24.json");
    fs::write(&broken, "{").unwrap();
    fs::write(dir.path().join("notes.json"), "{}").unwrap();
    fs::write(dir.path().join("README"), "not json").unwrap();
    fs::create_dir(dir.path().join("10.244.2.0-24.json")).unwrap();
    let lease = registry(&dir, noon).acquire(&request("a", 1)).unwrap();
    assert_eq!(lease.subnet, cidr("10.244.3.0/24"));
    assert_eq!(fs::read_to_string(&broken).unwrap(), "{");
    let listing = files::read_all(dir.path()).unwrap();
    let places: Vec<&str> =
        listing.faults.iter().filter_map(|fault| fault.place.rsplit('/').next()).collect();
    assert_eq!(places, ["10.244.1.0-24.json", "10.244.2.0-24.json", "notes.json"]);
    assert!(listing.faults.iter().all(|fault| fault.what.ends_with("correct or remove the file")));
}

#[test]
fn a_lease_renewed_at_the_last_moment_is_not_taken_over() {
    let dir = TempDir::new().unwrap();
    let stale = registry(&dir, noon).acquire(&request("a", 1)).unwrap();
    let renewed = registry(&dir, two_days_later).put(&stale, true).unwrap();
    assert!(!files::remove(dir.path(), &stale).unwrap());
    assert_eq!(files::read_all(dir.path()).unwrap().leases, [renewed]);
    assert_eq!(names(&dir), ["10.244.1.0-24.json"]);
}

#[test]
fn overlapping_claims_of_different_lengths_do_not_both_stand() {
    let dir = TempDir::new().unwrap();
    let mine = registry(&dir, noon).acquire(&request("a", 1)).unwrap();
    let wide = Lease { subnet: cidr("10.244.0.0/22"), node_name: "b".to_owned(), ..mine.clone() };
    // As if both had claimed at the same moment, without a lock between them.
    assert!(files::create(dir.path(), &wide).unwrap());
    let again = registry(&dir, noon).acquire(&LeaseRequest { previous: None, ..request("c", 3) });
    assert_eq!(again.unwrap().subnet, cidr("10.244.4.0/24"));
}

#[tokio::test]
async fn a_directory_that_is_missing_or_none_is_said_so() {
    let dir = TempDir::new().unwrap();
    let missing = DirectoryStore::open(&dir.path().join("no")).unwrap_err().to_string();
    assert!(missing.ends_with("does not exist: create it, or correct --lease-dir"), "{missing}");
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = DirectoryStore::open(&file).unwrap_err().to_string();
    assert!(error.ends_with("is not a directory: correct --lease-dir"), "{error}");
}

#[tokio::test]
async fn a_snapshot_tells_expired_leases_and_faults_apart() {
    let dir = TempDir::new().unwrap();
    registry(&dir, noon).acquire(&request("gone", 1)).unwrap();
    registry(&dir, two_days_later).acquire(&request("here", 2)).unwrap();
    fs::write(dir.path().join("10.244.9.0-24.json"), "").unwrap();
    let store = DirectoryStore::open_with(dir.path(), at(two_days_later)).unwrap();
    let snapshot = store.list().await.unwrap();
    let nodes = |leases: &[Lease]| leases.iter().map(|l| l.node_name.clone()).collect::<Vec<_>>();
    assert_eq!(nodes(&snapshot.leases), ["here"]);
    assert_eq!(nodes(&snapshot.expired), ["gone"]);
    assert_eq!(snapshot.faults.len(), 1);
    assert_eq!(snapshot.of_node("gone").unwrap().subnet, cidr("10.244.1.0/24"));
    assert_eq!(store.reported.lock().unwrap().len(), 1);
    fs::remove_file(dir.path().join("10.244.9.0-24.json")).unwrap();
    store.list().await.unwrap();
    assert!(store.reported.lock().unwrap().is_empty());
}

#[test]
fn what_the_kernel_refuses_is_told_by_its_kind() {
    use std::io::{Error, ErrorKind};
    let path = Path::new("/leases/x.json");
    let text = |kind: ErrorKind| StoreError::io("write", path, Error::from(kind)).to_string();
    assert!(text(ErrorKind::ReadOnlyFilesystem).contains("cannot be written to"));
    assert!(text(ErrorKind::PermissionDenied).contains("give the agent write access"));
    assert!(text(ErrorKind::StorageFull).starts_with("no space left for /leases/x.json"));
    assert!(text(ErrorKind::TimedOut).starts_with("cannot write /leases/x.json"));
}

#[test]
fn leftovers_of_a_killed_agent_are_swept_up_when_they_are_old() {
    let dir = TempDir::new().unwrap();
    let old = dir.path().join(".10.244.1.0-24.json.7-0.tmp");
    let young = dir.path().join(".10.244.1.0-24.json.7-1.tmp");
    for path in [&old, &young] {
        fs::write(path, "x").unwrap();
    }
    let past = SystemTime::now() - Duration::from_secs(2 * HOUR);
    fs::File::options().write(true).open(&old).unwrap().set_modified(past).unwrap();
    registry(&dir, noon).acquire(&request("a", 1)).unwrap();
    assert_eq!(names(&dir), [".10.244.1.0-24.json.7-1.tmp", "10.244.1.0-24.json"]);
}
