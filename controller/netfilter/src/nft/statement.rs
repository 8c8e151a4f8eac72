//! What a rule of nf_tables does, beside what it asks for.

use tartan_core::netfilter::model::Action;

use super::attributes::Attributes;
use super::registers::Value;
use super::uapi::data;

/// Something that a rule does.
pub(super) enum Statement {
    Masquerade { random_fully: bool, ports: Option<(u16, u16)> },
    NoTrack,
    Other(String),
}

/// The register that an expression loads, of those that only load.
pub(super) fn destination_register(name: &str, about: &Attributes) -> Option<u32> {
    match name {
        "rt" | "fib" | "numgen" | "osf" | "xfrm" => about.number(1),
        "socket" | "hash" | "byteorder" | "tunnel" => about.number(2),
        "exthdr" if about.get(8).is_none() => about.number(1),
        _ => None,
    }
}

pub(super) fn port(value: Option<&Value>) -> Option<u16> {
    match value {
        Some(Value::Constant(bytes)) => bytes.first_chunk().map(|port| u16::from_be_bytes(*port)),
        _ => None,
    }
}

pub(super) fn verdict_of(verdict: &Attributes) -> Action {
    let chain = || verdict.text(data::CHAIN);
    match verdict.number(data::CODE).map(u32::cast_signed) {
        Some(data::ACCEPT) => Action::Accept,
        Some(data::DROP) => Action::Drop,
        Some(data::CONTINUE) => Action::Continue,
        Some(data::RETURN) => Action::Return,
        Some(data::JUMP) => Action::Jump(chain()),
        Some(data::GOTO) => Action::Goto(chain()),
        Some(other) => Action::Other(format!("verdict {other}")),
        None => Action::Other("verdict".to_owned()),
    }
}

pub(super) fn all(statements: &[Statement], verdict: &Action) -> String {
    let mut words: Vec<String> = statements
        .iter()
        .map(|statement| match statement {
            Statement::Other(text) => text.clone(),
            Statement::NoTrack => "notrack".to_owned(),
            Statement::Masquerade { random_fully, ports } => {
                Action::Masquerade { random_fully: *random_fully, ports: *ports }.to_string()
            }
        })
        .collect();
    if *verdict != Action::Continue {
        words.push(verdict.to_string());
    }
    words.join(" ")
}
