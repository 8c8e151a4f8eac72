//! A JSON object read with the rules of Go's `encoding/json`: keys match
//! case-insensitively (an exact match is preferred), `null` is an unset
//! field, unknown keys are ignored, a wrong type is an error.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::error::{CniError, Code};

/// An object and the dotted path that leads to it, for messages.
#[derive(Debug, Clone)]
pub struct Object<'a> {
    map: &'a Map<String, Value>,
    path: String,
}

impl<'a> Object<'a> {
    /// The outermost object.
    #[must_use]
    pub fn root(map: &'a Map<String, Value>) -> Self {
        Self { map, path: String::new() }
    }

    /// Whether the key is there at all, even as `null`.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// The value of a key that is there and not `null`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.find(key).filter(|value| !value.is_null())
    }

    fn find(&self, key: &str) -> Option<&'a Value> {
        let similar = || self.map.iter().find(|(k, _)| k.eq_ignore_ascii_case(key));
        self.map.get(key).or_else(|| similar().map(|(_, value)| value))
    }

    /// The object itself, with its keys as they were written.
    #[must_use]
    pub fn as_given(&self) -> &'a Map<String, Value> {
        self.map
    }

    /// The path of one of its keys, as messages name it.
    #[must_use]
    pub fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// A string; an empty one counts as unset.
    ///
    /// # Errors
    ///
    /// Code 6 for any other type.
    pub fn string(&self, key: &str) -> Result<Option<&'a str>, CniError> {
        let text = self.typed(key, "string", Value::as_str)?;
        Ok(text.filter(|text| !text.is_empty()))
    }

    /// A boolean.
    ///
    /// # Errors
    ///
    /// Code 6 for any other type.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>, CniError> {
        self.typed(key, "bool", Value::as_bool)
    }

    /// An unsigned number of 32 bits.
    ///
    /// # Errors
    ///
    /// Code 6 for any other type or a number out of range.
    pub fn number(&self, key: &str) -> Result<Option<u32>, CniError> {
        self.typed(key, "uint32", |value| value.as_u64().and_then(|n| u32::try_from(n).ok()))
    }

    /// An array.
    ///
    /// # Errors
    ///
    /// Code 6 for any other type.
    pub fn array(&self, key: &str) -> Result<&'a [Value], CniError> {
        Ok(self.typed(key, "array", |value| value.as_array().map(Vec::as_slice))?.unwrap_or(&[]))
    }

    /// An array of strings.
    ///
    /// # Errors
    ///
    /// Code 6 for any other type.
    pub fn strings(&self, key: &str) -> Result<Vec<&'a str>, CniError> {
        let wrong = |value| self.wrong_type(key, value, "string");
        self.array(key)?.iter().map(|item| item.as_str().ok_or_else(|| wrong(item))).collect()
    }

    /// An array of objects.
    ///
    /// # Errors
    ///
    /// Code 6 for any other type.
    pub fn objects(&self, key: &str) -> Result<Vec<Object<'a>>, CniError> {
        let wrong = |value| self.wrong_type(key, value, "object");
        self.array(key)?
            .iter()
            .map(|item| {
                let map = item.as_object().ok_or_else(|| wrong(item))?;
                Ok(Object { map, path: self.path_of(key) })
            })
            .collect()
    }

    /// An object.
    ///
    /// # Errors
    ///
    /// Code 6 for any other type.
    pub fn object(&self, key: &str) -> Result<Option<Object<'a>>, CniError> {
        let map = self.typed(key, "object", Value::as_object)?;
        Ok(map.map(|map| Object { map, path: self.path_of(key) }))
    }

    /// An object; an absent one is empty.
    ///
    /// # Errors
    ///
    /// Code 6 for any other type.
    pub fn object_or_empty(&self, key: &str) -> Result<Object<'a>, CniError> {
        static EMPTY: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
        let empty = || Object { map: &EMPTY, path: self.path_of(key) };
        Ok(self.object(key)?.unwrap_or_else(empty))
    }

    fn typed<T>(
        &self,
        key: &str,
        wanted: &str,
        convert: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, CniError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        convert(value).map(Some).ok_or_else(|| self.wrong_type(key, value, wanted))
    }

    fn wrong_type(&self, key: &str, value: &Value, wanted: &str) -> CniError {
        let path = self.path_of(key);
        CniError::new(
            Code::Decode,
            format!(
                "error unmarshall network config: json: cannot unmarshal {value} into field {path} of type {wanted}"
            ),
        )
        .hint(format!("correct `{path}` in the network configuration"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn with<T>(value: &Value, read: impl Fn(Object<'_>) -> T) -> T {
        read(Object::root(value.as_object().expect("an object")))
    }

    #[test]
    fn keys_match_in_any_case_but_an_exact_match_is_preferred() {
        let value = json!({ "SubnetFile": "a", "datadir": "b", "dataDir": "c" });
        with(&value, |o| {
            assert_eq!(o.string("subnetFile"), Ok(Some("a")));
            assert_eq!(o.string("dataDir"), Ok(Some("c")));
        });
    }

    #[test]
    fn null_is_unset_but_present() {
        with(&json!({ "ipam": null }), |o| {
            assert!(o.has("ipam"));
            assert!(o.object("ipam").expect("unset").is_none());
        });
    }

    #[test]
    fn a_wrong_type_names_the_field() {
        let value = json!({ "delegate": { "mtu": "1450" } });
        let error = with(&value, |o| {
            o.object_or_empty("delegate").expect("an object").number("mtu").expect_err("a string")
        });
        assert_eq!(error.code, Code::Decode);
        assert!(error.msg.contains("field delegate.mtu of type uint32"), "{}", error.msg);
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        for value in [json!({ "n": -1 }), json!({ "n": 1.5 }), json!({ "n": 4_294_967_296_u64 })] {
            assert!(with(&value, |o| o.number("n")).is_err(), "{value}");
        }
    }
}
