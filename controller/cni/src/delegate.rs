//! The `delegate` object of flannel's configuration.
//!
//! flannel hands it to the `bridge` plugin. Here a point-to-point veth takes
//! the bridge's place, so each key is one of three: honoured (`mtu`,
//! `isDefaultGateway`), without effect because routing gives the same outcome
//! (`hairpinMode`, `isGateway`, `forceAddress`, `bridge`, `enabledad`,
//! `preserveDefaultVlan`, keys nobody knows), or refused by name.

use serde_json::Value;

use crate::error::{CniError, Code};
use crate::json::Object;
use crate::netconf::unsupported;

/// What the plugin takes from `delegate`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegate {
    /// MTU in bytes, instead of `FLANNEL_MTU`.
    pub mtu: Option<u32>,
    /// Whether the pod gets a default route.
    pub default_gateway: bool,
    /// The bridge that older pods of the node may be on.
    pub bridge: String,
}

/// flannel's, unless `delegate.bridge` names another.
const BRIDGE: &str = "cni0";

/// Keys that ask for a bridge's abilities, unless they say no.
const REFUSED: [&str; 7] = [
    "vlan",
    "vlanTrunk",
    "macspoofchk",
    "portIsolation",
    "promiscMode",
    "ipMasq",
    "disableContainerInterface",
];

impl Delegate {
    /// Reads the object. flannel gives no default route unless asked; our own type does.
    ///
    /// # Errors
    ///
    /// Code 2 for a key that cannot be honoured, 7 for one that flannel sets itself.
    pub fn parse(object: &Object<'_>, is_flannel: bool) -> Result<Self, CniError> {
        refuse_reserved(object)?;
        refuse_type(object)?;
        for key in REFUSED {
            if let Some(value) = object.get(key).filter(|value| !is_off(value)) {
                return Err(unsupported(&object.path_of(key), value)
                    .hint("pods are routed, not bridged; remove the key"));
            }
        }
        Ok(Self {
            mtu: object.number("mtu")?.filter(|mtu| *mtu != 0),
            default_gateway: object.boolean("isDefaultGateway")?.unwrap_or(!is_flannel),
            bridge: object
                .string("bridge")?
                .filter(|name| !name.contains('/'))
                .unwrap_or(BRIDGE)
                .to_owned(),
        })
    }
}

/// Whether a value leaves the bridge's ability switched off.
fn is_off(value: &Value) -> bool {
    value.as_bool() == Some(false)
        || value.as_u64() == Some(0)
        || value.as_array().is_some_and(Vec::is_empty)
}

fn refuse_reserved(object: &Object<'_>) -> Result<(), CniError> {
    for key in ["name", "ipam"] {
        if object.get(key).is_some() {
            return Err(CniError::new(
                Code::InvalidConfig,
                format!(
                    "'delegate' dictionary must not have '{key}' field, it'll be set by flannel"
                ),
            )
            .hint(format!("remove `delegate.{key}`")));
        }
    }
    Ok(())
}

fn refuse_type(object: &Object<'_>) -> Result<(), CniError> {
    match object.get("type") {
        None => Ok(()),
        Some(Value::String(kind)) if kind == "bridge" => Ok(()),
        Some(Value::String(kind)) => Err(unsupported(&object.path_of("type"), kind)
            .hint("only `bridge` has an equivalent here; remove `delegate.type`")),
        Some(_) => Err(CniError::new(
            Code::InvalidConfig,
            "'delegate' dictionary, if present, must have (string) 'type' field",
        )
        .hint("remove `delegate.type`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(value: &Value) -> Result<Delegate, CniError> {
        Delegate::parse(&Object::root(value.as_object().expect("an object")), true)
    }

    #[test]
    fn flannels_own_delegate_is_honoured() {
        let delegate = parse(&json!({ "hairpinMode": true, "isDefaultGateway": true }));
        assert_eq!(
            delegate,
            Ok(Delegate { mtu: None, default_gateway: true, bridge: BRIDGE.into() })
        );
    }

    #[test]
    fn a_bare_flannel_gives_no_default_route_but_our_type_does() {
        assert!(!parse(&json!({})).expect("empty").default_gateway);
        let map = serde_json::Map::new();
        let ours = Delegate::parse(&Object::root(&map), false).expect("empty");
        assert!(ours.default_gateway);
    }

    #[test]
    fn keys_with_the_same_outcome_are_accepted() {
        let value = json!({
            "type": "bridge", "isGateway": true, "forceAddress": true, "bridge": "cni0",
            "ipMasq": false, "vlan": 0, "vlanTrunk": [], "promiscMode": false, "mtu": 1400
        });
        assert_eq!(parse(&value).expect("harmless").mtu, Some(1400));
    }

    #[test]
    fn keys_that_need_a_bridge_are_refused_by_name() {
        let cases = [
            (json!({ "vlan": 7 }), "vlan: 7"),
            (json!({ "vlanTrunk": [{ "id": 1 }] }), "vlanTrunk: "),
            (json!({ "macspoofchk": true }), "macspoofchk: true"),
            (json!({ "portIsolation": true }), "portIsolation: true"),
            (json!({ "PromiscMode": true }), "promiscMode: true"),
            (json!({ "ipMasq": true }), "ipMasq: true"),
            (json!({ "type": "macvlan" }), "type: macvlan"),
        ];
        for (value, text) in cases {
            let error = parse(&value).expect_err("needs a bridge");
            assert_eq!(error.code, Code::UnsupportedField);
            assert!(error.msg.contains(text), "{} lacks {text}", error.msg);
        }
    }

    #[test]
    fn keys_flannel_sets_itself_are_refused_in_its_words() {
        let error = parse(&json!({ "name": "x" })).expect_err("reserved");
        assert_eq!(
            error.msg,
            "'delegate' dictionary must not have 'name' field, it'll be set by flannel"
        );
        let error = parse(&json!({ "type": 7 })).expect_err("not a string");
        assert_eq!(error.msg, "'delegate' dictionary, if present, must have (string) 'type' field");
    }
}
