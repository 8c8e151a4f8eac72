//! Extensions of xtables inside of nf_tables (`net/netfilter/nft_compat.c`): what `iptables-nft`
//! has no expression of nf_tables for. The structures are those of
//! `include/uapi/linux/netfilter/xt_*.h`, in the host's order unless said otherwise.

use tartan_core::netfilter::model::{Action, Family, Match};

use super::comparison::has_ports;
use super::text::names;
use super::uapi::nat;

/// `XT_CONNTRACK_STATE` and `XT_CONNTRACK_STATUS`.
const CHECKS_STATE: u16 = 1;
const CHECKS_STATUS: u16 = 1 << 6;
/// Where `struct xt_conntrack_mtinfo3` has `match_flags`.
const CONNTRACK_FLAGS: usize = 146;

const STATE_INVALID: u32 = 1;
const STATE_DNAT: u32 = 1 << 7;
const STATES: [(u32, &str); 7] = [
    (STATE_INVALID, "INVALID"),
    (2, "ESTABLISHED"),
    (4, "RELATED"),
    (8, "NEW"),
    (64, "SNAT"),
    (STATE_DNAT, "DNAT"),
    (256, "UNTRACKED"),
];
const STATUSES: [(u32, &str); 4] =
    [(1, "EXPECTED"), (2, "SEEN_REPLY"), (4, "ASSURED"), (8, "CONFIRMED")];

/// The condition of a `match`.
pub(super) fn condition(name: &str, revision: u32, info: &[u8], before: &[Match]) -> Match {
    let modelled = match (name, revision) {
        ("mark", 1) => mark(info),
        ("tcp" | "udp", 0) => destination_port(name, info).filter(|_| has_ports(before)),
        ("conntrack", 2 | 3) => conntrack(info),
        _ => None,
    };
    modelled.unwrap_or_else(|| Match::Other(format!("-m {name}")))
}

/// The action of a `target`. IPv6 has a structure of its own for the same name and revision.
pub(super) fn action(family: Family, name: &str, revision: u32, info: &[u8]) -> Action {
    let modelled = match (name, revision, family) {
        ("MASQUERADE", 0, Family::Ip) => masquerade(info, &MULTI_RANGE),
        ("MASQUERADE", 0, Family::Ip6) => masquerade(info, &RANGE),
        _ => None,
    };
    modelled.unwrap_or_else(|| Action::Other(format!("-j {name}")))
}

/// `struct xt_mark_mtinfo1`: mark, mask, whether inverted.
fn mark(info: &[u8]) -> Option<Match> {
    let negated = *info.get(8)? != 0;
    Some(Match::Mark { value: word(info, 0)?, mask: word(info, 4)?, negated })
}

/// `struct xt_tcp` and `struct xt_udp`: ranges of ports, and what else they look at.
fn destination_port(name: &str, info: &[u8]) -> Option<Match> {
    let (source, first, last) = ((half(info, 0)?, half(info, 2)?), half(info, 4)?, half(info, 6)?);
    let looks_at_more = if name == "tcp" {
        let [option, flags, _, inverted] = info.get(8..12)? else { return None };
        (*option, *flags, *inverted) != (0, 0, 0)
    } else {
        *info.get(8)? != 0
    };
    if looks_at_more || source != (0, u16::MAX) {
        return None;
    }
    Some(match (first, last) {
        (0, u16::MAX) => Match::Other(format!("-m {name}")),
        (first, last) if first == last => Match::DestinationPort(first),
        (first, last) => Match::Other(format!("-m {name} --dport {first}:{last}")),
    })
}

/// `struct xt_conntrack_mtinfo3`, of which revision 2 is the beginning.
fn conntrack(info: &[u8]) -> Option<Match> {
    let field = |index: usize| half(info, CONNTRACK_FLAGS + 2 * index);
    let (checks, inverted, state, status) = (field(0)?, field(1)?, field(2)?, field(3)?);
    let not = if inverted & checks == 0 { "" } else { "! " };
    match checks {
        CHECKS_STATE if u32::from(state) == STATE_DNAT && not.is_empty() => {
            Some(Match::DestinationTranslated)
        }
        CHECKS_STATE if u32::from(state) == STATE_INVALID && not.is_empty() => {
            Some(Match::ConntrackInvalid)
        }
        CHECKS_STATE => {
            let names = names(&STATES, state.into())?;
            Some(Match::Other(format!("-m conntrack {not}--ctstate {names}")))
        }
        CHECKS_STATUS => {
            let names = names(&STATUSES, status.into())?;
            Some(Match::Other(format!("-m conntrack {not}--ctstatus {names}")))
        }
        _ => None,
    }
}

/// Where a structure of NAT has its fields.
struct Layout {
    /// How many ranges, which must be one; `None` where there is always one.
    count: Option<usize>,
    flags: usize,
    /// First and last port, in network order.
    ports: [usize; 2],
}

/// `struct nf_nat_ipv4_multi_range_compat`.
const MULTI_RANGE: Layout = Layout { count: Some(0), flags: 4, ports: [16, 18] };
/// `struct nf_nat_range`.
const RANGE: Layout = Layout { count: None, flags: 0, ports: [36, 38] };

fn masquerade(info: &[u8], layout: &Layout) -> Option<Action> {
    if let Some(count) = layout.count
        && word(info, count)? != 1
    {
        return None;
    }
    let flags = word(info, layout.flags)?;
    let [first, last] = layout.ports.map(|at| half(info, at).map(u16::from_be));
    let specified = flags & nat::PROTO_SPECIFIED != 0;
    if flags & !(nat::PROTO_SPECIFIED | nat::PROTO_RANDOM_FULLY) != 0 {
        return Some(Action::Other(format!("-j MASQUERADE (flags {flags:#x})")));
    }
    let ports = if specified { Some((first?, last?)) } else { None };
    Some(Action::Masquerade { random_fully: flags & nat::PROTO_RANDOM_FULLY != 0, ports })
}

fn word(info: &[u8], at: usize) -> Option<u32> {
    info.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

fn half(info: &[u8], at: usize) -> Option<u16> {
    info.get(at..)?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
}
