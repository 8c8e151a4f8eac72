//! What a suite needs of an API server, be it the real one or the scripted one.

use std::path::PathBuf;
use std::pin::Pin;

use anyhow::{Context as _, Result};

use crate::{Cluster, Mode, Server};

/// Something that takes its time.
pub type Work<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// The two flags of an agent that say where its API server is.
#[derive(Debug, Clone, Default)]
pub struct Way {
    /// `--kube-api-url`.
    pub url: Option<String>,
    /// `--kubeconfig-file`.
    pub kubeconfig: Option<PathBuf>,
}

/// An API server that can be put into trouble.
pub trait ApiUnderTest: Send + Sync {
    /// How an administrator reaches it.
    fn config(&self) -> kube::Config;

    /// How an agent is told to reach it.
    fn way(&self) -> Way;

    /// Its store forgets every revision before the newest.
    fn compact(&self) -> Work<'_>;

    /// It is gone at once: connections are cut and refused until [`ApiUnderTest::start`].
    fn kill(&self) -> Work<'_>;

    /// It is back, ready.
    fn start(&self) -> Work<'_>;

    /// It keeps its connections and answers nothing until [`ApiUnderTest::thaw`].
    fn freeze(&self) -> Work<'_>;

    /// It goes on.
    fn thaw(&self) -> Work<'_>;
}

/// A server somewhere else that nobody here can put into trouble.
#[derive(Debug, Clone)]
pub struct Elsewhere {
    /// Its URL.
    pub url: String,
}

impl ApiUnderTest for Elsewhere {
    fn config(&self) -> kube::Config {
        kube::Config::new(self.url.parse().unwrap_or_default())
    }

    fn way(&self) -> Way {
        Way { url: Some(self.url.clone()), kubeconfig: None }
    }

    fn compact(&self) -> Work<'_> {
        not_here()
    }

    fn kill(&self) -> Work<'_> {
        not_here()
    }

    fn start(&self) -> Work<'_> {
        not_here()
    }

    fn freeze(&self) -> Work<'_> {
        not_here()
    }

    fn thaw(&self) -> Work<'_> {
        not_here()
    }
}

fn not_here() -> Work<'static> {
    Box::pin(std::future::ready(Err(anyhow::anyhow!("this server is somebody else's"))))
}

/// The scripted server.
#[derive(Debug)]
pub struct Fake {
    /// Its store.
    pub cluster: Cluster,
    /// Itself.
    pub server: Server,
}

impl Fake {
    /// An empty one, with the given clockwork, at a free port.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn start(timings: crate::Timings) -> Result<Self> {
        let cluster = Cluster::new(timings);
        let server = cluster.serve_locally().await.context("no port for the scripted server")?;
        Ok(Self { cluster, server })
    }
}

fn done(action: impl FnOnce()) -> Work<'static> {
    action();
    Box::pin(std::future::ready(Ok(())))
}

impl ApiUnderTest for Fake {
    fn config(&self) -> kube::Config {
        // A URL of our own making.
        kube::Config::new(self.server.url().parse().unwrap_or_default())
    }

    fn way(&self) -> Way {
        Way { url: Some(self.server.url()), kubeconfig: None }
    }

    fn compact(&self) -> Work<'_> {
        done(|| self.cluster.compact())
    }

    fn kill(&self) -> Work<'_> {
        done(|| self.server.set_mode(Mode::Refusing))
    }

    fn start(&self) -> Work<'_> {
        done(|| self.server.set_mode(Mode::Serving))
    }

    fn freeze(&self) -> Work<'_> {
        done(|| self.server.set_mode(Mode::Silent))
    }

    fn thaw(&self) -> Work<'_> {
        done(|| self.server.set_mode(Mode::Serving))
    }
}
