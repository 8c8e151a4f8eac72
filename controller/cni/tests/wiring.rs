//! The verbs against the real kernel, in network namespaces of their own; only
//! the data path is a stand-in. Needs root; says so where it is not.

mod calico_names;
mod starting_agent;
mod support;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{Fault, Lab, in_namespace, namespaces};
use tartan_cni::netlink::Rtnl;

const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 1);
const POD: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 244, 1, 2));

#[test]
fn add_wires_a_pod_and_answers_in_full() {
    namespaces(|mut lab| {
        let result = lab.ok("ADD", "c1", json!({}));
        let host = result["interfaces"][0]["name"].as_str().expect("a name").to_owned();
        assert!(host.starts_with("veth") && host.len() == 12, "{host}");
        assert_eq!(result["interfaces"][0].get("sandbox"), None);
        assert_eq!(result["interfaces"][1]["name"], "eth0");
        assert_eq!(result["interfaces"][1]["sandbox"], lab.pod_path("c1"));
        assert_eq!(
            result["ips"],
            json!([{ "address": "10.244.1.2/32", "gateway": "10.244.1.1", "interface": 1 }])
        );
        assert_eq!(
            result["routes"],
            json!([
                { "dst": "0.0.0.0/0", "gw": "10.244.1.1" },
                { "dst": "10.244.0.0/16", "gw": "10.244.1.1" }
            ])
        );
        assert_eq!(lab.datapath.attached_while_up, 0);
        let entry = lab.datapath.pods.get(&POD).expect("registered");
        let link = Rtnl::open().expect("socket").link(&host).expect("asked").expect("there");
        assert_eq!((entry.ifindex, Some(entry.host_mac)), (link.index, link.mac));
        lab.quiet("CHECK", "c1", json!({ "prevResult": result }));
    });
}

#[test]
fn packets_flow_both_ways_without_address_resolution() {
    namespaces(|mut lab| {
        lab.ok("ADD", "c1", json!({}));
        let on_host = UdpSocket::bind((GATEWAY, 0)).expect("the gateway is the host's");
        on_host.set_read_timeout(Some(Duration::from_secs(2))).expect("set");
        let to = on_host.local_addr().expect("bound");
        let from = in_namespace(lab.pod("c1"), move || {
            let socket = UdpSocket::bind("0.0.0.0:0").expect("bound");
            socket.set_read_timeout(Some(Duration::from_secs(2))).expect("set");
            socket.send_to(b"ping", to).expect("sent");
            socket
        });
        let mut buffer = [0; 8];
        let (length, sender) = on_host.recv_from(&mut buffer).expect("arrived");
        assert_eq!((&buffer[..length], sender.ip()), (&b"ping"[..], POD));
        on_host.send_to(b"pong", sender).expect("sent");
        let (length, sender) = from.recv_from(&mut buffer).expect("answered");
        assert_eq!((&buffer[..length], sender.ip()), (&b"pong"[..], GATEWAY.into()));
    });
}

#[test]
fn del_leaves_nothing_however_often_and_whatever_is_gone() {
    namespaces(|mut lab| {
        let before = lab.traces();
        lab.ok("ADD", "c1", json!({}));
        assert_ne!(lab.traces(), before);
        fs::remove_file(lab.subnet_file()).expect("removed");
        for _ in 0..3 {
            lab.quiet("DEL", "c1", json!({}));
            assert_eq!(lab.traces(), before);
        }
    });
}

#[test]
fn del_works_without_the_namespace_and_with_a_plain_file_in_its_place() {
    namespaces(|mut lab| {
        let before = lab.traces();
        lab.ok("ADD", "c1", json!({}));
        lab.drop_pod("c1");
        lab.quiet("DEL", "c1", json!({}));
        assert_eq!(lab.traces(), before);
        lab.ok("ADD", "c2", json!({}));
        let file = lab.root.path().join("plain");
        fs::write(&file, "").expect("written");
        lab.quiet_in("DEL", "c2", &file, json!({}));
        assert_eq!(lab.traces(), before);
        lab.quiet_in("DEL", "c2", Path::new("/nonexistent"), json!({}));
    });
}

#[test]
fn del_works_while_nothing_is_pinned() {
    namespaces(|mut lab| {
        lab.ok("ADD", "c1", json!({}));
        lab.datapath.fault = Some(Fault::NotReady);
        let outcome = lab.call("DEL", "c1", json!({}));
        assert!(outcome.success && outcome.stdout.is_empty(), "{outcome:?}");
        assert!(Lab::links().iter().all(|name| !name.starts_with("veth")));
        assert!(lab.reservations().is_empty());
    });
}

#[test]
fn a_failed_add_undoes_everything() {
    namespaces(|mut lab| {
        let before = lab.traces();
        for fault in [Fault::NotReady, Fault::Insert, Fault::Attach, Fault::Panic] {
            lab.datapath.fault = Some(fault);
            let error = lab.error("ADD", "c1", json!({}));
            let expected = if fault == Fault::NotReady { 11 } else { 999 };
            assert_eq!(error["code"], expected, "{error}");
            lab.datapath.fault = None;
            assert_eq!(lab.traces(), before, "{fault:?}");
        }
        let refused_by_kernel = json!({ "delegate": { "mtu": 67 } });
        assert_eq!(lab.error("ADD", "c1", refused_by_kernel)["code"], 102);
        let twice = json!({ "dst": "192.0.2.0/24" });
        let refused_in_the_pod = json!({ "ipam": { "routes": [twice, twice] } });
        let error = lab.error("ADD", "c1", lab.merge_ipam(refused_in_the_pod));
        assert_eq!(error["code"], 102, "{error}");
        assert_eq!(lab.traces(), before);
        lab.ok("ADD", "c1", json!({}));
    });
}

#[test]
fn a_second_add_is_refused_and_the_first_stays() {
    namespaces(|mut lab| {
        let result = lab.ok("ADD", "c1", json!({}));
        let before = lab.traces();
        assert_eq!(lab.error("ADD", "c1", json!({}))["code"], 102);
        let same_id_elsewhere = lab.pod_path("c2");
        let outcome = lab.call_in("ADD", "c1", Path::new(&same_id_elsewhere), &json!({}));
        assert!(outcome.stdout.contains("duplicate allocation is not allowed"), "{outcome:?}");
        assert_eq!(lab.traces(), before);
        lab.quiet("CHECK", "c1", json!({ "prevResult": result }));
    });
}

#[test]
fn check_names_what_is_missing() {
    namespaces(|mut lab| {
        let prev = json!({ "prevResult": lab.ok("ADD", "c1", json!({})) });
        let message = |lab: &mut Lab| {
            lab.error("CHECK", "c1", prev.clone())["msg"].as_str().expect("text").to_owned()
        };
        let entry = lab.datapath.pods.remove(&POD).expect("registered");
        assert!(message(&mut lab).contains("not in the pods' map"));
        lab.datapath.pods.insert(POD, entry);
        let attached = std::mem::take(&mut lab.datapath.attached);
        assert!(message(&mut lab).contains("a program at veth"));
        lab.datapath.attached = attached;
        lab.ip("route flush 10.244.1.2/32");
        assert!(message(&mut lab).contains("the host's route to 10.244.1.2"));
        assert_eq!(lab.error("CHECK", "c1", json!({}))["msg"], "Required prevResult missing");
        fs::remove_file(lab.ipam_dir().join("10.244.1.2")).expect("removed");
        assert!(message(&mut lab).contains("Failed to find address added by container c1"));
    });
}

#[test]
fn the_plugins_own_namespace_is_refused_before_anything_else() {
    namespaces(|mut lab| {
        let own = Path::new("/proc/thread-self/ns/net");
        let outcome = lab.call_in("ADD", "c1", own, &json!({ "subnetFile": "/nonexistent" }));
        let error: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
        assert_eq!(error["code"], 8);
        assert_eq!(error["msg"], "plugin's netns and netns from CNI_NETNS should not be the same");
    });
}

#[test]
fn a_host_that_lost_the_gateway_has_it_on_the_pods_link() {
    namespaces(|mut lab| {
        lab.ip("address del 10.244.1.1/32 dev lo");
        let outcome = lab.call("ADD", "c1", json!({}));
        assert!(outcome.success && outcome.stderr.is_empty(), "{outcome:?}");
    });
}

#[test]
fn gc_frees_what_is_not_listed() {
    namespaces(|mut lab| {
        let nothing = lab.traces();
        lab.ok("ADD", "c1", json!({}));
        let one = lab.traces();
        lab.ok("ADD", "c2", json!({}));
        let list = json!([{ "containerID": "c1", "ifname": "eth0" }]);
        assert!(lab.call("GC", "", json!({})).success);
        assert_ne!(lab.traces(), one);
        lab.quiet("GC", "", json!({ "cni.dev/valid-attachments": list }));
        assert_eq!(lab.traces(), one);
        lab.quiet("GC", "", json!({ "cni.dev/valid-attachments": null }));
        assert_eq!(lab.traces(), nothing);
    });
}

#[test]
fn status_says_whether_an_add_would_work() {
    namespaces(|mut lab| {
        lab.quiet("STATUS", "", json!({}));
        lab.datapath.fault = Some(Fault::NotReady);
        assert_eq!(lab.error("STATUS", "", json!({}))["code"], 50);
    });
}

#[test]
fn an_asked_mac_and_address_are_given() {
    namespaces(|mut lab| {
        let asked =
            json!({ "runtimeConfig": { "mac": "c2:11:22:33:44:55", "ips": ["10.244.1.77/24"] } });
        let result = lab.ok("ADD", "c1", asked);
        assert_eq!(result["interfaces"][1]["mac"], "c2:11:22:33:44:55");
        assert_eq!(result["ips"][0]["address"], "10.244.1.77/32");
    });
}

#[test]
fn an_add_takes_milliseconds() {
    namespaces(|mut lab| {
        let mut times: Vec<Duration> = (0..50)
            .map(|n| {
                let id = format!("t{n}");
                let path = lab.pod_path(&id);
                let start = Instant::now();
                let outcome = lab.call_in("ADD", &id, Path::new(&path), &json!({}));
                let took = start.elapsed();
                assert!(outcome.success, "{outcome:?}");
                took
            })
            .collect();
        times.sort();
        println!("ADD in process: p50 {:?}, p90 {:?}, max {:?}", times[25], times[45], times[49]);
        // The benchmark holds the goal of 10 ms; here other tests share two cores.
        assert!(times[25] < Duration::from_millis(100), "p50 {:?}", times[25]);
    });
}

#[test]
fn a_pod_that_nobody_will_shape_starts_with_provisional_programs() {
    namespaces(|mut lab| {
        let told = json!({ "capabilities": { "bandwidth": true } });
        lab.ok("ADD", "c1", told.clone());
        assert_eq!(lab.datapath.provisional, lab.datapath.attached);
        assert_eq!((lab.datapath.attached.len(), lab.datapath.attached_while_up), (1, 0));
        lab.quiet("DEL", "c1", told.clone());
        assert!(lab.datapath.attached.is_empty());
        let mut shaped = told.clone();
        shaped["runtimeConfig"] = json!({ "bandwidth": { "egressRate": 1 } });
        lab.ok("ADD", "c2", shaped);
        lab.datapath.qdisc_is_taken = true;
        lab.ok("ADD", "c3", told);
        assert_eq!((lab.datapath.provisional.len(), lab.datapath.attached.len()), (0, 2));
    });
}

#[test]
fn what_flannels_plugin_needs_comes_with_add_and_goes_with_del() {
    namespaces(|mut lab| {
        let file = lab.root.path().join("scratch/c1");
        let stock = json!({
            "cniVersion": "0.3.1", "type": "flannel",
            "delegate": { "hairpinMode": true, "isDefaultGateway": true }
        });
        lab.ok("ADD", "c1", stock.clone());
        let kept: Value = serde_json::from_slice(&fs::read(&file).expect("kept")).expect("JSON");
        assert_eq!((&kept["type"], &kept["name"]), (&json!("bridge"), &json!("cbr0")));
        assert_eq!(kept["ipam"]["dataDir"], lab.ipam()["dataDir"]);
        assert_eq!(kept["ipam"]["ranges"], json!([[{ "subnet": "10.244.1.0/24" }]]));
        lab.quiet("DEL", "c1", stock);
        assert!(!file.exists());
    });
}

#[test]
fn an_add_that_cannot_keep_it_leaves_no_trace() {
    namespaces(|mut lab| {
        fs::write(lab.root.path().join("scratch"), "a file in the way").expect("written");
        let before = lab.traces();
        let error = lab.error("ADD", "c1", json!({}));
        assert_eq!(error["code"], 5, "{error}");
        assert!(error["details"].as_str().expect("a hint").contains("dataDir"), "{error}");
        assert_eq!(lab.traces(), before);
    });
}

#[test]
fn a_failed_add_takes_it_back() {
    namespaces(|mut lab| {
        lab.datapath.fault = Some(Fault::Attach);
        lab.error("ADD", "c1", json!({}));
        assert!(!lab.root.path().join("scratch/c1").exists());
    });
}

#[test]
fn gc_forgets_it_only_for_containers_that_are_gone() {
    namespaces(|mut lab| {
        lab.ok("ADD", "c1", json!({}));
        lab.ok("ADD", "c2", json!({}));
        let alive = json!([{ "containerID": "c2", "ifname": "eth0" }]);
        lab.quiet("GC", "", json!({ "cni.dev/valid-attachments": alive }));
        let kept = |id: &str| lab.root.path().join("scratch").join(id).exists();
        assert_eq!((kept("c1"), kept("c2")), (false, true));
    });
}
