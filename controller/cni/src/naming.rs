//! What the host's end of a pod's veth is called.
//!
//! Usually the name follows from the attachment. Calico's policy engine, running without Calico's
//! own plugin, finds a pod's interface by a name that follows from the pod's instead.

use crate::environment::parse_args;
use crate::error::{CniError, Code};
use crate::identity::Identity;
use crate::netconf::NetConf;
use crate::sha1::sha1_hex;

/// Calico's prefix, unless its `FELIX_INTERFACEPREFIX` says otherwise.
pub const DEFAULT_PREFIX: &str = "cali";
/// Hexadecimal digits behind the prefix.
const DIGITS: usize = 11;
/// The longest prefix: interface names have at most 15 characters.
const MAX_PREFIX: usize = 4;

/// How the host's end is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Naming {
    /// `veth` and 8 digits that follow from the attachment.
    Attachment,
    /// The prefix and the first 11 digits of the SHA-1 of `NAMESPACE.POD`.
    Calico(Prefix),
}

/// What Calico's names begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix(String);

impl Prefix {
    /// # Errors
    ///
    /// Code 7 for what no interface name can begin with.
    pub fn new(text: &str) -> Result<Self, CniError> {
        let is_word = text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if is_word && (1..=MAX_PREFIX).contains(&text.len()) {
            return Ok(Self(text.to_owned()));
        }
        Err(CniError::new(Code::InvalidConfig, format!("hostVethPrefix {text:?} cannot be used"))
            .hint(format!("use 1 to {MAX_PREFIX} letters or digits, for instance \"cali\"")))
    }
}

impl Naming {
    /// The naming of a configuration's `hostVethNaming` and `hostVethPrefix`.
    ///
    /// # Errors
    ///
    /// Code 7 for another word, or a prefix that is not used or cannot be.
    pub fn parse(naming: Option<&str>, prefix: Option<&str>) -> Result<Self, CniError> {
        match (naming, prefix) {
            (Some("calico"), prefix) => {
                Prefix::new(prefix.unwrap_or(DEFAULT_PREFIX)).map(Self::Calico)
            }
            (None | Some("attachment"), None) => Ok(Self::Attachment),
            (None | Some("attachment"), Some(_)) => Err(CniError::new(
                Code::InvalidConfig,
                "hostVethPrefix without hostVethNaming \"calico\"",
            )
            .hint("set `hostVethNaming` to \"calico\", or remove `hostVethPrefix`")),
            (Some(other), _) => {
                Err(CniError::new(Code::InvalidConfig, format!("unknown hostVethNaming {other:?}"))
                    .hint("use \"attachment\" (the default) or \"calico\""))
            }
        }
    }

    /// Names for the host's end, the first free of which is taken.
    ///
    /// # Errors
    ///
    /// Code 4 when the name follows from the pod's and `CNI_ARGS` does not say that.
    pub fn host_names(&self, identity: Identity, cni_args: &str) -> Result<Vec<String>, CniError> {
        match self {
            Self::Attachment => Ok(identity.host_names().collect()),
            Self::Calico(Prefix(prefix)) => {
                let [namespace, pod] = pod_name(cni_args)?;
                let digest = sha1_hex(format!("{namespace}.{pod}").as_bytes());
                Ok(vec![format!("{prefix}{}", &digest[..DIGITS])])
            }
        }
    }
}

/// Every name that the host's end of an attachment may have: which naming was in force when it was
/// made is not known any more, and a broken configuration must not fail DEL.
#[must_use]
pub fn possible_names(conf: &NetConf, identity: Identity, cni_args: &str) -> Vec<String> {
    let mut names: Vec<_> = identity.host_names().collect();
    if let Ok(calico @ Naming::Calico(_)) = conf.naming() {
        names.extend(calico.host_names(identity, cni_args).unwrap_or_default());
    }
    names
}

/// Namespace and name of the pod.
fn pod_name(cni_args: &str) -> Result<[String; 2], CniError> {
    let mut args = parse_args(cni_args)?;
    let mut needed = |key: &str| {
        args.remove(key).filter(|value| !value.is_empty()).ok_or_else(|| {
            CniError::new(Code::InvalidEnvironment, format!("CNI_ARGS has no {key}")).hint(
                "hostVethNaming \"calico\" needs the pod's name, which Kubernetes' runtimes pass; \
                 remove the key where pods are not Kubernetes'",
            )
        })
    };
    Ok([needed("K8S_POD_NAMESPACE")?, needed("K8S_POD_NAME")?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Attachment;

    const ARGS: &str = "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=a";

    fn identity() -> Identity {
        Identity::new("cbr0", &Attachment { container_id: "c1".into(), ifname: "eth0".into() })
    }

    fn calico(prefix: Option<&str>) -> Naming {
        Naming::parse(Some("calico"), prefix).expect("legal")
    }

    #[test]
    fn calico_finds_a_pods_interface_by_the_hash_of_its_name() {
        // `printf default.a | sha1sum`
        let names = calico(None).host_names(identity(), ARGS).expect("named");
        assert_eq!(names, ["caliacd53aa4120"]);
        let names = calico(Some("eni")).host_names(identity(), ARGS).expect("named");
        assert_eq!(names, ["eniacd53aa4120"]);
    }

    #[test]
    fn without_a_wish_the_name_follows_from_the_attachment() {
        let naming = Naming::parse(None, None).expect("legal");
        let names = naming.host_names(identity(), "broken=args=").expect("needs none");
        assert_eq!(names, identity().host_names().collect::<Vec<_>>());
        assert_eq!(Naming::parse(Some("attachment"), None), Ok(Naming::Attachment));
    }

    #[test]
    fn a_pod_without_a_name_is_refused_with_what_is_missing() {
        let error = calico(None).host_names(identity(), "K8S_POD_NAMESPACE=x;K8S_POD_NAME=");
        let error = error.expect_err("no name");
        assert_eq!(error.code, Code::InvalidEnvironment);
        assert_eq!(error.msg, "CNI_ARGS has no K8S_POD_NAME");
    }

    #[test]
    fn wishes_that_cannot_be_met_are_refused() {
        for (naming, prefix) in [
            (Some("Calico"), None),
            (None, Some("cali")),
            (Some("attachment"), Some("cali")),
            (Some("calico"), Some("calico")),
            (Some("calico"), Some("a/b")),
        ] {
            let error = Naming::parse(naming, prefix).expect_err("must be refused");
            assert_eq!(error.code, Code::InvalidConfig, "{naming:?} {prefix:?}");
        }
    }
}
