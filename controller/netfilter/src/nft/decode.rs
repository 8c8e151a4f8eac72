//! A rule of nf_tables as a rule of the model. Nothing is left out silently: an expression that
//! is not understood becomes an `Other`, and one that does something beside the verdict an
//! [`Action::Other`].

use tartan_core::netfilter::model::{Action, Family, Match, Rule};

use super::attributes::{Attributes, each, text as string};
use super::comparison::{self, Surroundings};
use super::compat;
use super::registers::{Registers, Value};
use super::statement::{Statement, all, destination_register, port, verdict_of};
use super::text;
use super::uapi::expression::{
    BITWISE_DREG, BITWISE_LEN, BITWISE_MASK, BITWISE_OP, BITWISE_SREG, BITWISE_XOR, CMP_DATA,
    CMP_OP, CMP_SREG, COMPAT_INFO, COMPAT_NAME, COMPAT_REVISION, CT_DIRECTION, CT_DREG, CT_KEY,
    CT_SREG, DATA, EQUAL, IMMEDIATE_DATA, IMMEDIATE_DREG, LOOKUP_DREG, LOOKUP_FLAGS, LOOKUP_SET,
    LOOKUP_SREG, MASQ_FLAGS, MASQ_PORT_MAX, MASQ_PORT_MIN, META_DREG, META_KEY, META_NFPROTO,
    META_PROTOCOL, META_SREG, NAME, NETWORK_HEADER, PAYLOAD_BASE, PAYLOAD_DREG, PAYLOAD_LEN,
    PAYLOAD_OFFSET, PAYLOAD_SREG, RANGE_FROM, RANGE_OP, RANGE_SREG, RANGE_TO,
};
use super::uapi::{data, nat, rule};
use crate::NetfilterError;

/// Where a rule stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    /// The table's family.
    pub(super) family: Family,
    /// Names of the table's sets of IPv4 addresses, where they are known.
    pub(super) sets: &'a [String],
}

/// The rule that the kernel describes with these attributes.
pub(super) fn rule(place: Place, attributes: &Attributes) -> Result<Rule, NetfilterError> {
    let network = match place.family {
        Family::Ip | Family::Ip6 => Some(place.family),
        Family::Inet | Family::Arp | Family::Bridge | Family::Netdev | Family::Other(_) => None,
    };
    let mut reading = Reading {
        place,
        network,
        network_said: None,
        registers: Registers::default(),
        matches: Vec::new(),
        statements: Vec::new(),
        verdict: None,
        comment: comment(attributes.bytes(rule::USERDATA)),
    };
    for one in each(attributes.bytes(rule::EXPRESSIONS)) {
        let (_, expression) = one?;
        reading.expression(&Attributes::parse(expression)?)?;
    }
    Ok(reading.finish(attributes.handle(rule::HANDLE)))
}

/// The comment among a rule's user data: type, length, value.
fn comment(mut userdata: &[u8]) -> String {
    while let [kind, length, rest @ ..] = userdata {
        let (value, after) = rest.split_at(usize::from(*length).min(rest.len()));
        if *kind == rule::USERDATA_COMMENT {
            return string(value);
        }
        userdata = after;
    }
    String::new()
}

struct Reading<'a> {
    place: Place<'a>,
    /// The network protocol, as far as the rule has made it sure.
    network: Option<Family>,
    /// Where among the matches it says so: an address says it as well.
    network_said: Option<usize>,
    registers: Registers,
    matches: Vec<Match>,
    statements: Vec<Statement>,
    verdict: Option<Action>,
    comment: String,
}

impl Reading<'_> {
    fn expression(&mut self, expression: &Attributes) -> Result<(), NetfilterError> {
        let name = expression.text(NAME);
        let about = expression.nested(DATA)?;
        match name.as_str() {
            "counter" | "last" => {}
            "payload" => self.payload(&about),
            "meta" => self.meta(&about),
            "ct" => self.conntrack(&about),
            "bitwise" => self.bitwise(&about)?,
            "cmp" => self.compare(&about)?,
            "range" => self.range(&about)?,
            "lookup" => self.look_up(&about),
            "immediate" => self.immediate(&about)?,
            "masq" => self.masquerade(&about),
            "match" => self.extension(&about),
            "target" => self.target(&about),
            other => self.rarely(other, &about),
        }
        Ok(())
    }

    fn load(&mut self, register: Option<u32>, value: Value) {
        for unused in self.registers.load(register.unwrap_or_default(), value) {
            self.only_loaded(&unused);
        }
    }

    /// Loading alone is a condition: it fails where the packet has no such bytes.
    fn only_loaded(&mut self, value: &Value) {
        if !matches!(value, Value::Constant(_)) {
            self.matches.push(Match::Other(format!("{} exists", text::value(value))));
        }
    }

    fn read(&mut self, register: Option<u32>) -> Value {
        self.registers.read(register.unwrap_or_default())
    }

    /// `what` is set to what a register holds.
    fn set(&mut self, what: &Value, register: u32) {
        let to = match self.registers.read(register) {
            Value::Constant(bytes) => text::constant(what, &bytes),
            other @ (Value::Payload { .. }
            | Value::Meta(_)
            | Value::Conntrack { .. }
            | Value::Masked { .. }
            | Value::Other(_)) => text::value(&other),
        };
        self.does(format!("{} set {to}", text::value(what)));
    }

    /// A register is loaded from `value`, or `value` is set from a register.
    fn load_or_set(&mut self, value: Value, into: Option<u32>, from: Option<u32>) {
        match from {
            Some(register) => self.set(&value, register),
            None => self.load(into, value),
        }
    }

    fn does(&mut self, what: String) {
        self.statements.push(Statement::Other(what));
    }

    fn payload(&mut self, about: &Attributes) {
        let field = |number| about.number(number).unwrap_or_default();
        let (base, offset, len) = (field(PAYLOAD_BASE), field(PAYLOAD_OFFSET), field(PAYLOAD_LEN));
        let value = Value::Payload { base, offset, len };
        self.load_or_set(value, about.number(PAYLOAD_DREG), about.number(PAYLOAD_SREG));
    }

    fn meta(&mut self, about: &Attributes) {
        let value = Value::Meta(about.number(META_KEY).unwrap_or(u32::MAX));
        self.load_or_set(value, about.number(META_DREG), about.number(META_SREG));
    }

    fn conntrack(&mut self, about: &Attributes) {
        let key = about.number(CT_KEY).unwrap_or(u32::MAX);
        let direction = about.bytes(CT_DIRECTION).first().copied();
        let value = Value::Conntrack { key, direction };
        self.load_or_set(value, about.number(CT_DREG), about.number(CT_SREG));
    }

    fn bitwise(&mut self, about: &Attributes) -> Result<(), NetfilterError> {
        let of = self.read(about.number(BITWISE_SREG));
        let (mask, xor) = (about.value(BITWISE_MASK)?, about.value(BITWISE_XOR)?);
        let length = about.number(BITWISE_LEN).and_then(|it| usize::try_from(it).ok());
        let plain = about.number(BITWISE_OP).unwrap_or_default() == 0
            && !mask.is_empty()
            && length == Some(mask.len())
            && xor.iter().all(|byte| *byte == 0)
            && of.mask().is_none();
        let value = if plain {
            Value::Masked { of: Box::new(of), mask: mask.to_vec() }
        } else {
            let (of, mask, xor) = (text::value(&of), text::hex(mask), text::hex(xor));
            Value::Other(format!("({of} & {mask} ^ {xor})"))
        };
        self.load(about.number(BITWISE_DREG), value);
        Ok(())
    }

    fn compare(&mut self, about: &Attributes) -> Result<(), NetfilterError> {
        let left = self.read(about.number(CMP_SREG));
        let operator = about.number(CMP_OP).unwrap_or(u32::MAX);
        let right = about.value(CMP_DATA)?;
        if operator == EQUAL {
            self.learn_network(&left, right);
        }
        let near = Surroundings { network: self.network, matches: &self.matches };
        let condition = comparison::condition(near, &left, operator, right);
        if matches!(
            condition,
            Match::Source { negated: false, .. } | Match::Destination { negated: false, .. }
        ) && let Some(implied) = self.network_said.take()
        {
            self.matches.remove(implied);
        }
        self.matches.push(condition);
        Ok(())
    }

    /// `meta nfproto` and `meta protocol` say what the bytes after them mean.
    fn learn_network(&mut self, left: &Value, right: &[u8]) {
        let known = match right {
            [2] if left.is_meta(META_NFPROTO) => Some(Family::Ip),
            [10] if left.is_meta(META_NFPROTO) => Some(Family::Ip6),
            [0x08, 0x00] if left.is_meta(META_PROTOCOL) => Some(Family::Ip),
            [0x86, 0xdd] if left.is_meta(META_PROTOCOL) => Some(Family::Ip6),
            _ => None,
        };
        if self.network.is_none() && known.is_some() {
            self.network = known;
            self.network_said = Some(self.matches.len());
        }
    }

    fn range(&mut self, about: &Attributes) -> Result<(), NetfilterError> {
        let left = self.read(about.number(RANGE_SREG));
        let not = if about.number(RANGE_OP) == Some(EQUAL) { "" } else { "!= " };
        let from = text::constant(&left, about.value(RANGE_FROM)?);
        let to = text::constant(&left, about.value(RANGE_TO)?);
        self.matches.push(Match::Other(format!("{} {not}{from}-{to}", text::value(&left))));
        Ok(())
    }

    fn look_up(&mut self, about: &Attributes) {
        let set = about.text(LOOKUP_SET);
        let inverted = about.number(LOOKUP_FLAGS).unwrap_or_default() != 0;
        let key = self.registers.read_key(about.number(LOOKUP_SREG).unwrap_or_default());
        match about.number(LOOKUP_DREG) {
            Some(0) => self.decides(Action::Other(format!("{key} vmap @{set}"))),
            Some(register) => {
                self.load(Some(register), Value::Other(format!("{key} map @{set}")));
            }
            None => {
                let destination = text::payload(NETWORK_HEADER, 16, 4);
                let ours = self.place.sets.contains(&set) && self.network == Some(Family::Ip);
                let not = if inverted { "!= " } else { "" };
                self.matches.push(if ours && !inverted && key == destination {
                    Match::DestinationIn(set)
                } else {
                    Match::Other(format!("{key} {not}@{set}"))
                });
            }
        }
    }

    fn immediate(&mut self, about: &Attributes) -> Result<(), NetfilterError> {
        let register = about.number(IMMEDIATE_DREG).unwrap_or_default();
        if register == 0 {
            let verdict = about.nested(IMMEDIATE_DATA)?.nested(data::VERDICT)?;
            self.decides(verdict_of(&verdict));
        } else {
            let constant = about.value(IMMEDIATE_DATA)?.to_vec();
            self.load(Some(register), Value::Constant(constant));
        }
        Ok(())
    }

    /// What comes behind a verdict is never reached.
    fn decides(&mut self, verdict: Action) {
        if matches!(self.verdict, None | Some(Action::Continue)) {
            self.verdict = Some(verdict);
        }
    }

    fn masquerade(&mut self, about: &Attributes) {
        let flags = about.number(MASQ_FLAGS).unwrap_or_default();
        let low = about.number(MASQ_PORT_MIN).map(|register| self.registers.read(register));
        let high = about.number(MASQ_PORT_MAX).map(|register| self.registers.read(register));
        let statement = match (port(low.as_ref()), port(high.as_ref().or(low.as_ref()))) {
            _ if flags & !(nat::PROTO_SPECIFIED | nat::PROTO_RANDOM_FULLY) != 0 => None,
            (Some(first), Some(last)) => Some(Some((first, last))),
            _ if low.is_none() && high.is_none() => Some(None),
            _ => None,
        };
        let random_fully = flags & nat::PROTO_RANDOM_FULLY != 0;
        self.statements.push(match statement {
            Some(ports) => Statement::Masquerade { random_fully, ports },
            None => Statement::Other(format!("masquerade flags {flags:#x}")),
        });
    }

    fn extension(&mut self, about: &Attributes) {
        let (name, revision) = (about.text(COMPAT_NAME), about.number(COMPAT_REVISION));
        let info = about.bytes(COMPAT_INFO);
        if name == "comment" {
            let comment = string(info);
            let between = if self.comment.is_empty() { "" } else { " " };
            self.comment = format!("{}{between}{comment}", self.comment);
            return;
        }
        let condition = compat::condition(&name, revision.unwrap_or_default(), info, &self.matches);
        self.matches.push(condition);
    }

    /// A target ends a rule; the ones that decide nothing are shown as what they do.
    fn target(&mut self, about: &Attributes) {
        let (name, revision) = (about.text(COMPAT_NAME), about.number(COMPAT_REVISION));
        let info = about.bytes(COMPAT_INFO);
        self.statements.push(
            match compat::action(self.place.family, &name, revision.unwrap_or_default(), info) {
                Action::Masquerade { random_fully, ports } => {
                    Statement::Masquerade { random_fully, ports }
                }
                other @ (Action::Continue
                | Action::Accept
                | Action::Drop
                | Action::Return
                | Action::Jump(_)
                | Action::Goto(_)
                | Action::NoTrack
                | Action::Other(_)) => Statement::Other(other.to_string()),
            },
        );
    }

    fn rarely(&mut self, name: &str, about: &Attributes) {
        match (name, destination_register(name, about)) {
            ("limit" | "quota" | "connlimit", _) => {
                self.matches.push(Match::Other(name.to_owned()));
            }
            (_, Some(register)) => self.load(Some(register), Value::Other(name.to_owned())),
            ("nat", None) => {
                let kind = if about.number(1) == Some(0) { "snat" } else { "dnat" };
                self.does(kind.to_owned());
            }
            ("redir", None) => self.does("redirect".to_owned()),
            ("notrack", None) => self.statements.push(Statement::NoTrack),
            (other, None) => self.does(other.to_owned()),
        }
    }

    fn finish(mut self, handle: Option<u64>) -> Rule {
        for value in std::mem::take(&mut self.registers).unused() {
            self.only_loaded(&value);
        }
        let verdict = self.verdict.unwrap_or(Action::Continue);
        let action = match self.statements.as_slice() {
            [] => verdict,
            [Statement::Masquerade { random_fully, ports }] if verdict == Action::Continue => {
                Action::Masquerade { random_fully: *random_fully, ports: *ports }
            }
            [Statement::NoTrack] if verdict == Action::Continue => Action::NoTrack,
            several => Action::Other(all(several, &verdict)),
        };
        Rule { matches: self.matches, action, comment: self.comment, handle }
    }
}
