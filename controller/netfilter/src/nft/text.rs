//! What is not modelled, in words near to those of `nft`.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::registers::Value;
use super::uapi::expression::{
    CT_HELPER, CT_STATE, CT_STATUS, META_IIFNAME, META_NFPROTO, META_OIFNAME, NETWORK_HEADER,
    TRANSPORT_HEADER,
};

/// `enum nft_meta_keys`.
const META: [&str; 36] = [
    "length",
    "protocol",
    "priority",
    "mark",
    "iif",
    "oif",
    "iifname",
    "oifname",
    "iiftype",
    "oiftype",
    "skuid",
    "skgid",
    "nftrace",
    "rtclassid",
    "secmark",
    "nfproto",
    "l4proto",
    "ibrname",
    "obrname",
    "pkttype",
    "cpu",
    "iifgroup",
    "oifgroup",
    "cgroup",
    "random",
    "ipsec",
    "iifkind",
    "oifkind",
    "ibrpvid",
    "ibrvproto",
    "time",
    "day",
    "hour",
    "sdif",
    "sdifname",
    "broute",
];

/// `enum nft_ct_keys`.
const CONNTRACK: [&str; 24] = [
    "state",
    "direction",
    "status",
    "mark",
    "secmark",
    "expiration",
    "helper",
    "l3proto",
    "saddr",
    "daddr",
    "protocol",
    "proto-src",
    "proto-dst",
    "label",
    "packets",
    "bytes",
    "avgpkt",
    "zone",
    "event",
    "ip saddr",
    "ip daddr",
    "ip6 saddr",
    "ip6 daddr",
    "id",
];

/// Bits of `ct state`, as nf_tables counts them.
const STATES: [(u32, &str); 5] =
    [(1, "invalid"), (2, "established"), (4, "related"), (8, "new"), (64, "untracked")];

/// Bits of `ct status` (`enum ip_conntrack_status`).
const STATUSES: [(u32, &str); 8] = [
    (1, "expected"),
    (2, "seen-reply"),
    (4, "assured"),
    (8, "confirmed"),
    (16, "snat"),
    (32, "dnat"),
    (512, "dying"),
    (8192, "helper"),
];

const OPERATORS: [&str; 6] = ["==", "!=", "<", "<=", ">", ">="];

fn meta(key: u32) -> String {
    format!("meta {}", name(&META, key))
}

fn conntrack(key: u32, direction: Option<u8>) -> String {
    let direction = match direction {
        Some(0) => "original ",
        Some(_) => "reply ",
        None => "",
    };
    format!("ct {direction}{}", name(&CONNTRACK, key))
}

/// What a register holds.
pub(super) fn value(value: &Value) -> String {
    match value {
        Value::Payload { base, offset, len } => payload(*base, *offset, *len),
        Value::Meta(key) => meta(*key),
        Value::Conntrack { key, direction } => conntrack(*key, *direction),
        Value::Masked { of, mask } => format!("{} & {}", self::value(of), hex(mask)),
        Value::Constant(bytes) => hex(bytes),
        Value::Other(text) => text.clone(),
    }
}

/// `@nh` and `@th` as `nft` names what it has no better word for, in bits.
pub(super) fn payload(base: u32, offset: u32, len: u32) -> String {
    match (base, offset, len) {
        (TRANSPORT_HEADER, 0, 2) => "th sport".into(),
        (TRANSPORT_HEADER, 2, 2) => "th dport".into(),
        (TRANSPORT_HEADER, 13, 1) => "tcp flags".into(),
        (NETWORK_HEADER, 12, 4) => "ip saddr".into(),
        (NETWORK_HEADER, 16, 4) => "ip daddr".into(),
        (NETWORK_HEADER, 8, 16) => "ip6 saddr".into(),
        (NETWORK_HEADER, 24, 16) => "ip6 daddr".into(),
        _ => {
            let base = match base {
                0 => "@ll".to_owned(),
                NETWORK_HEADER => "@nh".to_owned(),
                TRANSPORT_HEADER => "@th".to_owned(),
                3 => "@ih".to_owned(),
                other => format!("@{other}"),
            };
            format!("{base},{},{}", u64::from(offset) * 8, u64::from(len) * 8)
        }
    }
}

/// A comparison that is not modelled.
pub(super) fn comparison(left: &Value, operator: u32, right: &[u8]) -> String {
    if let (Some(mask), Value::Conntrack { key, .. }, 1) = (left.mask(), left.source(), operator)
        && right.iter().all(|byte| *byte == 0)
        && let Some(bits) = bits(*key, mask)
    {
        return format!("{} {bits}", value(left.source()));
    }
    let operator = name(&OPERATORS, operator);
    format!("{} {operator} {}", value(left), constant(left, right))
}

/// A constant as the left side is usually written.
pub(super) fn constant(left: &Value, bytes: &[u8]) -> String {
    match (left.source(), bytes) {
        (Value::Meta(META_IIFNAME | META_OIFNAME), _) => {
            format!("{:?}", super::attributes::text(bytes))
        }
        (Value::Conntrack { key: key @ (CT_STATE | CT_STATUS), .. }, [_, _, _, _])
            if left.mask().is_none() =>
        {
            bits(*key, bytes).unwrap_or_else(|| native(bytes))
        }
        (Value::Meta(_) | Value::Conntrack { key: ..CT_HELPER, .. }, [_, _, _, _]) => native(bytes),
        (Value::Meta(META_NFPROTO), [2]) => "ipv4".into(),
        (Value::Meta(META_NFPROTO), [10]) => "ipv6".into(),
        (Value::Payload { base: TRANSPORT_HEADER, offset: 0 | 2, len: 2 }, [high, low]) => {
            u16::from_be_bytes([*high, *low]).to_string()
        }
        (Value::Payload { base: NETWORK_HEADER, offset: 12 | 16, len: 4 }, _) => {
            <[u8; 4]>::try_from(bytes)
                .map_or_else(|_| hex(bytes), |it| Ipv4Addr::from(it).to_string())
        }
        (Value::Payload { base: NETWORK_HEADER, offset: 8 | 24, len: 16 }, _) => {
            <[u8; 16]>::try_from(bytes)
                .map_or_else(|_| hex(bytes), |it| Ipv6Addr::from(it).to_string())
        }
        _ => hex(bytes),
    }
}

/// The names of bits of `ct state` and `ct status`; `None` for other keys and unnamed bits.
fn bits(key: u32, mask: &[u8]) -> Option<String> {
    let table: &[(u32, &str)] = match key {
        CT_STATE => &STATES,
        CT_STATUS => &STATUSES,
        _ => return None,
    };
    let mask = u32::from_ne_bytes(mask.try_into().ok()?);
    names(table, mask)
}

/// The names of all bits; `None` when one has none.
pub(super) fn names(table: &[(u32, &str)], mask: u32) -> Option<String> {
    let known = table.iter().fold(0, |all, (bit, _)| all | bit);
    let names = table.iter().filter(|(bit, _)| mask & bit != 0).map(|(_, name)| *name);
    (mask != 0 && mask & !known == 0).then(|| names.collect::<Vec<_>>().join(","))
}

/// A number in the host's order.
fn native(bytes: &[u8]) -> String {
    bytes.try_into().map_or_else(|_| hex(bytes), |it| format!("{:#x}", u32::from_ne_bytes(it)))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::from("0x");
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn name(table: &[&str], index: u32) -> String {
    let known = usize::try_from(index).ok().and_then(|index| table.get(index));
    known.map_or_else(|| index.to_string(), |name| (*name).to_owned())
}
