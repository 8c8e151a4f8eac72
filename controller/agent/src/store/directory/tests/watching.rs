//! Changes are noticed, and nothing else is.

use tokio::time::timeout;

use super::*;

/// Long enough for an event on a busy machine.
const SOON: Duration = Duration::from_secs(5);
/// Long enough to see that nothing happens.
const MOMENT: Duration = Duration::from_millis(200);

#[tokio::test]
async fn every_change_after_opening_is_noticed_even_while_nobody_waits() {
    let dir = TempDir::new().unwrap();
    let store = DirectoryStore::open_with(dir.path(), at(noon)).unwrap();
    let other = DirectoryStore::open_with(dir.path(), at(noon)).unwrap();
    assert!(timeout(MOMENT, store.changed()).await.is_err());
    let lease = other.acquire(&request("b", 2)).await.unwrap();
    timeout(SOON, store.changed()).await.unwrap();
    assert_eq!(store.list().await.unwrap().leases.first(), Some(&lease));
    other.renew(&OwnLeases { v4: Some(lease.clone()), v6: None }).await.unwrap();
    timeout(SOON, store.changed()).await.unwrap();
    fs::remove_file(store.lease_path(lease.subnet)).unwrap();
    timeout(SOON, store.changed()).await.unwrap();
    assert_eq!(store.list().await.unwrap(), Snapshot::default());
    assert!(timeout(MOMENT, store.changed()).await.is_err());
}

#[tokio::test]
async fn temporary_files_and_strangers_wake_nobody() {
    let dir = TempDir::new().unwrap();
    let store = DirectoryStore::open_with(dir.path(), at(noon)).unwrap();
    fs::write(dir.path().join(".10.244.1.0-24.json.1-1.tmp"), "x").unwrap();
    fs::write(dir.path().join("README"), "x").unwrap();
    assert!(timeout(MOMENT, store.changed()).await.is_err());
}

#[tokio::test]
async fn polling_sees_a_directory_that_was_replaced() {
    let root = TempDir::new().unwrap();
    let path = root.path().join("leases");
    fs::create_dir(&path).unwrap();
    let poll = Duration::from_millis(50);
    let store = DirectoryStore::open_with(&path, Options { poll, ..at(noon) }).unwrap();
    fs::rename(&path, root.path().join("away")).unwrap();
    fs::create_dir(&path).unwrap();
    timeout(SOON, store.changed()).await.unwrap();
    let other = DirectoryStore::open_with(&path, at(noon)).unwrap();
    let lease = other.acquire(&request("b", 2)).await.unwrap();
    timeout(SOON, store.changed()).await.unwrap();
    assert_eq!(store.list().await.unwrap().leases, [lease]);
}

#[tokio::test]
async fn an_expiring_lease_is_a_change() {
    let dir = TempDir::new().unwrap();
    let options = Options {
        ttl: Duration::from_secs(1),
        poll: Duration::from_millis(50),
        clock: Timestamp::now,
    };
    let store = DirectoryStore::open_with(dir.path(), options).unwrap();
    store.acquire(&request("a", 1)).await.unwrap();
    assert_eq!(store.list().await.unwrap().leases.len(), 1);
    let expired = async {
        while store.list().await.unwrap().expired.is_empty() {
            store.changed().await;
        }
    };
    timeout(SOON, expired).await.unwrap();
}
