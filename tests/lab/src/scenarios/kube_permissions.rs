//! What the committed manifest lets an agent do, asked of the real API server row by row.

mod table;

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use self::table::{Expected, ROWS, Row, Who};
use crate::api::{Answer, Client, Manifest, NodeSpec};
use crate::control_plane::{ControlPlane, NAMESPACE, Options, User};
use crate::process::eventually;
use crate::scenario::{Entry, Scenario};
use crate::wire::Wire;

pub(super) static SCENARIOS: &[Entry] = &[
    Entry::new("kube_permissions::the_manifest_is_accepted", the_manifest_is_accepted).with_tools(),
    Entry::new("kube_permissions::each_row_is_as_written", each_row_is_as_written)
        .within(90)
        .with_tools(),
];

/// What an administrator applies, as it is.
const MANIFEST: &str = include_str!("../../../../deploy/kube-tartan.yml");
/// How long the API server may take to see a role or a policy.
const SEEN: Duration = Duration::from_secs(15);
const POLICY: &str = "ValidatingAdmissionPolicy 'tartan-own-node'";
const BINDINGS: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";

fn the_manifest_is_accepted(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let plane = ControlPlane::start(&lab, &Options::without_controllers())?;
    let documents = Manifest::documents(MANIFEST)?;
    // The namespace is there already; a dry run makes none for the documents after it.
    for document in &documents {
        let strict = "&dryRun=All&fieldValidation=Strict";
        plane.admin().apply_document(document, strict)?.success().context(document.path())?;
        scenario.note(format!("accepted {}", document.path()));
    }
    ensure!(documents.len() >= 10, "only {} documents", documents.len());
    let broken = MANIFEST.replace("hostNetwork: true", "hostNetwrok: true");
    let broken = Manifest::documents(&broken)?;
    let refused = broken.iter().map(|document| {
        plane.admin().apply_document(document, "&dryRun=All&fieldValidation=Strict")
    });
    let refused = refused.collect::<Result<Vec<_>>>()?;
    ensure!(
        refused.iter().filter(|answer| !answer.status.is_success()).count() == 1,
        "a misspelt field was not refused"
    );
    Ok(())
}

/// The cluster in which the table is asked.
struct Ground {
    plane: ControlPlane,
    agent: Client,
    bound_to_node: Client,
    unbound: Client,
}

impl Ground {
    fn new(plane: ControlPlane) -> Result<Self> {
        let admin = plane.admin();
        admin.apply(MANIFEST)?;
        make_node(admin, 1)?;
        make_node(admin, 2)?;
        let agent = plane.client(&plane.bound_agent("node1")?)?;
        let bound_to_node = client_of_node(&plane, "node1")?;
        let unbound = plane.client(&User::service_account())?;
        Ok(Self { plane, agent, bound_to_node, unbound })
    }

    fn ask(&self, row: &Row) -> Result<Answer> {
        let client = match row.who {
            Who::Agent => &self.agent,
            Who::BoundToNode => &self.bound_to_node,
            Who::Unbound => &self.unbound,
            Who::Administrator => self.plane.admin(),
        };
        client.call(row.method, row.path, row.kind, row.body.to_owned())
    }

    fn node(&self, name: &str) -> Result<Value> {
        self.plane.admin().node(name)
    }
}

fn make_node(admin: &Client, number: u8) -> Result<()> {
    let name = format!("node{number}");
    let mut spec = NodeSpec::default();
    spec.annotations.insert("example.org/theirs".to_owned(), "1".to_owned());
    spec.pod_cidrs.push(format!("10.244.{number}.0/24").parse()?);
    admin.create_node(&name, &spec)?;
    admin.set_node_addresses(&name, &[format!("172.30.0.1{number}").parse()?])
}

/// The service account with a token that is bound to a Node object.
fn client_of_node(plane: &ControlPlane, node: &str) -> Result<Client> {
    let uid = plane.admin().node(node)?["metadata"]["uid"].clone();
    let request = json!({ "spec": { "boundObjectRef": {
        "kind": "Node", "apiVersion": "v1", "name": node, "uid": uid,
    }}});
    let path = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts/tartan/token");
    let answer = plane.admin().create(&path, &request)?;
    let token = answer["status"]["token"].as_str().context("a TokenRequest without token")?;
    let mut access = plane.access(0, &User::service_account());
    token.clone_into(&mut access.token);
    Client::new(&access)
}

fn each_row_is_as_written(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let ground = Ground::new(ControlPlane::start(&lab, &Options::without_controllers())?)?;
    let attack = ROWS.iter().find(|row| row.what == "annotate another node").context("no row")?;
    eventually("the policy is in force", SEEN, || Ok(!ground.ask(attack)?.status.is_success()))?;
    let before = ground.node("node2")?;

    let mut wrong = Vec::new();
    for (number, row) in ROWS.iter().enumerate() {
        let verdict = judge(&ground, row)?;
        let shown = format!("{:2} {}", number + 1, line(row));
        match verdict {
            Ok(()) => scenario.note(shown),
            Err(got) => wrong.push(format!("{shown}: {got}")),
        }
    }
    ensure!(
        wrong.is_empty(),
        "{} of {} rows are wrong:\n{}",
        wrong.len(),
        ROWS.len(),
        wrong.join("\n")
    );
    ensure!(ground.node("node2")? == before, "node2 is not what it was");
    let alone = the_policy_alone_holds(&ground)?;
    scenario.note(format!("{alone} writes that no role grants are refused without roles as well"));
    without_it_the_attack_succeeds(&ground, attack)
}

fn line(row: &Row) -> String {
    let expected = match row.expected {
        Expected::Allowed => "allowed",
        Expected::Ignored => "without effect",
        Expected::ByRole => "denied by role",
        Expected::ByPolicy(_) => "denied by policy",
    };
    let Row { who, method, path, what, .. } = row;
    format!("{expected:16} {:13} {method:6} {path}  {what}", format!("{who:?}"))
}

/// Whether the server did what the row says, or what it did instead.
fn judge(ground: &Ground, row: &Row) -> Result<Result<(), String>> {
    let spec = ground.node("node1")?["spec"].clone();
    let answer = ground.ask(row)?;
    let message = answer.message();
    let fits = match row.expected {
        Expected::Allowed => answer.status.is_success(),
        Expected::Ignored => answer.status.is_success() && ground.node("node1")?["spec"] == spec,
        Expected::ByRole => answer.status == StatusCode::FORBIDDEN && message.contains("cannot "),
        Expected::ByPolicy(words) => by_policy(&answer) && message.contains(words),
    };
    Ok(if fits { Ok(()) } else { Err(format!("{} {message}", answer.status)) })
}

fn by_policy(answer: &Answer) -> bool {
    !answer.status.is_success() && answer.message().contains(POLICY)
}

/// Somebody gives the agents every right by mistake: nodes are still safe from them.
fn the_policy_alone_holds(ground: &Ground) -> Result<usize> {
    let group = "rbac.authorization.k8s.io";
    let all = json!({
        "metadata": { "name": "mistake" },
        "roleRef": { "apiGroup": group, "kind": "ClusterRole", "name": "cluster-admin" },
        "subjects": [{ "kind": "ServiceAccount", "name": "tartan", "namespace": NAMESPACE }],
    });
    ground.plane.admin().create(&format!("/apis/{group}/v1/clusterrolebindings"), &all)?;
    eventually("the agents may do everything", SEEN, || {
        Ok(ground.agent.get("/api/v1/secrets").is_ok())
    })?;
    let writes = |row: &&Row| {
        row.expected == Expected::ByRole
            && row.method != Method::GET
            && row.path.starts_with("/api/v1/nodes")
    };
    let rows: Vec<_> = ROWS.iter().filter(writes).collect();
    for row in &rows {
        let answer = ground.ask(row)?;
        // What no Node may look like is refused before a policy is asked.
        if !by_policy(&answer) && answer.status != StatusCode::UNPROCESSABLE_ENTITY {
            bail!("with every role, {}: {} {}", line(row), answer.status, answer.message());
        }
    }
    Ok(rows.len())
}

/// The control: it is the policy that refuses.
fn without_it_the_attack_succeeds(ground: &Ground, attack: &Row) -> Result<()> {
    ground.plane.admin().delete(&format!("{BINDINGS}/tartan-own-node"))?;
    eventually("the attack succeeds without the policy", SEEN, || {
        Ok(ground.ask(attack)?.status.is_success())
    })
}
