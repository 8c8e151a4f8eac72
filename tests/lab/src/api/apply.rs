//! Manifests, applied as `kubectl apply --server-side` does: the server reads the YAML.
//!
//! Of each document only what names the object is read here: top-level `apiVersion` and `kind`,
//! and `name` and `namespace` of `metadata`, one per line, as people and Helm write them.

use anyhow::{Context as _, Result, ensure};
use hyper::Method;
use serde_json::Value;

use super::{APPLY_PATCH, Answer, Client};

/// One document of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    api_version: String,
    kind: String,
    name: String,
    namespace: Option<String>,
    text: String,
}

impl Manifest {
    /// The documents of a YAML text, which `---` lines separate; comments alone are none.
    ///
    /// # Errors
    /// When one does not say what it is.
    pub fn documents(text: &str) -> Result<Vec<Self>> {
        let mut documents = vec![String::new()];
        for line in text.lines() {
            if line.trim_end() == "---" {
                documents.push(String::new());
            } else if let Some(document) = documents.last_mut() {
                document.push_str(line);
                document.push('\n');
            }
        }
        documents.iter().filter(|text| has_content(text)).map(|text| Self::parse(text)).collect()
    }

    fn parse(text: &str) -> Result<Self> {
        let field = |indent: &str, name: &str| {
            let key = format!("{indent}{name}:");
            let value = text.lines().find_map(|line| line.strip_prefix(&key));
            value.map(|value| value.trim().trim_matches(['"', '\'']).to_owned())
        };
        let needed = |indent, name| {
            field(indent, name).with_context(|| format!("a document without {name}:\n{text}"))
        };
        Ok(Self {
            api_version: needed("", "apiVersion")?,
            kind: needed("", "kind")?,
            name: needed("  ", "name")?,
            namespace: field("  ", "namespace"),
            text: text.to_owned(),
        })
    }

    /// The object's path on the server.
    #[must_use]
    pub fn path(&self) -> String {
        let group = if self.api_version.contains('/') { "apis" } else { "api" };
        let namespace =
            self.namespace.as_ref().map(|name| format!("/namespaces/{name}")).unwrap_or_default();
        let (version, kind, name) = (&self.api_version, plural(&self.kind), &self.name);
        format!("/{group}/{version}{namespace}/{kind}/{name}")
    }
}

fn has_content(text: &str) -> bool {
    text.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
}

/// The resource of a kind: `nodes` of `Node`, `validatingadmissionpolicies` of its singular.
fn plural(kind: &str) -> String {
    let lower = kind.to_lowercase();
    lower.strip_suffix('y').map_or_else(|| format!("{lower}s"), |stem| format!("{stem}ies"))
}

impl Client {
    /// Applies every document of a YAML text, in its order.
    ///
    /// # Errors
    /// When the server refuses one.
    pub fn apply(&self, text: &str) -> Result<Vec<Value>> {
        let documents = Manifest::documents(text)?;
        ensure!(!documents.is_empty(), "the manifest holds no object");
        let apply = |document: &Manifest| -> Result<Value> {
            let applied = self.apply_document(document, "")?.success();
            applied.with_context(|| format!("{} {}", document.kind, document.name))
        };
        documents.iter().map(apply).collect()
    }

    /// Applies one document with more parameters, for instance `&dryRun=All`; any status is an
    /// answer.
    ///
    /// # Errors
    /// When no answer comes.
    pub fn apply_document(&self, document: &Manifest, parameters: &str) -> Result<Answer> {
        let path = format!("{}?fieldManager=lab&force=true{parameters}", document.path());
        self.call(&Method::PATCH, &path, APPLY_PATCH, document.text.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "# both\n---\napiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: tartan\n  \
                       namespace: kube-tartan\n---\nkind: ValidatingAdmissionPolicy\n\
                       apiVersion: admissionregistration.k8s.io/v1\nmetadata:\n  name: \"own-node\"\n";

    #[test]
    fn each_document_has_the_path_that_kubectl_would_take() {
        let paths: Vec<_> = Manifest::documents(TWO).unwrap().iter().map(Manifest::path).collect();
        assert_eq!(
            paths,
            [
                "/api/v1/namespaces/kube-tartan/serviceaccounts/tartan",
                "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/own-node",
            ]
        );
    }

    #[test]
    fn a_document_that_does_not_say_what_it_is_is_an_error() {
        assert!(Manifest::documents("metadata:\n  name: x\n").is_err());
    }
}
