//! Matches beyond the header (`include/uapi/linux/netfilter/xt_*.h`): the few that are
//! understood, and the names of the others.

use tartan_core::netfilter::model::Match;

use super::bytes::{aligned, put, text_at, u8_at, u16_at, u32_at};
use super::decode::Extension;
use super::layout::{EXTENSION, EXTENSION_NAME, EXTENSION_REVISION};

/// The length of a comment's field, with its closing zero.
pub(super) const COMMENT: usize = 256;

/// Places and bits of `struct xt_conntrack_mtinfo3`.
mod conntrack {
    pub(super) const LENGTH: usize = 164;
    pub(super) const FLAGS: usize = 146;
    pub(super) const INVERTED: usize = 148;
    pub(super) const STATES: usize = 150;
    pub(super) const STATUSES: usize = 152;
    pub(super) const WITH_STATE: u16 = 0x01;
    pub(super) const WITH_STATUS: u16 = 0x40;
    /// `-m state`, which newer kernels do by conntrack.
    pub(super) const ALIAS: u16 = 0x2000;
    pub(super) const STATE_DNAT: u16 = 0x80;
    pub(super) const STATUS_DNAT: u16 = 0x20;
    pub(super) const NAMES: [(u16, &str); 7] = [
        (0x01, "INVALID"),
        (0x08, "NEW"),
        (0x04, "RELATED"),
        (0x02, "ESTABLISHED"),
        (0x100, "UNTRACKED"),
        (0x40, "SNAT"),
        (0x80, "DNAT"),
    ];
}

/// Types of `xt_addrtype`, by bit.
const ADDRESS_TYPES: [&str; 12] = [
    "UNSPEC",
    "UNICAST",
    "LOCAL",
    "BROADCAST",
    "ANYCAST",
    "MULTICAST",
    "BLACKHOLE",
    "UNREACHABLE",
    "PROHIBIT",
    "THROW",
    "NAT",
    "XRESOLVE",
];

/// The text of a comment.
pub(super) fn comment(found: &Extension<'_>) -> Option<String> {
    (found.name == "comment" && found.revision == 0)
        .then(|| text_at(found.data, 0, COMMENT.min(found.data.len())))
        .flatten()
}

/// A match beyond the header.
pub(super) fn decode(found: &Extension<'_>) -> Match {
    let known = match (found.name.as_str(), found.revision) {
        ("mark", 1) => mark(found.data),
        ("tcp", 0) => ports("tcp", found.data, &[0; 4]),
        ("udp", 0) => ports("udp", found.data, &[0; 1]),
        ("conntrack", 2 | 3) => decode_conntrack(found.data),
        ("addrtype", 1) => address_type(found.data),
        _ => None,
    };
    known.unwrap_or_else(|| Match::Other(format!("-m {}", found.name)))
}

fn mark(data: &[u8]) -> Option<Match> {
    let negated = u8_at(data, 8)? != 0;
    Some(Match::Mark { value: u32_at(data, 0)?, mask: u32_at(data, 4)?, negated })
}

/// Destination ports, if nothing else is asked for: the bytes behind the ports are as if not given.
fn ports(name: &str, data: &[u8], unused: &[u8]) -> Option<Match> {
    let ports: Vec<u16> = (0..4).map_while(|index| u16_at(data, 2 * index)).collect();
    let rest = data.get(8..8 + unused.len())?;
    match ports[..] {
        [0, 0xffff, first, last] if rest == unused => Some(if first == last {
            Match::DestinationPort(first)
        } else {
            Match::Other(format!("-m {name} --dport {first}:{last}"))
        }),
        _ => None,
    }
}

fn decode_conntrack(data: &[u8]) -> Option<Match> {
    let flags = u16_at(data, conntrack::FLAGS)? & !conntrack::ALIAS;
    let inverted = u16_at(data, conntrack::INVERTED)? & !conntrack::ALIAS;
    let states = u16_at(data, conntrack::STATES)?;
    let statuses = u16_at(data, conntrack::STATUSES)?;
    match (flags, inverted) {
        (conntrack::WITH_STATE, 0) if states == conntrack::STATE_DNAT => {
            Some(Match::DestinationTranslated)
        }
        (conntrack::WITH_STATUS, 0) if statuses == conntrack::STATUS_DNAT => {
            Some(Match::DestinationTranslated)
        }
        (conntrack::WITH_STATE, 0) => Some(Match::Other(states_text("", states))),
        (conntrack::WITH_STATE, conntrack::WITH_STATE) => {
            Some(Match::Other(states_text("! ", states)))
        }
        _ => None,
    }
}

fn states_text(not: &str, states: u16) -> String {
    let known = conntrack::NAMES.iter().fold(0, |all, (bit, _)| all | bit);
    let mut names: Vec<String> = conntrack::NAMES
        .iter()
        .filter(|(bit, _)| states & bit != 0)
        .map(|(_, name)| (*name).to_owned())
        .collect();
    if states & !known != 0 {
        names.push(format!("{:#x}", states & !known));
    }
    format!("-m conntrack {not}--ctstate {}", names.join(","))
}

fn address_type(data: &[u8]) -> Option<Match> {
    let (source, destination) = (u16_at(data, 0)?, u16_at(data, 2)?);
    let flags = u32_at(data, 4)?;
    let mut text = String::from("-m addrtype");
    for (types, bit, option) in [(source, 1, "--src-type"), (destination, 2, "--dst-type")] {
        if types != 0 {
            let not = if flags & bit != 0 { "! " } else { "" };
            text = format!("{text} {not}{option} {}", type_names(types));
        }
    }
    let limits = [(4, " --limit-iface-in"), (8, " --limit-iface-out")];
    for (_, limit) in limits.iter().filter(|(bit, _)| flags & bit != 0) {
        text.push_str(limit);
    }
    Some(Match::Other(text))
}

fn type_names(types: u16) -> String {
    let name = |bit: usize| match ADDRESS_TYPES.get(bit) {
        Some(name) => (*name).to_owned(),
        None => format!("{:#x}", 1_u32 << bit),
    };
    let bits = (0..16).filter(|bit| types & (1 << bit) != 0);
    bits.map(name).collect::<Vec<_>>().join(",")
}

/// A match or target of this name: size, name, revision, data.
pub(super) fn encode(name: &str, revision: u8, data: &[u8]) -> Vec<u8> {
    let length = aligned(EXTENSION + data.len());
    let mut bytes = vec![0; length];
    put(&mut bytes, 0, &u16::try_from(length).unwrap_or(u16::MAX).to_ne_bytes());
    put(&mut bytes, EXTENSION_NAME, name.as_bytes());
    put(&mut bytes, EXTENSION_REVISION, &[revision]);
    put(&mut bytes, EXTENSION, data);
    bytes
}

/// `-m comment`.
pub(super) fn encode_comment(text: &str) -> Vec<u8> {
    let mut data = [0; COMMENT];
    put(&mut data, 0, text.as_bytes());
    encode("comment", 0, &data)
}

/// `-m mark`.
pub(super) fn encode_mark(value: u32, mask: u32, negated: bool) -> Vec<u8> {
    let mut data = [0; 12];
    put(&mut data, 0, &value.to_ne_bytes());
    put(&mut data, 4, &mask.to_ne_bytes());
    put(&mut data, 8, &[u8::from(negated)]);
    encode("mark", 1, &data)
}

/// `-m tcp --dport` or `-m udp --dport`; nothing for another protocol.
pub(super) fn encode_port(protocol: u8, port: u16) -> Option<Vec<u8>> {
    let (name, length) = match protocol {
        6 => ("tcp", 12),
        17 => ("udp", 10),
        _ => return None,
    };
    let mut data = vec![0; length];
    for (index, number) in [0, 0xffff, port, port].into_iter().enumerate() {
        put(&mut data, 2 * index, &number.to_ne_bytes());
    }
    Some(encode(name, 0, &data))
}

/// `-m conntrack --ctstate DNAT`.
pub(super) fn encode_translated() -> Vec<u8> {
    let mut data = [0; conntrack::LENGTH];
    put(&mut data, conntrack::FLAGS, &conntrack::WITH_STATE.to_ne_bytes());
    put(&mut data, conntrack::STATES, &conntrack::STATE_DNAT.to_ne_bytes());
    encode("conntrack", 3, &data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ports_of_a_port_match_are_in_the_machines_order() {
        let bytes = encode_port(6, 80).expect("TCP has ports");
        assert_eq!(u16_at(&bytes, EXTENSION + 4), Some(80));
        assert_eq!(u16_at(&bytes, EXTENSION + 6), Some(80));
        assert_eq!(encode_port(1, 80), None);
    }
}
