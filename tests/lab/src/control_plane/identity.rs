//! Users of the API server: static tokens, and the kubeconfigs that carry them.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, Result};
use serde_json::json;

use super::options::Options;
use super::pki::CA_CERTIFICATE;
use super::rbac::{AGENT_GROUP, NAMESPACE};
use crate::api::Access;
use crate::paths::CONTROL;

/// The file of `--token-auth-file`.
pub(super) const TOKENS: &str = "/mnt/control/tokens.csv";

/// Somebody whom the API server knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    name: String,
    groups: Vec<String>,
    token: Option<String>,
}

impl User {
    /// A user of this name in these groups; it needs a place in [`Options::users`].
    #[must_use]
    pub fn new(name: &str, groups: &[&str]) -> Self {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        Self { name: name.to_owned(), groups, token: None }
    }

    /// May do everything.
    #[must_use]
    pub fn admin() -> Self {
        Self::new("admin", &["system:masters"])
    }

    pub(super) fn controller_manager() -> Self {
        // Its own role lacks what it does for others when all its controllers share one user.
        Self::new("system:kube-controller-manager", &["system:masters"])
    }

    /// Known to the API server's own roles.
    pub(super) fn scheduler() -> Self {
        Self::new("system:kube-scheduler", &[])
    }

    /// The kubelet of a node: authorised by Node, held back by NodeRestriction.
    #[must_use]
    pub fn kubelet(node: &str) -> Self {
        Self::new(&format!("system:node:{node}"), &["system:nodes"])
    }

    /// The agent of a node, one user per node. It has the rights of [`AGENT_ROLE`](super::AGENT_ROLE).
    #[must_use]
    pub fn agent(node: &str) -> Self {
        Self::new(&format!("tartan:{node}"), &[AGENT_GROUP])
    }

    /// The service account of the DaemonSet, by a static token: the token says nothing about a
    /// node. [`ControlPlane::bound_agent`](super::ControlPlane::bound_agent) makes one that does.
    #[must_use]
    pub fn service_account() -> Self {
        Self::new(
            &format!("system:serviceaccount:{NAMESPACE}:tartan"),
            &["system:serviceaccounts", &format!("system:serviceaccounts:{NAMESPACE}")],
        )
    }

    /// A user whose token the API server itself has issued.
    pub(super) fn issued(name: &str, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..Self::new(name, &[]) }
    }

    /// The user's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The bearer token.
    #[must_use]
    pub fn token(&self) -> String {
        self.token.clone().unwrap_or_else(|| format!("token-of-{}", self.file_stem()))
    }

    fn file_stem(&self) -> String {
        self.name.replace([':', '/'], "-")
    }
}

pub(super) fn write_tokens(options: &Options) -> Result<()> {
    let mut users =
        vec![User::admin(), User::controller_manager(), User::scheduler(), User::service_account()];
    for number in 1..=options.nodes {
        let node = format!("node{number}");
        users.extend([User::kubelet(&node), User::agent(&node)]);
    }
    users.extend(options.users.iter().cloned());
    let mut table = String::new();
    for (id, user) in users.iter().enumerate() {
        writeln!(table, "{},{},{id},\"{}\"", user.token(), user.name, user.groups.join(","))?;
    }
    fs::write(TOKENS, table).with_context(|| format!("cannot write {TOKENS}"))
}

/// A kubeconfig in JSON, which is YAML.
pub(super) fn write_kubeconfig(access: &Access, user: &User, index: u16) -> Result<String> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "lab",
        "clusters": [{
            "name": "lab",
            "cluster": { "server": access.url, "certificate-authority": CA_CERTIFICATE },
        }],
        "users": [{ "name": user.name, "user": { "token": access.token } }],
        "contexts": [{ "name": "lab", "context": { "cluster": "lab", "user": user.name } }],
    });
    let path = format!("{CONTROL}/{}-{index}.kubeconfig", user.file_stem());
    fs::write(&path, config.to_string()).with_context(|| format!("cannot write {path}"))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_field_of_a_csv_line() {
        let token = User::kubelet("node1").token();
        assert_eq!(token, "token-of-system-node-node1");
    }
}
