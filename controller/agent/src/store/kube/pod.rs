//! The node's name, from the agent's own Pod: the way of those who set no `NODE_NAME`.

use serde::Deserialize;

use super::{KubeOptions, request, transport};
use crate::store::StoreError;

#[derive(Deserialize)]
struct Pod {
    #[serde(default)]
    spec: Spec,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    node_name: String,
}

/// Asks the API server once on which node the Pod runs.
///
/// # Errors
/// [`StoreError::KubeConfig`], and [`StoreError::PodSpec`], which may be tried again.
pub async fn node_name_of_pod(
    options: &KubeOptions,
    namespace: &str,
    pod: &str,
) -> Result<String, StoreError> {
    let transport = transport(options)?;
    let unread = |what: String| {
        StoreError::PodSpec(format!("error retrieving pod spec for '{namespace}/{pod}': {what}"))
    };
    let body = transport
        .answer(request::get_pod(namespace, pod))
        .await
        .map_err(|failure| unread(failure.to_string()))?;
    let pod_object: Pod =
        serde_json::from_slice(&body).map_err(|error| unread(error.to_string()))?;
    if pod_object.spec.node_name.is_empty() {
        let text = format!("node name not present in pod spec '{namespace}/{pod}'");
        return Err(StoreError::PodSpec(text));
    }
    Ok(pod_object.spec.node_name)
}
