//! The CNI configuration list, installed when everything behind it is ready:
//! a runtime that finds it sends pods at once.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use tartan_core::atomic_file;
use tracing::info;

use crate::settings::CniConf;

/// Everybody may read it: flannel's mode.
const MODE: u32 = 0o644;

/// Puts the file in place if it is not there as it should be.
///
/// # Errors
/// When the source is no configuration list, or the target cannot be written.
pub(super) fn install(conf: &CniConf) -> Result<()> {
    let CniConf { source, target } = conf;
    let wanted = fs::read(source)
        .with_context(|| format!("cannot read {}: correct --cni-conf-source", source.display()))?;
    if fs::read(target).is_ok_and(|present| present == wanted) {
        return Ok(());
    }
    check(&wanted, source)?;
    atomic_file::write(target, &wanted, MODE)
        .with_context(|| format!("cannot install {}", target.display()))?;
    info!(file = %target.display(), "installed the CNI configuration: pods may come");
    Ok(())
}

/// A file that no runtime takes would leave the node without any network.
fn check(text: &[u8], source: &Path) -> Result<()> {
    let list: serde_json::Value = serde_json::from_slice(text).with_context(|| {
        format!("{} is not JSON: correct the ConfigMap that it comes from", source.display())
    })?;
    let has_name = list.get("name").is_some_and(serde_json::Value::is_string);
    let has_plugins = list
        .get("plugins")
        .and_then(serde_json::Value::as_array)
        .is_some_and(|all| !all.is_empty());
    if !has_name || !has_plugins {
        bail!(
            "{} is no CNI configuration list: it needs \"name\" and \"plugins\"",
            source.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = r#"{"name":"cbr0","cniVersion":"0.3.1","plugins":[{"type":"tartan-cni"}]}"#;

    fn conf(dir: &Path, text: &str) -> CniConf {
        let conf = CniConf { source: dir.join("source"), target: dir.join("10-flannel.conflist") };
        fs::write(&conf.source, text).unwrap();
        conf
    }

    #[test]
    fn the_list_is_installed_once_and_put_back() {
        let dir = tempfile::tempdir().unwrap();
        let conf = conf(dir.path(), LIST);
        install(&conf).unwrap();
        assert_eq!(fs::read_to_string(&conf.target).unwrap(), LIST);
        fs::remove_file(&conf.target).unwrap();
        install(&conf).unwrap();
        assert_eq!(fs::read_to_string(&conf.target).unwrap(), LIST);
    }

    #[test]
    fn what_no_runtime_would_take_is_not_installed() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "[]", r#"{"name":"cbr0"}"#, r#"{"name":"cbr0","plugins":[]}"#] {
            let conf = conf(dir.path(), text);
            assert!(install(&conf).is_err(), "{text}");
            assert!(!conf.target.exists());
        }
    }
}
