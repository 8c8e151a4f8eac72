//! One parser each, and what must hold of its answers.

use ipnet::Ipv4Net;
use tartan_core::annotations::{
    AnnotationPrefix, Key, LARGEST_OBJECT, LONGEST_VALUE, NodeRecord, Observed, RecordFault,
    to_leases, wishes,
};
use tartan_core::reflector::{Page, WatchItem, parse_event, parse_page, parse_status};
use tartan_core::subnet_env::SubnetEnv;
use tartan_core::{LastKnown, NetConf, Timestamp, VxlanData};

use super::cluster::hostile_beside_honest;
use super::corpus::{ANSWERS, LAST_KNOWNS, NET_CONFS, NODES, PREFIXES, SUBNET_ENVS, VALUES};
use super::{Target, is_fit_for_a_log, is_one_line};

/// All of them.
pub const TARGETS: [Target; 8] = [
    Target { name: "Node objects", corpus: &NODES, check: node },
    Target { name: "API answers", corpus: &ANSWERS, check: answer },
    Target { name: "annotations", corpus: &VALUES, check: annotation_values },
    Target { name: "backend data", corpus: &VALUES, check: backend_data },
    Target { name: "annotation prefixes", corpus: &PREFIXES, check: prefix },
    Target { name: "net-conf", corpus: &NET_CONFS, check: net_conf },
    Target { name: "subnet.env", corpus: &SUBNET_ENVS, check: subnet_env },
    Target { name: "last-known", corpus: &LAST_KNOWNS, check: last_known },
];

type Verdict = Result<String, String>;

fn text(input: &[u8]) -> String {
    String::from_utf8_lossy(input).into_owned()
}

/// An error that is shown; its words are the kind of the outcome.
fn refused(error: &impl ToString) -> Verdict {
    let shown = error.to_string();
    is_fit_for_a_log(&shown).map(|()| shown)
}

/// Only root writes the node's own files, which may be repeated at any length.
fn of_a_local_file(error: &impl ToString) -> Verdict {
    let shown = error.to_string();
    is_one_line(&shown).map(|()| shown)
}

fn node(input: &[u8]) -> Verdict {
    let text = text(input);
    match NodeRecord::from_json(&text, &AnnotationPrefix::default()) {
        Err(error) => refused(&error),
        Ok(seen) => {
            is_bounded(&seen)?;
            let is_marked = matches!(seen.record.fault, Some(RecordFault::ObjectTooLarge(_)));
            if text.len() > LARGEST_OBJECT && !is_marked {
                return Err(format!("an object of {} bytes is taken", text.len()));
            }
            record(seen.record)
        }
    }
}

fn is_bounded(seen: &Observed) -> Result<(), String> {
    let Observed { version, record } = seen;
    let annotations = Key::ALL.iter().filter_map(|key| record.annotation(*key));
    let longest = annotations.map(str::len).max().unwrap_or_default();
    let cidrs = record.pod_cidrs.iter().map(|text| text.len()).max().unwrap_or_default();
    let fits = longest <= LONGEST_VALUE
        && cidrs <= 64
        && record.pod_cidrs.len() <= 3
        && record.uid.len() <= 128
        && version.to_string().len() <= 64;
    is_fit_for_a_log(&record.name)?;
    if fits { Ok(()) } else { Err(format!("the record is too large: {record:.300?}")) }
}

/// What is said about a record, and what it does to honest nodes.
fn record(record: NodeRecord) -> Verdict {
    let leases = to_leases(&record);
    let _ = wishes(&record);
    let mut kind = String::new();
    for error in [leases.v4.as_ref().err(), leases.v6.as_ref().err()].into_iter().flatten() {
        kind += &refused(error)?;
    }
    if let Some(station) = leases.v4.iter().flatten().find_map(tartan_core::Lease::vtep_mac)
        && !station.is_station()
    {
        return Err(format!("{station} is the address of no station"));
    }
    Ok(kind + &hostile_beside_honest(&[record])?)
}

fn answer(input: &[u8]) -> Verdict {
    let prefix = AnnotationPrefix::default();
    let mut kind = match parse_page(input, &prefix) {
        Err(error) => refused(&error)?,
        Ok(Page { items, unreadable, version, .. }) => {
            items.iter().try_for_each(is_bounded)?;
            unreadable.iter().try_for_each(|what| is_fit_for_a_log(what))?;
            is_fit_for_a_log(&version.to_string())?;
            format!("a page: {}", unreadable.join("; "))
        }
    };
    kind += &match parse_event(input, &prefix) {
        Err(error) => refused(&error)?,
        Ok(WatchItem::Changed(seen) | WatchItem::Deleted(seen)) => {
            is_bounded(&seen)?;
            "an object".to_owned()
        }
        Ok(WatchItem::Bookmark(version)) => refused(&version).map(|_| "a bookmark".to_owned())?,
        Ok(WatchItem::Failed(failure)) => refused(&failure)?,
        Ok(WatchItem::Unreadable(what)) => refused(&what)?,
    };
    for code in [0, 410, 429, 500] {
        refused(&parse_status(input, code, None))?;
    }
    Ok(kind)
}

/// Each value in each annotation and as a subnet, of a Node that is otherwise in order.
fn annotation_values(input: &[u8]) -> Verdict {
    let value = text(input);
    let created = Timestamp::from_unix_seconds(2_000_000_000);
    let mut kind = String::new();
    for key in Key::ALL {
        let mut bad = orderly(created);
        bad.annotate(key, &value);
        kind += &record(bad)?;
    }
    let mut bad = orderly(created);
    bad.pod_cidrs = vec![value.as_str().into()];
    if value.len() <= 64 {
        kind += &record(bad)?;
    }
    Ok(kind)
}

fn orderly(created: Timestamp) -> NodeRecord {
    let mut record = NodeRecord::bare("bad", "uid", created);
    record.pod_cidrs = vec!["10.244.9.0/24".into(), "fd00:10:244:9::/64".into()];
    for (key, value) in [
        (Key::SubnetManager, "true"),
        (Key::BackendType, "vxlan"),
        (Key::BackendData, r#"{"VNI":1,"VtepMAC":"02:00:00:00:00:99"}"#),
        (Key::BackendV6Data, r#"{"VNI":1,"VtepMAC":"02:00:00:00:06:99"}"#),
        (Key::PublicIp, "172.30.0.99"),
        (Key::PublicIpv6, "fd00:30::99"),
    ] {
        record.annotate(key, value);
    }
    record
}

fn backend_data(input: &[u8]) -> Verdict {
    match VxlanData::from_json(&text(input)) {
        Err(error) => refused(&error),
        Ok(data) if !data.vtep_mac.is_station() => Err(format!("{data:?} is no station's")),
        Ok(data) if VxlanData::from_json(&data.to_json()) == Ok(data) => Ok("data".to_owned()),
        Ok(data) => Err(format!("{data:?} is printed as something else")),
    }
}

fn prefix(input: &[u8]) -> Verdict {
    match text(input).parse::<AnnotationPrefix>() {
        Err(error) => refused(&error),
        Ok(prefix) => {
            let name = prefix.key(Key::PublicIp);
            let is_plain =
                |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/');
            let slashes = name.bytes().filter(|byte| *byte == b'/').count();
            if slashes != 1 || !name.bytes().all(is_plain) {
                return Err(format!("{name:?} is no name of an annotation"));
            }
            Ok("a prefix".to_owned())
        }
    }
}

fn net_conf(input: &[u8]) -> Verdict {
    match NetConf::parse(&text(input)) {
        Err(error) => refused(&error),
        Ok(loaded) => {
            let unusable = |net: &Ipv4Net| net.addr() != net.network() && net.prefix_len() > 30;
            if let Some(network) = loaded.conf.network().filter(unusable) {
                return Err(format!("{network} is no pod network"));
            }
            Ok(format!("taken: {}", loaded.warnings.join("; ")))
        }
    }
}

fn subnet_env(input: &[u8]) -> Verdict {
    match SubnetEnv::parse(&text(input)) {
        Err(error) => of_a_local_file(&error),
        Ok(env) => {
            let again = SubnetEnv::parse(&env.render());
            if again.as_ref() != Ok(&env) {
                return Err(format!("{env:?} is read again as {again:?}"));
            }
            Ok(format!("taken without {:?}", env.missing()))
        }
    }
}

fn last_known(input: &[u8]) -> Verdict {
    match serde_json::from_slice::<LastKnown>(input) {
        Err(error) => of_a_local_file(&error),
        Ok(known) => {
            let text = serde_json::to_string(&known).map_err(|error| error.to_string())?;
            let again: Result<LastKnown, _> = serde_json::from_str(&text);
            if again.as_ref().ok() != Some(&known) {
                return Err(format!("{known:?} is read again as {again:?}"));
            }
            Ok("taken".to_owned())
        }
    }
}
