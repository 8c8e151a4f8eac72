//! `tartan-fakeapi`: the scripted API server as a program, and the suite as one.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, Parser, Subcommand};
use tartan_fakeapi::suite::api::Elsewhere;
use tartan_fakeapi::suite::{ApiUnderTest, Fake, Real, agent, scale, store, wire};
use tartan_fakeapi::{Cluster, NodeSpec, Timings};

/// A Kubernetes API server for tests.
#[derive(Debug, Parser)]
#[command(name = "tartan-fakeapi")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until the end.
    Serve {
        /// Where to listen.
        #[arg(long, default_value = "127.0.0.1:8080")]
        listen: SocketAddr,
        /// How many nodes are there from the start.
        #[arg(long, default_value_t = 0)]
        nodes: u32,
        /// How many status updates they send each second, all together.
        #[arg(long, default_value_t = 0)]
        heartbeats: u32,
    },
    /// Print what a real API server without nodes answers: the text of `wire.txt`. Without one,
    /// what the scripted one answers.
    Record(Target),
    /// Hold a real API server to the record, and the agent's store to its promises.
    Suite(Target),
    /// Hold the nodes of a server and say what it costs.
    Scale {
        /// The server, as `serve` prints it.
        #[arg(long)]
        url: String,
        /// How many nodes it has.
        #[arg(long, default_value_t = 15_000)]
        nodes: usize,
        /// How long to watch, in seconds.
        #[arg(long, default_value_t = 20)]
        seconds: u64,
    },
}

/// A real API server.
#[derive(Debug, Args)]
struct Target {
    /// An administrator's.
    #[arg(long, requires = "etcd")]
    kubeconfig: Option<PathBuf>,
    /// The URL of its etcd.
    #[arg(long, requires = "kubeconfig")]
    etcd: Option<String>,
}

impl Target {
    async fn api(&self) -> Result<Box<dyn ApiUnderTest>> {
        match (&self.kubeconfig, &self.etcd) {
            (Some(kubeconfig), Some(etcd)) => Ok(Box::new(Real::new(kubeconfig, etcd).await?)),
            _ => Ok(Box::new(Fake::start(Timings::default()).await?)),
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Serve { listen, nodes, heartbeats } => serve(listen, nodes, heartbeats).await,
        Command::Record(target) => {
            print!("{}", wire::record(&*target.api().await?).await?);
            Ok(())
        }
        Command::Suite(target) => suite(&*target.api().await?).await,
        Command::Scale { url, nodes, seconds } => {
            let time = Duration::from_secs(seconds);
            println!("{}", scale::measure(&Elsewhere { url }, nodes, time).await?);
            Ok(())
        }
    }
}

async fn serve(listen: SocketAddr, nodes: u32, heartbeats: u32) -> Result<()> {
    let cluster = Cluster::default();
    cluster.populate(nodes)?;
    cluster.create_node(&NodeSpec::new(agent::OWN).with_cidr(agent::OWN_SUBNET))?;
    let server = cluster.serve(listen).await;
    let server = server.with_context(|| format!("cannot listen at {listen}"))?;
    println!("{}", server.url());
    if heartbeats > 0 {
        cluster.heartbeats(nodes, heartbeats).await;
    }
    std::future::pending().await
}

async fn suite(api: &dyn ApiUnderTest) -> Result<()> {
    let answers = wire::record(api).await?;
    for (number, (theirs, record)) in answers.lines().zip(wire::RECORD.lines()).enumerate() {
        ensure!(theirs == record, "line {} of wire.txt: {record:?}, here {theirs:?}", number + 1);
    }
    let (count, wanted) = (answers.lines().count(), wire::RECORD.lines().count());
    ensure!(count == wanted, "{count} lines, {wanted} in wire.txt");
    println!("the wire format is as recorded: {count} lines");
    let mut broken = 0;
    for promise in store::promises() {
        match promise.test(api).await {
            Ok(()) => println!("kept: {}", promise.name),
            Err(error) => {
                broken += 1;
                println!("BROKEN: {error:#}");
            }
        }
    }
    if broken > 0 {
        bail!("{broken} promises are broken");
    }
    Ok(())
}
