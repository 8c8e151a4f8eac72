//! What is in the cluster before the test begins: nodes, Tartan's DaemonSet, DNS.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::cluster::{Cluster, Collection, Select, condition, items, name, selector, text};
use super::objects::LABEL;

/// Tartan's DaemonSet, whatever its namespace.
const DAEMON_SET: &str = "kube-tartan-ds";
/// Where a cluster's DNS lives.
const DNS_NAMESPACE: &str = "kube-system";
/// How its Service is labelled, whichever program it is.
const DNS_LABEL: &str = "k8s-app=kube-dns";

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Survey {
    /// The nodes to test, by name.
    pub(crate) nodes: Vec<String>,
    /// Those that are left out, and why.
    pub(crate) left_out: Vec<String>,
    pub(crate) tartan: Option<Tartan>,
    /// Whether names of Services resolve.
    pub(crate) has_dns: bool,
    /// Namespaces of earlier tests.
    pub(crate) leftovers: Vec<String>,
}

/// Tartan's DaemonSet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tartan {
    pub(crate) namespace: String,
    pub(crate) image: String,
    pub(crate) container: String,
    /// Labels of its pods.
    pub(crate) selector: String,
}

/// Looks at the cluster. `wanted` are the nodes to test; without any it is all of them.
pub(crate) async fn survey(cluster: &impl Cluster, wanted: &[String]) -> Result<Survey> {
    let nodes = cluster.list(&Collection::Nodes, &Select::All).await?;
    let (nodes, left_out) = choose(&nodes, wanted)?;
    let sets = cluster.list(&Collection::DaemonSets, &Select::All).await?;
    let dns = Collection::Services(DNS_NAMESPACE.to_owned());
    let dns = cluster.list(&dns, &Select::Labels(DNS_LABEL.to_owned())).await?;
    Ok(Survey {
        nodes,
        left_out,
        tartan: sets.iter().find(|set| name(set) == DAEMON_SET).and_then(tartan),
        has_dns: !dns.is_empty(),
        leftovers: leftovers(cluster).await?,
    })
}

/// Namespaces of earlier tests that are not on their way out.
pub(crate) async fn leftovers(cluster: &impl Cluster) -> Result<Vec<String>> {
    let select = Select::Labels(LABEL.to_owned());
    let found = cluster.list(&Collection::Namespaces, &select).await?;
    let stays = |one: &&Value| text(one, "/metadata/deletionTimestamp").is_empty();
    Ok(found.iter().filter(stays).map(|one| name(one).to_owned()).collect())
}

fn choose(nodes: &[Value], wanted: &[String]) -> Result<(Vec<String>, Vec<String>)> {
    let known: BTreeSet<_> = nodes.iter().map(name).collect();
    if let Some(unknown) = wanted.iter().find(|node| !known.contains(node.as_str())) {
        let known: Vec<_> = known.into_iter().collect();
        bail!("there is no node {unknown}; --nodes takes some of: {}", known.join(","));
    }
    let (mut chosen, mut left_out) = (BTreeSet::new(), Vec::new());
    for node in nodes {
        let own_name = name(node).to_owned();
        if !wanted.is_empty() && !wanted.contains(&own_name) {
            continue;
        }
        match unfit(node) {
            None => drop(chosen.insert(own_name)),
            Some(why) => left_out.push(format!("{own_name} ({why})")),
        }
    }
    if chosen.is_empty() {
        bail!("no node can be tested; left out: {}", left_out.join(", "));
    }
    Ok((chosen.into_iter().collect(), left_out))
}

fn unfit(node: &Value) -> Option<&'static str> {
    match text(node, "/metadata/labels/kubernetes.io~1os") {
        "linux" | "" if condition(node, "Ready") => None,
        "linux" | "" => Some("not Ready"),
        _ => Some("not Linux"),
    }
}

fn tartan(set: &Value) -> Option<Tartan> {
    let container = items(set, "/spec/template/spec/containers").next()?;
    Some(Tartan {
        namespace: text(set, "/metadata/namespace").to_owned(),
        image: text(container, "/image").to_owned(),
        container: text(container, "/name").to_owned(),
        selector: selector(set.pointer("/spec/selector/matchLabels")?),
    })
}

impl Survey {
    /// The image to run probes from.
    pub(crate) fn image(&self, wanted: Option<&str>) -> Result<String> {
        let own = self.tartan.as_ref().map(|tartan| tartan.image.clone());
        wanted.map(str::to_owned).or(own).with_context(|| {
            format!("there is no DaemonSet {DAEMON_SET}: name an image of Tartan's by --image")
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(name: &str, ready: &str, os: &str) -> Value {
        json!({
            "metadata": { "name": name, "labels": { "kubernetes.io/os": os } },
            "status": { "conditions": [{ "type": "Ready", "status": ready }] },
        })
    }

    #[test]
    fn nodes_that_cannot_run_a_probe_are_left_out_by_name() {
        let nodes = [
            node("b", "True", "linux"),
            node("a", "True", "linux"),
            node("c", "Unknown", "linux"),
            node("w", "True", "windows"),
        ];
        let (chosen, left_out) = choose(&nodes, &[]).unwrap();
        assert_eq!(chosen, ["a", "b"]);
        assert_eq!(left_out, ["c (not Ready)", "w (not Linux)"]);
        assert!(choose(&nodes[2..], &[]).unwrap_err().to_string().contains("c (not Ready)"));
    }

    #[test]
    fn an_unknown_node_is_refused_with_the_known_ones() {
        let nodes = [node("a", "True", "linux"), node("b", "True", "linux")];
        let error = choose(&nodes, &["x".to_owned()]).unwrap_err().to_string();
        assert_eq!(error, "there is no node x; --nodes takes some of: a,b");
        assert_eq!(choose(&nodes, &["b".to_owned()]).unwrap().0, ["b"]);
    }

    #[test]
    fn the_image_is_the_daemon_sets_unless_another_is_named() {
        let set = json!({
            "metadata": { "name": DAEMON_SET, "namespace": "net" },
            "spec": {
                "selector": { "matchLabels": { "app": "tartan" } },
                "template": { "spec": { "containers": [{ "name": "agent", "image": "i:1" }] } },
            },
        });
        let survey = Survey { tartan: tartan(&set), ..Survey::default() };
        assert_eq!(survey.tartan.as_ref().unwrap().selector, "app=tartan");
        assert_eq!(survey.image(None).unwrap(), "i:1");
        assert_eq!(survey.image(Some("x")).unwrap(), "x");
        assert!(Survey::default().image(None).unwrap_err().to_string().contains("--image"));
    }
}
