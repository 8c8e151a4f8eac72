//! Reservations on disk, as the reference plugin keeps them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;

use tempfile::TempDir;

use super::*;

fn attachment(id: &str) -> Attachment {
    Attachment { container_id: id.into(), ifname: "eth0".into() }
}

fn range(text: &str) -> Range {
    Range::new(text.parse().expect("a network")).expect("large enough")
}

fn take(dir: &Path, net: &str, id: &str, requested: &[&str]) -> Result<String, IpamError> {
    let requested: Vec<IpAddr> = requested.iter().map(|ip| ip.parse().expect("an IP")).collect();
    let store = Locked::open(dir)?;
    reserve(&store, range(net), &attachment(id), &requested).map(|ip| ip.to_string())
}

fn files(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("a directory").flatten();
    let names: BTreeSet<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.into_iter().collect()
}

fn refused(result: Result<String, IpamError>) -> String {
    result.expect_err("must be refused").to_string()
}

#[test]
fn files_are_byte_for_byte_those_of_the_reference() {
    let root = TempDir::new().expect("a directory");
    let dir = root.path().join("networks/cbr0");
    assert_eq!(take(&dir, "10.244.1.0/24", "c1", &[]).expect("free"), "10.244.1.2");
    assert_eq!(files(&dir), ["10.244.1.2", "last_reserved_ip.0", "lock"]);
    assert_eq!(fs::read(dir.join("10.244.1.2")).expect("there"), b"c1\r\neth0");
    assert_eq!(fs::read(dir.join("last_reserved_ip.0")).expect("there"), b"10.244.1.2");
    assert_eq!(fs::read(dir.join("lock")).expect("there"), b"");
    let mode = |name| fs::metadata(dir.join(name)).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode("10.244.1.2"), mode("last_reserved_ip.0")), (0o600, 0o600));
}

#[test]
fn addresses_go_round_and_return_after_a_lap() {
    let dir = TempDir::new().expect("a directory");
    let dir = dir.path();
    assert_eq!(take(dir, "10.0.0.0/29", "a", &[]).expect("free"), "10.0.0.2");
    assert_eq!(take(dir, "10.0.0.0/29", "b", &[]).expect("free"), "10.0.0.3");
    Locked::open(dir).expect("lock").release_all(&attachment("a")).expect("released");
    assert_eq!(take(dir, "10.0.0.0/29", "c", &[]).expect("free"), "10.0.0.4");
    for id in ["d", "e"] {
        take(dir, "10.0.0.0/29", id, &[]).expect("free");
    }
    assert_eq!(take(dir, "10.0.0.0/29", "f", &[]).expect("free"), "10.0.0.2");
    assert_eq!(
        refused(take(dir, "10.0.0.0/29", "g", &[])),
        "failed to allocate for range 0: no IP addresses available in range set: 10.0.0.1-10.0.0.6"
    );
    assert!(!files(dir).contains(&".tartan-draft".to_owned()));
}

#[test]
fn a_second_add_of_an_attachment_is_refused_even_against_legacy_content() {
    let dir = TempDir::new().expect("a directory");
    let dir = dir.path();
    take(dir, "10.0.0.0/24", "a", &[]).expect("free");
    let text = "failed to allocate for range 0: 10.0.0.2 has been allocated to a, duplicate allocation is not allowed";
    assert_eq!(refused(take(dir, "10.0.0.0/24", "a", &[])), text);
    fs::write(dir.join("10.0.0.9"), " old \n").expect("written");
    assert!(refused(take(dir, "10.0.0.0/24", "old", &[])).contains("10.0.0.9 has been allocated"));
}

#[test]
fn an_empty_file_of_a_crash_is_free() {
    let dir = TempDir::new().expect("a directory");
    let dir = dir.path();
    fs::write(dir.join("10.0.0.2"), "").expect("written");
    assert_eq!(take(dir, "10.0.0.0/30", "a", &[]).expect("stale"), "10.0.0.2");
    assert_eq!(fs::read(dir.join("10.0.0.2")).expect("there"), b"a\r\neth0");
}

#[test]
fn a_broken_last_reserved_ip_restarts_the_turn() {
    let dir = TempDir::new().expect("a directory");
    fs::write(dir.path().join("last_reserved_ip.0"), "").expect("written");
    assert_eq!(take(dir.path(), "10.0.0.0/24", "a", &[]).expect("free"), "10.0.0.2");
}

#[test]
fn requested_addresses_are_given_or_refused_in_the_reference_words() {
    let dir = TempDir::new().expect("a directory");
    let dir = dir.path();
    let net = "10.0.0.0/24";
    assert_eq!(take(dir, net, "a", &["10.0.0.77", "10.0.0.77"]).expect("free"), "10.0.0.77");
    assert_eq!(
        refused(take(dir, net, "b", &["10.0.0.77"])),
        "failed to allocate for range 0: requested IP address 10.0.0.77 is not available in range set 10.0.0.1-10.0.0.254"
    );
    assert_eq!(
        refused(take(dir, net, "b", &["10.0.0.1"])),
        "failed to allocate for range 0: requested ip 10.0.0.1 is subnet's gateway"
    );
    for (requested, text) in [
        (vec!["10.9.0.1"], "10.9.0.1"),
        (vec!["10.0.0.3", "10.0.0.4"], "10.0.0.4"),
        (vec!["fd00::1"], "fd00::1"),
        (vec!["10.0.0.255"], "10.0.0.255"),
    ] {
        let expected = format!("failed to allocate all requested IPs: {text}");
        assert_eq!(refused(take(dir, net, "b", &requested)), expected);
    }
    assert_eq!(files(dir), ["10.0.0.77", "last_reserved_ip.0", "lock"]);
}

#[test]
fn release_takes_own_and_legacy_files_and_leaves_the_rest() {
    let dir = TempDir::new().expect("a directory");
    let dir = dir.path();
    fs::write(dir.join("10.0.0.2"), "a\r\neth0\n").expect("written");
    fs::write(dir.join("10.0.0.3"), "a\r\neth1").expect("written");
    fs::write(dir.join("10.0.0.4"), "a").expect("written");
    fs::write(dir.join("10.0.0.5"), "b\r\neth0").expect("written");
    let store = Locked::open(dir).expect("lock");
    store.release_all(&attachment("a")).expect("released");
    store.release_all(&attachment("nobody")).expect("nothing to do");
    assert_eq!(files(dir), ["10.0.0.3", "10.0.0.5", "lock"]);
}

#[test]
fn a_directory_that_does_not_exist_is_empty_and_stays_absent() {
    let dir = TempDir::new().expect("a directory");
    let absent = dir.path().join("cbr0");
    assert!(Reservations::read(&absent).expect("empty").is_empty());
    assert!(!absent.exists());
}

#[test]
fn eight_at_once_never_share_an_address() {
    let dir = TempDir::new().expect("a directory");
    let path = dir.path();
    let claim = |worker: usize| -> Vec<String> {
        (0..25)
            .map(|n| take(path, "10.0.0.0/24", &format!("w{worker}n{n}"), &[]).expect("free"))
            .collect()
    };
    let all: Vec<String> = thread::scope(|scope| {
        let workers: Vec<_> = (0..8).map(|worker| scope.spawn(move || claim(worker))).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("no panic")).collect()
    });
    assert_eq!(all.len(), 200);
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 200);
    assert_eq!(Reservations::read(path).expect("read").len(), 200);
}
