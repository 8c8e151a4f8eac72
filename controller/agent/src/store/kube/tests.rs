//! The whole store against a small API server in this process, over plain HTTP.

use std::time::Duration;

use serde_json::json;
use tartan_common::{Mac, Vni};
use tartan_core::{LeaseBackend, NetConf, VxlanData};
use tokio::time::timeout;

use super::*;
use crate::store::{LeaseRequest6, NoticeKind};

mod server;

use self::server::Server;

/// Long enough on a busy machine.
const SOON: Duration = Duration::from_secs(20);

fn options(url: String) -> KubeOptions {
    let millis = Duration::from_millis;
    let reflector = ReflectorConfig {
        backoff_first: millis(10),
        backoff_longest: millis(100),
        page_limit: 2,
        ..ReflectorConfig::default()
    };
    let timing = Timing {
        connect: millis(500),
        request: millis(2000),
        trouble_after: millis(50),
        event_spacing: millis(1),
        reflector,
        ..Timing::default()
    };
    KubeOptions {
        api_url: Some(url),
        kubeconfig: None,
        node_name: "node1".to_owned(),
        prefix: AnnotationPrefix::default(),
        network: "10.244.0.0/16".parse().ok(),
        ipv6_network: "fd00::/48".parse().ok(),
        set_node_network_unavailable: true,
        timing,
    }
}

fn request() -> LeaseRequest {
    let data = VxlanData::new(Vni::new(1).unwrap(), Mac::local([1; 6]));
    let backend = LeaseBackend::Vxlan(data);
    let network = "fd00::/48".parse().unwrap();
    let public_ip = "2001:db8::1".parse().unwrap();
    LeaseRequest {
        node_name: "node1".to_owned(),
        public_ip: "192.0.2.1".parse().ok(),
        backend: backend.clone(),
        pool: NetConf::parse(r#"{"Network": "10.244.0.0/16"}"#).unwrap().conf.pool,
        previous: None,
        ipv6: Some(LeaseRequest6 { public_ip, backend, network }),
    }
}

/// Waits until `check` holds, looking after every change.
async fn until<T>(store: &KubeStore, mut check: impl FnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(found) = check() {
                return found;
            }
            let _ = timeout(Duration::from_millis(50), store.changed()).await;
        }
    };
    timeout(SOON, wait).await.expect("not in time")
}

async fn held(store: &KubeStore) -> OwnLeases {
    until(store, || store.shared.hold(&request()).ok()).await
}

#[tokio::test]
async fn a_node_holds_its_pod_cidr_and_publishes_it_as_flannel_does() {
    let server = Server::start().await;
    server.put("node1", json!(["10.244.1.0/24", "fd00:0:0:1::/64"]));
    for number in 2..8 {
        server.put(&format!("node{number}"), json!([format!("10.244.{number}.0/24")]));
    }
    let store = KubeStore::start(options(server.url())).unwrap();
    let own = held(&store).await;
    assert_eq!(own.v4.as_ref().unwrap().subnet, "10.244.1.0/24".parse().unwrap());
    assert_eq!(own.v6.unwrap().subnet, "fd00:0:0:1::/64".parse().unwrap());
    until(&store, || store.standing().published.then_some(())).await;
    let data = format!(r#"{{"VNI":1,"VtepMAC":"{}"}}"#, Mac::local([1; 6]));
    assert_eq!(server.annotation("node1", "backend-data"), data);
    assert_eq!(server.annotation("node1", "backend-v6-data"), data);
    assert_eq!(server.annotation("node1", "public-ipv6"), "2001:db8::1");
    assert_eq!(server.annotation("node1", "kube-subnet-manager"), "true");
    let listed = until(&store, || {
        Some(store.shared.snapshot().unwrap()).filter(|snapshot| snapshot.leases.len() == 1)
    });
    assert_eq!(Some(&listed.await.leases[0]), own.v4.as_ref());
}

#[tokio::test]
async fn annotations_that_somebody_changes_are_repaired_and_no_others() {
    let server = Server::start().await;
    server.put("node1", json!(["10.244.1.0/24"]));
    server.annotate("node1", "node-public-ip", "203.0.113.1");
    let store = KubeStore::start(options(server.url())).unwrap();
    held(&store).await;
    until(&store, || store.standing().published.then_some(())).await;
    assert_eq!(store.wishes("node1").await.unwrap().public_ip, "203.0.113.1".parse().ok());
    for value in ["192.0.2.66", "", "192.0.2.67"] {
        server.annotate("node1", "public-ip", value);
        until(&store, || (server.annotation("node1", "public-ip") == "192.0.2.1").then_some(()))
            .await;
    }
    assert_eq!(server.annotation("node1", "node-public-ip"), "203.0.113.1");
    server.annotate("node1", "public-ip-overwrite", "198.51.100.7");
    until(&store, || {
        let own = store.shared.hold(&request()).unwrap().v4.unwrap();
        (own.public_ip.to_string() == "198.51.100.7").then_some(())
    })
    .await;
    until(&store, || (server.annotation("node1", "public-ip") == "198.51.100.7").then_some(()))
        .await;
}

#[tokio::test]
async fn what_is_missing_is_told_and_waited_for() {
    let mut options = options("http://127.0.0.1:1".to_owned());
    let store = KubeStore::start(options.clone()).unwrap();
    let trouble = until(&store, || store.standing().trouble).await;
    assert!(trouble.starts_with("cannot read the Nodes from the Kubernetes API for"), "{trouble}");
    let error = store.hold(&request(), None).await.unwrap_err();
    assert!(matches!(error, StoreError::NotSynced { .. }) && error.is_temporary());
    assert!(matches!(store.list().await, Err(StoreError::NotSynced { .. })));

    let server = Server::start().await;
    options.api_url = Some(server.url());
    let store = KubeStore::start(options).unwrap();
    let error = || store.shared.hold(&request()).err();
    until(&store, || matches!(error(), Some(StoreError::NoNode { .. })).then_some(())).await;
    server.put("node1", json!([]));
    until(&store, || matches!(error(), Some(StoreError::NoPodCidr { .. })).then_some(())).await;
    server.put("node1", json!(["10.9.0.0/24"]));
    until(&store, || matches!(error(), Some(StoreError::PodCidrUnusable { .. })).then_some(()))
        .await;
    assert!(!store.standing().published);
    server.put("node1", json!(["10.244.1.0/24"]));
    held(&store).await;
    assert_eq!(store.standing().trouble, None);
}

#[tokio::test]
async fn peers_come_and_go_with_the_watch_and_after_an_outage() {
    let server = Server::start().await;
    server.put("node1", json!(["10.244.1.0/24"]));
    let store = KubeStore::start(options(server.url())).unwrap();
    held(&store).await;
    let names = || {
        let snapshot = store.shared.snapshot().unwrap();
        snapshot.leases.into_iter().map(|lease| lease.node_name).collect::<Vec<_>>()
    };
    server.peer("node2", "10.244.2.0/24");
    until(&store, || names().contains(&"node2".to_owned()).then_some(())).await;
    server.set_down(true);
    server.delete("node2");
    server.peer("node3", "10.244.3.0/24");
    until(&store, || store.standing().trouble).await;
    assert!(names().contains(&"node2".to_owned()));
    server.set_down(false);
    until(&store, || (names() == ["node1", "node3"]).then_some(())).await;
    assert_eq!(store.standing().trouble, None);
    server.forget_history();
    server.delete("node3");
    until(&store, || (names() == ["node1"]).then_some(())).await;
}

#[tokio::test]
async fn the_node_is_announced_once_per_call_and_per_node_object() {
    let server = Server::start().await;
    server.put("node1", json!(["10.244.1.0/24"]));
    let store = KubeStore::start(options(server.url())).unwrap();
    store.announce_ready();
    let sent = || server.bodies("PATCH", "NetworkUnavailable").len();
    until(&store, || (sent() == 1).then_some(())).await;
    server.delete("node1");
    server.put("node1", json!(["10.244.1.0/24"]));
    until(&store, || (sent() == 2).then_some(())).await;
    store.announce_ready();
    until(&store, || (sent() == 3).then_some(())).await;
}

#[tokio::test]
async fn a_notice_becomes_one_event() {
    let server = Server::start().await;
    let store = KubeStore::start(options(server.url())).unwrap();
    for _ in 0..3 {
        let text = "something to do".to_owned();
        store.tell(Notice { kind: NoticeKind::LeaseRefused, text });
    }
    store.tell(Notice { kind: NoticeKind::Ready, text: "ready".to_owned() });
    until(&store, || (server.bodies("POST", "ready").len() == 1).then_some(())).await;
    assert_eq!(server.bodies("POST", "something to do").len(), 1);
}

#[tokio::test]
async fn the_nodes_name_is_that_of_the_pods_spec() {
    let server = Server::start().await;
    let name = node_name_of_pod(&options(server.url()), "kube-tartan", "agent").await;
    assert_eq!(name.unwrap(), "node-of-agent");
    let error = node_name_of_pod(&options(server.url()), "kube-tartan", "gone").await.unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("error retrieving pod spec for 'kube-tartan/gone': "), "{text}");
}
