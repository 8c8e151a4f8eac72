//! Who may do what, as data: the promise of `deploy/kube-tartan.yml`.

use hyper::Method;

use crate::api::{APPLY_PATCH, JSON_PATCH, MERGE_PATCH};

const JSON: &str = "application/json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";

/// Whose token asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// The agent's on node1: its service account's, bound to its pod there.
    Agent,
    /// The service account's, bound to the Node object node1.
    BoundToNode,
    /// The service account's, bound to nothing.
    Unbound,
    /// The administrator's: the policy must not touch others.
    Administrator,
}

/// What comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// 2xx.
    Allowed,
    /// 2xx, and the Node's spec stays as it was: the API server ignores that part.
    Ignored,
    /// Refused because no role grants it.
    ByRole,
    /// Refused by the admission policy, in these words.
    ByPolicy(&'static str),
}

/// One row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) who: Who,
    pub(super) method: &'static Method,
    pub(super) path: &'static str,
    pub(super) kind: &'static str,
    pub(super) body: &'static str,
    pub(super) expected: Expected,
    /// What is tried, for people.
    pub(super) what: &'static str,
}

impl Row {
    const fn by(mut self, who: Who) -> Self {
        self.who = who;
        self
    }
}

const fn row(
    method: &'static Method,
    path: &'static str,
    (kind, body): (&'static str, &'static str),
    expected: Expected,
    what: &'static str,
) -> Row {
    Row { who: Who::Agent, method, path, kind, body, expected, what }
}

const fn get(path: &'static str, expected: Expected, what: &'static str) -> Row {
    row(&Method::GET, path, (JSON, ""), expected, what)
}

const fn patch(
    path: &'static str,
    body: &'static str,
    expected: Expected,
    what: &'static str,
) -> Row {
    row(&Method::PATCH, path, (STRATEGIC, body), expected, what)
}

const fn post(
    path: &'static str,
    body: &'static str,
    expected: Expected,
    what: &'static str,
) -> Row {
    row(&Method::POST, path, (JSON, body), expected, what)
}

const fn delete(path: &'static str, what: &'static str) -> Row {
    row(&Method::DELETE, path, (JSON, ""), ByRole, what)
}

use Expected::{Allowed, ByPolicy, ByRole, Ignored};

const NODES: &str = "/api/v1/nodes";
const OWN: &str = "/api/v1/nodes/node1";
const OWN_STATUS: &str = "/api/v1/nodes/node1/status";
const OTHER: &str = "/api/v1/nodes/node2";
const OTHER_STATUS: &str = "/api/v1/nodes/node2/status";
const EVENTS: &str = "/api/v1/namespaces/default/events";
const NEW_EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/default/events";
const AGENTS: &str = "/api/v1/namespaces/kube-tartan/events";

const OTHERS_NODE: Expected = ByPolicy("changes no Node but");
const ANNOTATIONS: Expected = ByPolicy("changes no annotations but its own");
const METADATA: Expected = ByPolicy("changes no metadata");
const STATUS: Expected = ByPolicy("changes nothing in the status");
const CONDITIONS: Expected = ByPolicy("sets no condition but");

/// All that flanneld publishes, which is what peers read.
const PUBLISHED: &str = r#"{"metadata":{"annotations":{
    "flannel.alpha.coreos.com/kube-subnet-manager":"true",
    "flannel.alpha.coreos.com/backend-type":"vxlan",
    "flannel.alpha.coreos.com/backend-data":"{\"VNI\":1,\"VtepMAC\":\"c6:d2:32:6f:8f:44\"}",
    "flannel.alpha.coreos.com/backend-v6-data":"null",
    "flannel.alpha.coreos.com/public-ip":"172.30.0.11",
    "flannel.alpha.coreos.com/public-ipv6":"fd00::11"}}}"#;
const ONE: &str =
    r#"{"metadata":{"annotations":{"flannel.alpha.coreos.com/public-ip":"172.30.0.99"}}}"#;
const ONE_BY_JSON_PATCH: &str = r#"[{"op":"replace","path":"/metadata/annotations/flannel.alpha.coreos.com~1public-ip","value":"172.30.0.11"}]"#;
const APPLIED: &str = r#"{"apiVersion":"v1","kind":"Node","metadata":{"name":"node1","annotations":{"tartan.dev/applied":"1"}}}"#;
const UNAVAILABLE: &str = r#"{"status":{"conditions":[{"type":"NetworkUnavailable","status":"True","reason":"x","message":"x"}]}}"#;
const AVAILABLE: &str = r#"{"status":{"conditions":[{"type":"NetworkUnavailable","status":"False","reason":"FlannelIsUp","message":"Flannel is running on this node"}]}}"#;
const NOT_READY: &str = r#"{"status":{"conditions":[{"type":"Ready","status":"False"}]}}"#;
const POD_CIDR: &str = r#"{"spec":{"podCIDR":"10.244.9.0/24","podCIDRs":["10.244.9.0/24"]}}"#;
const TAINTS: &str = r#"{"spec":{"taints":[{"key":"x","effect":"NoExecute"}]}}"#;
const LABEL: &str = r#"{"metadata":{"labels":{"tier":"control"}}}"#;
const NEW_NODE: &str = r#"{"metadata":{"name":"node3"}}"#;
const EVENT: &str = r#"{"metadata":{"name":"a","namespace":"default"},"involvedObject":{"kind":"Node","name":"node1"},"reason":"X","type":"Warning"}"#;
const NEW_EVENT: &str = r#"{"metadata":{"name":"b","namespace":"default"},"eventTime":"2026-01-01T00:00:00.000000Z","reportingController":"tartan.dev/tartand","reportingInstance":"node1","action":"X","reason":"X","type":"Warning","regarding":{"kind":"Node","name":"node1"}}"#;
const EVENT_ELSEWHERE: &str = r#"{"metadata":{"name":"c","namespace":"kube-tartan"},"involvedObject":{"kind":"Pod","name":"a","namespace":"kube-tartan"}}"#;

/// The table; later rows see what earlier ones left.
pub(super) const ROWS: &[Row] = &[
    // To know its peers.
    get(NODES, Allowed, "list the nodes"),
    get("/api/v1/nodes?watch=1&timeoutSeconds=1", Allowed, "watch the nodes"),
    get(OWN, Allowed, "read the own node"),
    get(OTHER, Allowed, "read another node"),
    // To speak for its own node.
    patch(OWN_STATUS, PUBLISHED, Allowed, "publish all annotations"),
    row(&Method::PATCH, OWN_STATUS, (MERGE_PATCH, ONE), Allowed, "change one, merge patch"),
    row(
        &Method::PATCH,
        OWN_STATUS,
        (JSON_PATCH, ONE_BY_JSON_PATCH),
        Allowed,
        "change one, JSON patch",
    ),
    row(
        &Method::PATCH,
        "/api/v1/nodes/node1/status?fieldManager=tartand&force=true",
        (APPLY_PATCH, APPLIED),
        Allowed,
        "set one, server-side apply",
    ),
    patch(
        OWN_STATUS,
        r#"{"metadata":{"annotations":{"flannel.alpha.coreos.com/public-ipv6":null}}}"#,
        Allowed,
        "take one away",
    ),
    patch(OWN_STATUS, UNAVAILABLE, Allowed, "set NetworkUnavailable true"),
    patch(OWN_STATUS, AVAILABLE, Allowed, "set NetworkUnavailable false"),
    patch(OWN_STATUS, PUBLISHED, Allowed, "publish with a token of the node").by(Who::BoundToNode),
    // Nothing else of its own node, though the subresource would take it.
    patch(
        OWN_STATUS,
        r#"{"metadata":{"annotations":{"example.org/new":"1"}}}"#,
        ANNOTATIONS,
        "add a stranger's annotation",
    ),
    patch(
        OWN_STATUS,
        r#"{"metadata":{"annotations":{"example.org/theirs":"2"}}}"#,
        ANNOTATIONS,
        "change a stranger's annotation",
    ),
    patch(
        OWN_STATUS,
        r#"{"metadata":{"annotations":{"example.org/theirs":null}}}"#,
        ANNOTATIONS,
        "remove a stranger's annotation",
    ),
    row(
        &Method::PATCH,
        OWN_STATUS,
        (MERGE_PATCH, r#"{"metadata":{"annotations":null}}"#),
        ANNOTATIONS,
        "remove all annotations",
    ),
    patch(
        OWN_STATUS,
        r#"{"metadata":{"annotations":{"flannel.alpha.coreos.com/public-ip-overwrite":"192.0.2.1"}}}"#,
        ANNOTATIONS,
        "set the operator's overwrite",
    ),
    patch(OWN_STATUS, LABEL, METADATA, "set a label"),
    patch(
        OWN_STATUS,
        r#"{"metadata":{"labels":{"kubernetes.io/hostname":null}}}"#,
        METADATA,
        "remove a label",
    ),
    patch(
        OWN_STATUS,
        r#"{"metadata":{"finalizers":["example.org/keep"]}}"#,
        METADATA,
        "add a finalizer",
    ),
    patch(
        OWN_STATUS,
        r#"{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"a","uid":"u"}]}}"#,
        METADATA,
        "add an owner",
    ),
    patch(OWN_STATUS, NOT_READY, CONDITIONS, "set the condition Ready"),
    row(&Method::PATCH, OWN_STATUS, (MERGE_PATCH, AVAILABLE), CONDITIONS, "replace all conditions"),
    patch(
        OWN_STATUS,
        r#"{"status":{"conditions":[{"type":"MemoryPressure","status":"True"}]}}"#,
        CONDITIONS,
        "set the condition MemoryPressure",
    ),
    patch(
        OWN_STATUS,
        r#"{"status":{"addresses":[{"type":"InternalIP","address":"172.30.0.12"}]}}"#,
        STATUS,
        "change the addresses",
    ),
    patch(OWN_STATUS, r#"{"status":{"capacity":{"cpu":"999"}}}"#, STATUS, "change the capacity"),
    patch(OWN_STATUS, POD_CIDR, Ignored, "change spec.podCIDR by the status"),
    patch(OWN_STATUS, TAINTS, Ignored, "add a taint by the status"),
    patch(OWN, ONE, ByRole, "annotate by the node itself"),
    patch(OWN, POD_CIDR, ByRole, "change spec.podCIDR"),
    patch(OWN, TAINTS, ByRole, "add a taint"),
    patch(OWN, LABEL, ByRole, "set a label by the node itself"),
    row(&Method::PUT, OWN, (JSON, r#"{"metadata":{"name":"node1"}}"#), ByRole, "replace the node"),
    row(
        &Method::PUT,
        OWN_STATUS,
        (JSON, r#"{"metadata":{"name":"node1"}}"#),
        ByRole,
        "replace the status",
    ),
    delete(OWN, "delete the own node"),
    get(OWN_STATUS, ByRole, "read the status alone"),
    // Nothing at all of another node.
    patch(OTHER_STATUS, ONE, OTHERS_NODE, "annotate another node"),
    patch(OTHER_STATUS, UNAVAILABLE, OTHERS_NODE, "set another node's condition"),
    patch(OTHER_STATUS, "{}", OTHERS_NODE, "touch another node without a change"),
    patch(OTHER, ONE, ByRole, "annotate another node by itself"),
    patch(OTHER, POD_CIDR, ByRole, "change another node's spec.podCIDR"),
    delete(OTHER, "delete another node"),
    delete(NODES, "delete all nodes"),
    post(NODES, NEW_NODE, ByRole, "make a node"),
    patch(OWN_STATUS, ONE, OTHERS_NODE, "annotate with a token that names no node")
        .by(Who::Unbound),
    // To tell what is wrong.
    post(EVENTS, EVENT, Allowed, "make an Event"),
    patch("/api/v1/namespaces/default/events/a", r#"{"count":2}"#, Allowed, "count an Event"),
    post(NEW_EVENTS, NEW_EVENT, Allowed, "make an Event of the new kind"),
    post(AGENTS, EVENT_ELSEWHERE, ByRole, "make an Event elsewhere"),
    get(EVENTS, ByRole, "read Events"),
    delete("/api/v1/namespaces/default/events/a", "delete an Event"),
    // Nothing of what else a cluster holds.
    get("/api/v1/pods", ByRole, "list the pods"),
    get("/api/v1/namespaces/kube-tartan/pods/kube-tartan-ds-node1", ByRole, "read the own pod"),
    get("/api/v1/secrets", ByRole, "list the secrets"),
    get(
        "/api/v1/namespaces/kube-tartan/configmaps/kube-tartan-cfg",
        ByRole,
        "read the ConfigMap by the API",
    ),
    get("/api/v1/services", ByRole, "list the services"),
    get("/api/v1/namespaces", ByRole, "list the namespaces"),
    get("/apis/networking.k8s.io/v1/networkpolicies", ByRole, "list the network policies"),
    get("/api/v1/nodes/node1/proxy/pods", ByRole, "reach the kubelet through the API"),
    patch(
        "/api/v1/namespaces/kube-tartan/configmaps/kube-tartan-cfg",
        r#"{"data":{"x":"y"}}"#,
        ByRole,
        "change the ConfigMap",
    ),
    post(
        "/api/v1/namespaces/kube-tartan/pods",
        r#"{"metadata":{"name":"x"},"spec":{"containers":[{"name":"x","image":"x"}]}}"#,
        ByRole,
        "make a pod",
    ),
    post(
        "/api/v1/namespaces/kube-tartan/serviceaccounts/tartan/token",
        r#"{"spec":{}}"#,
        ByRole,
        "make a token for itself",
    ),
    post(
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
        r#"{"metadata":{"name":"x"}}"#,
        ByRole,
        "bind a role",
    ),
    delete(
        "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/tartan-own-node",
        "switch the policy off",
    ),
    // Others are not the policy's business.
    patch(OWN, LABEL, Allowed, "set a label").by(Who::Administrator),
    patch(
        OWN_STATUS,
        r#"{"metadata":{"annotations":{"example.org/theirs":"3"}}}"#,
        Allowed,
        "change an annotation",
    )
    .by(Who::Administrator),
];
