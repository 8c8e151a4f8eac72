//! Where the API server is and who we are to it, by flannel's rules.

use std::net::IpAddr;

use hyper::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use kube::Config;
use kube::config::{Cluster, Kubeconfig};

use super::KubeOptions;
use crate::store::StoreError;

/// The cluster's address and our credentials.
#[derive(Debug, Clone)]
pub(super) struct Access {
    pub(super) config: Config,
    /// The HTTP proxy on the way to it.
    pub(super) proxy: Option<Uri>,
}

impl Access {
    /// What the flags say, else what Kubernetes puts into each pod. `KUBECONFIG` is not read.
    ///
    /// # Errors
    /// [`StoreError::KubeConfig`].
    pub(super) fn new(options: &KubeOptions) -> Result<Self, StoreError> {
        let (config, proxy) = match (&options.kubeconfig, &options.api_url) {
            (None, None) => (Config::incluster().map_err(|error| wrong(&error))?, None),
            (None, Some(url)) => (Config::new(server(url)?), None),
            (Some(path), url) => {
                let file = Kubeconfig::read_from(path).map_err(|error| wrong(&error))?;
                from_file(file, url.as_deref())?
            }
        };
        let proxy = proxy.or_else(|| proxy_of_environment(&config.cluster_url));
        check_proxy(proxy.as_ref())?;
        Ok(Self { config, proxy })
    }
}

fn from_file(mut file: Kubeconfig, url: Option<&str>) -> Result<(Config, Option<Uri>), StoreError> {
    let mut proxy = None;
    if let Some(cluster) = current_cluster(&mut file) {
        if cluster.insecure_skip_tls_verify == Some(true) {
            return Err(refused("insecure-skip-tls-verify", "give certificate-authority-data"));
        }
        if let Some(url) = url {
            cluster.server = Some(server(url)?.to_string());
        }
        let text = cluster.proxy_url.take().filter(|text| !text.is_empty());
        proxy = text.map(|text| text.parse()).transpose().map_err(|error| wrong(&error))?;
    }
    let config = Config::try_from(file).map_err(|error| wrong(&error))?;
    if config.auth_info.exec.is_some() || config.auth_info.auth_provider.is_some() {
        return Err(refused("a credential plugin", "use a token file or a client certificate"));
    }
    Ok((config, proxy))
}

fn current_cluster(file: &mut Kubeconfig) -> Option<&mut Cluster> {
    let current = file.current_context.as_ref()?;
    let context = file.contexts.iter().find(|context| context.name == *current)?;
    let name = &context.context.as_ref()?.cluster;
    file.clusters.iter_mut().find(|cluster| cluster.name == *name)?.cluster.as_mut()
}

/// A server's URL; without a scheme it is plain HTTP, as in flannel.
fn server(url: &str) -> Result<Uri, StoreError> {
    let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let uri: Uri = url.parse().map_err(|error| wrong(&error))?;
    let known = matches!(uri.scheme_str(), Some("http" | "https"));
    if known && uri.host().is_some() {
        Ok(uri)
    } else {
        Err(refused(&url, "write https://host:port"))
    }
}

/// The proxy of HTTPS_PROXY and NO_PROXY; nothing on this host is ever asked through one.
fn proxy_of_environment(cluster: &Uri) -> Option<Uri> {
    let host = cluster.host()?.trim_matches(['[', ']']);
    let is_local = host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if is_local || host == "localhost" {
        return None;
    }
    Some(Matcher::from_env().intercept(cluster)?.uri().clone())
}

fn check_proxy(proxy: Option<&Uri>) -> Result<(), StoreError> {
    match proxy.map(Uri::scheme_str) {
        None | Some(Some("http")) => Ok(()),
        Some(_) => Err(refused("a proxy that does not speak plain HTTP", "use an http:// proxy")),
    }
}

fn refused(what: &str, fix: &str) -> StoreError {
    StoreError::KubeConfig(format!("{what} is not supported: {fix}"))
}

fn wrong(error: &dyn std::error::Error) -> StoreError {
    StoreError::KubeConfig(format!(
        "{}: correct --kubeconfig-file or --kube-api-url, or run in a pod with a service account",
        super::transport::line(error)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "
apiVersion: v1
kind: Config
current-context: here
contexts: [{name: here, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: 'https://192.0.2.1:6443'}}]
users: [{name: u, user: {token: secret}}]
";

    fn read(text: &str, url: Option<&str>) -> Result<(Config, Option<Uri>), StoreError> {
        from_file(Kubeconfig::from_yaml(text).unwrap(), url)
    }

    #[test]
    fn the_flag_overrides_the_server_of_the_file() {
        let (config, _) = read(FILE, None).unwrap();
        assert_eq!(config.cluster_url, "https://192.0.2.1:6443/");
        let (config, _) = read(FILE, Some("https://127.0.0.1:7443")).unwrap();
        assert_eq!(config.cluster_url, "https://127.0.0.1:7443/");
    }

    #[test]
    fn an_address_without_a_scheme_is_plain_http() {
        assert_eq!(server("10.0.0.1:8080").unwrap(), "http://10.0.0.1:8080/");
        assert!(server("ftp://10.0.0.1").is_err());
        assert!(server("http:// x").is_err());
    }

    #[test]
    fn unchecked_servers_and_credential_plugins_are_refused() {
        let insecure = FILE.replace("server:", "insecure-skip-tls-verify: true, server:");
        let error = read(&insecure, None).unwrap_err().to_string();
        assert!(error.starts_with("fail to create kubernetes config: insecure"), "{error}");
        let plugin = FILE.replace("token: secret", "exec: {command: /bin/true}");
        assert!(read(&plugin, None).unwrap_err().to_string().contains("credential plugin"));
    }

    #[test]
    fn a_proxy_of_the_file_is_used_and_must_speak_http() {
        let proxied = FILE.replace("server:", "proxy-url: 'http://p:3128', server:");
        let (_, proxy) = read(&proxied, None).unwrap();
        assert!(check_proxy(proxy.as_ref()).is_ok() && proxy.is_some());
        assert!(check_proxy(Some(&Uri::from_static("socks5://p:1080"))).is_err());
        assert_eq!(proxy_of_environment(&Uri::from_static("http://127.0.0.1:1")), None);
    }
}
