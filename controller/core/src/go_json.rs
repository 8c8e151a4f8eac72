//! JSON as Go's `encoding/json` reads it into a struct.
//!
//! Keys match case-insensitively (with Unicode simple folding, so `ſ` is an
//! `s` and the Kelvin sign a `k`), the last of several duplicates wins, `null`
//! leaves a field as it was, and keys nobody asks for are ignored.
//! `serde_json::Value` cannot express this: it forgets order and duplicates.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// One JSON value; objects keep the order and the duplicates of their keys.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(String),
    Array(Vec<Json>),
    Object(Object),
}

/// The fields of a JSON object, as they were written.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Object(Vec<(String, Json)>);

impl Object {
    /// The value Go would leave in the field called `name`: the last one that is not `null`.
    pub(crate) fn field(&self, name: &str) -> Option<&Json> {
        let wanted = |(key, value): &&(String, Json)| *value != Json::Null && fold_eq(key, name);
        self.0.iter().rev().find(wanted).map(|(_, value)| value)
    }

    /// The keys that match none of `known`, in the order of the document.
    pub(crate) fn unknown_keys<'a>(&'a self, known: &[&str]) -> Vec<&'a str> {
        let is_known = |key: &str| known.iter().any(|name| fold_eq(key, name));
        self.0.iter().map(|(key, _)| key.as_str()).filter(|key| !is_known(key)).collect()
    }
}

impl Json {
    /// The name of the value's type, with its article.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Unsigned(_) | Self::Signed(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}

/// As an error message quotes it: one line, containers only by their type.
impl fmt::Display for Json {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(formatter, "{value}"),
            Self::Unsigned(value) => write!(formatter, "{value}"),
            Self::Signed(value) => write!(formatter, "{value}"),
            Self::Float(value) => write!(formatter, "{value}"),
            Self::Text(text) => write!(formatter, "{}", quoted(text)),
            Self::Null | Self::Array(_) | Self::Object(_) => {
                write!(formatter, "({})", self.type_name())
            }
        }
    }
}

/// The longest text, in characters, that an error message repeats.
const QUOTED_LIMIT: usize = 60;

fn quoted(text: &str) -> String {
    let shown: String = text.chars().take(QUOTED_LIMIT).collect();
    let rest = if shown.len() < text.len() { "..." } else { "" };
    format!("{:?}", shown + rest)
}

/// Whether Go takes the two names for the same key.
fn fold_eq(left: &str, right: &str) -> bool {
    left.chars().map(fold).eq(right.chars().map(fold))
}

fn fold(letter: char) -> char {
    match letter {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Json::Object(Object(fields)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Json::Array(items))
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Signed(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::Text(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(text: &str) -> Object {
        let Json::Object(object) = serde_json::from_str(text).unwrap() else {
            panic!("{text} is not an object");
        };
        object
    }

    #[test]
    fn the_last_of_several_spellings_of_a_key_wins() {
        let fields = object(r#"{"VNI": 1, "vni": 2, "Vni": 3}"#);
        assert_eq!(fields.field("VNI"), Some(&Json::Unsigned(3)));
    }

    #[test]
    fn null_leaves_an_earlier_value_in_place() {
        let fields = object(r#"{"VNI": 7, "VNI": null}"#);
        assert_eq!(fields.field("VNI"), Some(&Json::Unsigned(7)));
        assert_eq!(object(r#"{"VNI": null}"#).field("VNI"), None);
    }

    #[test]
    fn keys_fold_the_two_letters_beyond_ascii_that_go_folds() {
        assert!(fold_eq("\u{17f}ubnetLen", "SubnetLen"));
        assert!(fold_eq("Bac\u{212a}end", "Backend"));
        assert!(!fold_eq("Subnet", "SubnetLen"));
    }

    #[test]
    fn quoted_texts_stay_on_one_short_line() {
        let shown = Json::Text("a\n".repeat(100)).to_string();
        assert!(shown.len() < 200 && !shown.contains('\n'), "{shown}");
    }
}
