//! What a pod says about its own way through the node, by an annotation.
//!
//! Container runtimes hand a pod's annotations to plugins that ask for them
//! (`capabilities` with [`ANNOTATIONS`], as containerd and CRI-O know it), so nobody has to ask the
//! API server. They are read when the pod is made; a pod that changes its mind is made anew.

use tartan_core::annotations::POD_FAST_PATH;

use crate::error::{CniError, Code};
use crate::json::Object;

/// The capability by which a runtime is asked for a pod's annotations.
pub const ANNOTATIONS: &str = "io.kubernetes.cri.pod-annotations";

/// Whether the pod asks for the host stack; `runtime` is `runtimeConfig`.
///
/// # Errors
///
/// Code 7 for a value that is not known, 6 for a wrong type.
pub(crate) fn asks_for_stack(runtime: &Object<'_>) -> Result<bool, CniError> {
    let annotations = runtime.object_or_empty(ANNOTATIONS)?;
    // Keys are Kubernetes', which knows upper and lower case.
    match annotations.as_given().get(POD_FAST_PATH).and_then(|value| value.as_str()) {
        None | Some("auto") => Ok(false),
        Some("off") => Ok(true),
        Some(other) => Err(CniError::new(
            Code::InvalidConfig,
            format!("the pod's annotation {POD_FAST_PATH} is {other:?}"),
        )
        .hint(
            "set it to \"off\" (all of the pod's packets take the host stack) or \"auto\" (as the \
             node's FastPath says), or remove it, and create the pod anew",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netconf::NetConf;

    fn conf(text: &str) -> NetConf {
        NetConf::parse(text.as_bytes()).expect("a legal configuration")
    }

    #[test]
    fn a_pod_has_the_last_word_about_its_own_way() {
        let with = |annotations: &str| {
            conf(&format!(
                r#"{{"name":"n","runtimeConfig":{{"io.kubernetes.cri.pod-annotations":{annotations}}}}}"#
            ))
            .asks_for_stack()
        };
        assert_eq!(conf(r#"{"name":"n"}"#).asks_for_stack(), Ok(false));
        assert_eq!(with("{}"), Ok(false));
        assert_eq!(with(r#"{"tartan.dev/fast-path":"auto"}"#), Ok(false));
        assert_eq!(with(r#"{"Tartan.dev/Fast-Path":"off"}"#), Ok(false));
        assert_eq!(with(r#"{"tartan.dev/fast-path":"off"}"#), Ok(true));
        for value in ["Off", "on", "", "after-accept"] {
            let error = with(&format!(r#"{{"tartan.dev/fast-path":"{value}"}}"#)).expect_err(value);
            assert_eq!(error.code, Code::InvalidConfig);
            assert!(error.to_string().contains("tartan.dev/fast-path"), "{error}");
        }
        assert_eq!(with("7").expect_err("no object").code, Code::Decode);
    }

    #[test]
    fn a_limit_that_is_announced_is_known() {
        let shaped = |runtime: &str| conf(&format!(r#"{{"name":"n"{runtime}}}"#)).will_be_shaped();
        assert_eq!(shaped(""), Ok(false));
        assert_eq!(shaped(r#","runtimeConfig":{"bandwidth":null}"#), Ok(false));
        assert_eq!(shaped(r#","runtimeConfig":{"bandwidth":{"egressRate":1}}"#), Ok(true));
    }
}
