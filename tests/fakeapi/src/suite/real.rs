//! The real API server, somewhere else: reached by a kubeconfig, its store by etcd's own address,
//! its process by whoever started it.

use std::io::{BufRead as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::json;

use super::api::{ApiUnderTest, Way, Work};
use super::raw::Raw;

/// The real server.
pub struct Real {
    config: kube::Config,
    kubeconfig: PathBuf,
    etcd: Raw,
}

impl Real {
    /// The server of this kubeconfig, whose etcd is at this URL.
    ///
    /// # Errors
    /// When one of the two cannot be used.
    pub async fn new(kubeconfig: &Path, etcd: &str) -> Result<Self> {
        let file = Kubeconfig::read_from(kubeconfig)
            .with_context(|| format!("cannot read {}", kubeconfig.display()))?;
        let options = KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(file, &options).await?;
        let etcd = Raw::new(kube::Config::new(etcd.parse().context("not a URL")?))?;
        Ok(Self { config, kubeconfig: kubeconfig.to_owned(), etcd })
    }

    /// By etcd's JSON gateway.
    async fn compact_etcd(&self) -> Result<()> {
        let range = json!({ "key": "AA==" });
        let answer = self.etcd.post("/v3/kv/range", &range).await?.ok()?;
        let revision = answer["header"]["revision"].clone();
        let order = json!({ "revision": revision, "physical": true });
        self.etcd.post("/v3/kv/compaction", &order).await?.ok().map(drop)
    }
}

/// Asks whoever started this program for something that only he can do: one line out, one in.
fn ask(order: &str) -> Result<()> {
    println!("@{order}");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    if answer.trim() == "done" {
        return Ok(());
    }
    bail!("{order}: the answer is {:?}", answer.trim())
}

fn asked(order: &'static str) -> Work<'static> {
    Box::pin(std::future::ready(ask(order)))
}

impl ApiUnderTest for Real {
    fn config(&self) -> kube::Config {
        self.config.clone()
    }

    fn way(&self) -> Way {
        Way { url: None, kubeconfig: Some(self.kubeconfig.clone()) }
    }

    fn compact(&self) -> Work<'_> {
        Box::pin(self.compact_etcd())
    }

    fn kill(&self) -> Work<'_> {
        asked("kill")
    }

    fn start(&self) -> Work<'_> {
        asked("start")
    }

    fn freeze(&self) -> Work<'_> {
        asked("freeze")
    }

    fn thaw(&self) -> Work<'_> {
        asked("thaw")
    }
}
