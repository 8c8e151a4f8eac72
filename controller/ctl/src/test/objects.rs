//! The objects that the test makes, as the API server takes them.
//!
//! Probe pods comply with the pod security standard `restricted`, but for those in a node's own
//! network, which differ from the others in nothing else.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};

use serde_json::{Value, json};

use super::ground::{SERVICE_PORT, SERVING_NODES};

/// The Service with several endpoints.
pub(crate) const ECHO: &str = "echo";
/// The same as a NodePort.
pub(crate) const NODE_PORT: &str = "node-port";
/// A NodePort with an endpoint on every node and externalTrafficPolicy Local.
pub(crate) const NODE_PORT_LOCAL: &str = "node-port-local";
/// The Service without an address of its own.
pub(crate) const HEADLESS: &str = "headless";
/// The policy that denies everything.
pub(crate) const DENY: &str = "deny-all";
/// What every object of a test can be found by.
pub(crate) const LABEL: &str = "app.kubernetes.io/name=tartan-test";

/// Where a probe's pod lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// In the pod network: the client and server.
    A,
    /// In the pod network: the second one of its node.
    B,
    /// In the node's own network.
    Host,
}

impl Role {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::A, Self::B, Self::Host];

    /// As a pod's name begins.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
            Self::Host => "host",
        }
    }
}

/// What is the same for all objects of one test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kit {
    pub(crate) namespace: String,
    pub(crate) image: String,
    /// Port of the probes in the pod network.
    pub(crate) pod_port: u16,
    /// Port of those in a node's network, another one for each test.
    pub(crate) host_port: u16,
    /// After so many seconds the pods end by themselves, should nobody delete them.
    pub(crate) lifetime: u64,
}

impl Kit {
    /// With a name that no other test has.
    pub(crate) fn new(prefix: &str, image: &str, lifetime: u64) -> Self {
        let chance = RandomState::new().build_hasher().finish();
        Self {
            namespace: format!("{prefix}-{}", suffix(chance)),
            image: image.to_owned(),
            pod_port: 8080,
            host_port: host_port(chance),
            lifetime,
        }
    }

    /// The name of a Service's pod.
    pub(crate) fn pod_name(role: Role, index: usize) -> String {
        format!("{}-{index}", role.name())
    }

    /// The port that a role serves on.
    pub(crate) fn port(&self, role: Role) -> u16 {
        match role {
            Role::A | Role::B => self.pod_port,
            Role::Host => self.host_port,
        }
    }

    /// The namespace. Its pods may use the nodes' network if that is wanted.
    pub(crate) fn namespace(&self, with_hosts: bool) -> Value {
        let level = if with_hosts { "privileged" } else { "restricted" };
        json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": self.namespace,
                "labels": {
                    "app.kubernetes.io/name": "tartan-test",
                    "app.kubernetes.io/managed-by": "tartanctl",
                    "pod-security.kubernetes.io/enforce": level,
                },
            },
        })
    }

    /// A probe on the node with this name and number.
    pub(crate) fn pod(&self, role: Role, index: usize, node: &str) -> Value {
        let name = Self::pod_name(role, index);
        let is_host = role == Role::Host;
        let serves = !is_host && index < SERVING_NODES;
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "labels": {
                    "app.kubernetes.io/name": "tartan-test",
                    "tartan-test/role": role.name(),
                    "tartan-test/probe": name,
                    "tartan-test/serves": if serves { "yes" } else { "no" },
                },
            },
            "spec": {
                // Past the scheduler: a probe belongs to its node, cordoned or tainted.
                "nodeName": node,
                "hostNetwork": is_host,
                "dnsPolicy": if is_host { "ClusterFirstWithHostNet" } else { "ClusterFirst" },
                "restartPolicy": "Never",
                "automountServiceAccountToken": false,
                "enableServiceLinks": false,
                "terminationGracePeriodSeconds": 1,
                "activeDeadlineSeconds": self.lifetime,
                "tolerations": [{ "operator": "Exists" }],
                "securityContext": {
                    "runAsNonRoot": true,
                    "runAsUser": 65534,
                    "runAsGroup": 65534,
                    "seccompProfile": { "type": "RuntimeDefault" },
                },
                "containers": [self.container(role, &name)],
            },
        })
    }

    fn container(&self, role: Role, name: &str) -> Value {
        let port = self.port(role);
        json!({
            "name": "probe",
            "image": self.image,
            "imagePullPolicy": "IfNotPresent",
            "command": [
                "/bin/tartanctl", "probe", "serve",
                "--bind=$(POD_IP)", format!("--port={port}"), format!("--name={name}"),
            ],
            "env": [{
                "name": "POD_IP",
                "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } },
            }],
            "readinessProbe": { "tcpSocket": { "port": port }, "periodSeconds": 1 },
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "securityContext": {
                "privileged": false,
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": { "drop": ["ALL"] },
            },
        })
    }

    /// Every Service, for probes on so many nodes.
    pub(crate) fn services(&self, nodes: usize) -> Vec<Value> {
        let serving = json!({ "tartan-test/serves": "yes" });
        let every_a = json!({ "tartan-test/role": "a" });
        let mut services = vec![
            self.service(ECHO, &serving, &json!({})),
            self.service(NODE_PORT, &serving, &json!({ "type": "NodePort" })),
            self.service(
                NODE_PORT_LOCAL,
                &every_a,
                &json!({ "type": "NodePort", "externalTrafficPolicy": "Local" }),
            ),
            self.service(HEADLESS, &serving, &json!({ "clusterIP": "None" })),
        ];
        for index in 0..nodes {
            let name = Self::pod_name(Role::A, index);
            let selector = json!({ "tartan-test/probe": name });
            services.push(self.service(&own(&name), &selector, &json!({})));
        }
        services
    }

    fn service(&self, name: &str, selector: &Value, more: &Value) -> Value {
        let port = |protocol: &str| {
            json!({
                "name": protocol.to_lowercase(),
                "protocol": protocol,
                "port": SERVICE_PORT,
                "targetPort": self.pod_port,
            })
        };
        let mut spec = json!({ "selector": selector, "ports": [port("TCP"), port("UDP")] });
        for (key, value) in more.as_object().into_iter().flatten() {
            spec[key] = value.clone();
        }
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": { "name": name, "labels": { "app.kubernetes.io/name": "tartan-test" } },
            "spec": spec,
        })
    }

    /// Denies everything to one probe.
    pub(crate) fn deny(&self, probe: &str) -> Value {
        json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": { "name": DENY, "namespace": self.namespace },
            "spec": {
                "podSelector": { "matchLabels": { "tartan-test/probe": probe } },
                "policyTypes": ["Ingress"],
            },
        })
    }
}

/// The Service with this probe as its only endpoint.
pub(crate) fn own(probe: &str) -> String {
    format!("own-{probe}")
}

/// Six characters that a name may end with.
fn suffix(mut chance: u64) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut letter = || {
        let index = (chance % 32) as usize;
        chance /= 32;
        char::from(LETTERS[index])
    };
    (0..6).map(|_| letter()).collect()
}

/// Below the NodePorts and the ports that kernels give away, above those of services.
fn host_port(chance: u64) -> u16 {
    20_000 + u16::try_from((chance >> 32) % 8_000).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kit() -> Kit {
        Kit::new("tartan-test", "image:1", 900)
    }

    #[test]
    fn every_test_has_a_name_of_its_own() {
        let (one, other) = (kit(), kit());
        assert_ne!(one.namespace, other.namespace);
        assert!(one.namespace.starts_with("tartan-test-"));
        assert!((20_000..28_000).contains(&one.host_port));
    }

    #[test]
    fn pods_in_the_pod_network_comply_with_restricted() {
        let pod = kit().pod(Role::A, 0, "node1");
        let (spec, container) = (&pod["spec"], &pod["spec"]["containers"][0]);
        assert_eq!(spec["hostNetwork"], false);
        assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
        assert_eq!(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
        assert_eq!(container["securityContext"]["capabilities"], json!({ "drop": ["ALL"] }));
        assert!(spec.get("volumes").is_none());
    }

    #[test]
    fn the_namespace_is_only_as_open_as_the_pods_need() {
        let level = |with| {
            kit().namespace(with)["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
                .clone()
        };
        assert_eq!((level(false), level(true)), (json!("restricted"), json!("privileged")));
    }

    #[test]
    fn a_pod_of_a_late_node_serves_no_shared_service() {
        let serves = |role, index| {
            kit().pod(role, index, "n")["metadata"]["labels"]["tartan-test/serves"].clone()
        };
        assert_eq!(serves(Role::B, 0), "yes");
        assert_eq!((serves(Role::A, 4), serves(Role::Host, 0)), (json!("no"), json!("no")));
    }
}
