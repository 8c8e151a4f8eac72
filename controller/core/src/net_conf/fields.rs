//! Typed access to the keys of a JSON object, with errors that name the key.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use super::NetConfError;
use crate::go_json::{Json, Object};

/// One object of the document: the top level, or `Backend`.
pub(super) struct Fields<'a>(pub(super) &'a Object);

impl<'a> Fields<'a> {
    /// The value of the last part of `path`, which is the key inside this object.
    pub(super) fn get(&self, path: &'static str) -> Option<&'a Json> {
        self.0.field(path.rsplit('.').next().unwrap_or(path))
    }

    pub(super) fn text(&self, path: &'static str) -> Result<Option<&'a str>, NetConfError> {
        match self.get(path) {
            None => Ok(None),
            Some(Json::Text(text)) => Ok(Some(text)),
            Some(other) => Err(wrong_type(path, other, "a string", "write it in double quotes")),
        }
    }

    pub(super) fn flag(&self, path: &'static str) -> Result<Option<bool>, NetConfError> {
        let fix = "write true or false, without quotes";
        match self.get(path) {
            None => Ok(None),
            Some(Json::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => Err(wrong_type(path, other, "a boolean", fix)),
        }
    }

    /// A number in `range`. Zero means "not set" where `zero_is_unset`, as in flannel's structs.
    pub(super) fn number(
        &self,
        path: &'static str,
        range: RangeInclusive<u64>,
        zero_is_unset: bool,
    ) -> Result<Option<u64>, NetConfError> {
        let fix = format!("use {}..={}", range.start(), range.end());
        match self.get(path) {
            None => Ok(None),
            Some(Json::Unsigned(0)) if zero_is_unset => Ok(None),
            Some(Json::Unsigned(number)) if range.contains(number) => Ok(Some(*number)),
            Some(number @ (Json::Unsigned(_) | Json::Signed(_))) => {
                Err(NetConfError::invalid(path, number, "is out of range", fix))
            }
            Some(other) => Err(wrong_type(path, other, "an integer", &fix)),
        }
    }

    /// The items of a list; none where it is absent.
    pub(super) fn list(&self, path: &'static str, fix: &str) -> Result<&'a [Json], NetConfError> {
        match self.get(path) {
            None => Ok(&[]),
            Some(Json::Array(items)) => Ok(items),
            Some(other) => Err(wrong_type(path, other, "a list", fix)),
        }
    }

    pub(super) fn address(&self, path: &'static str) -> Result<Option<Ipv4Addr>, NetConfError> {
        let fix = "write it like \"10.244.1.0\"";
        let parse = |text: &str| {
            let invalid = |_| {
                let value = Json::Text(text.to_owned());
                NetConfError::invalid(path, &value, "is not an IPv4 address", fix)
            };
            text.parse().map_err(invalid)
        };
        self.text(path)?.filter(|text| !text.is_empty()).map(parse).transpose()
    }
}

fn wrong_type(path: &'static str, value: &Json, wanted: &str, fix: &str) -> NetConfError {
    NetConfError::invalid(path, value, format!("is not {wanted}"), fix)
}
