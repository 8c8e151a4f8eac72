//! Sequences of writes and faults, made from a seed: whatever happens in between, the store ends
//! with what the server has, and never shows a node as it was before.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tartan_agent::store::LeaseStore as _;
use tartan_agent::store::kube::Timing;
use tartan_core::reflector::ReflectorConfig;
use tokio::time::{Instant, sleep};

use super::agent::{Agent, OWN, OWN_ADDRESS, OWN_MAC, OWN_SUBNET, quick};
use super::api::Fake;
use crate::node::{backend_data, flannel, heartbeat};
use crate::{Fault, Lag, Mode, NodeSpec, Timings, Verb};

/// Steps of one sequence.
const STEPS: u64 = 30;
/// Nodes that come and go.
const NODES: u64 = 6;

/// A small generator of numbers (splitmix64): the same seed, the same sequence.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn size(&mut self, sides: u64) -> usize {
        usize::try_from(self.roll(sides)).unwrap_or(0)
    }

    fn milliseconds(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.roll(most))
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        from.get(self.size(from.len().max(1) as u64)).cloned()
    }
}

/// One sequence under way.
struct Sequence {
    dice: Dice,
    fake: Fake,
    agent: Agent,
    /// Grows with every write; each node's MAC address carries the number of its last one.
    writes: u32,
    /// The newest number that the store showed of each node.
    shown: BTreeMap<String, u32>,
    /// Those that it showed before and shows no more.
    gone: BTreeMap<String, u32>,
}

/// Runs the sequence of a seed.
///
/// # Errors
/// What does not hold, with the seed.
pub async fn run(seed: u64) -> Result<()> {
    let outcome = async {
        let mut sequence = Sequence::start(seed).await?;
        for _ in 0..STEPS {
            sequence.step().await?;
        }
        sequence.quiesce().await
    };
    outcome.await.with_context(|| format!("seed {seed}"))
}

fn timings() -> Timings {
    Timings {
        bookmark_every: Duration::from_millis(40),
        freshness_wait: Duration::from_millis(20),
        watch_ends: Duration::from_millis(500),
    }
}

fn timing() -> Timing {
    let quick = quick();
    let reflector = ReflectorConfig {
        backoff_first: Duration::from_millis(4),
        backoff_longest: Duration::from_millis(40),
        idle_limit: Duration::from_millis(200),
        ..quick.reflector
    };
    let (connect, request) = (Duration::from_millis(200), Duration::from_millis(400));
    Timing { connect, request, reflector, ..quick }
}

impl Sequence {
    async fn start(seed: u64) -> Result<Self> {
        let fake = Fake::start(timings()).await?;
        let own = NodeSpec { images: 0, ..NodeSpec::new(OWN) };
        fake.cluster.create_node(&own.with_cidr(OWN_SUBNET))?;
        let agent = Agent::with(&fake, timing())?;
        let (shown, gone) = (BTreeMap::new(), BTreeMap::new());
        let mut this = Self { dice: Dice(seed), fake, agent, writes: 0, shown, gone };
        for index in 0..NODES {
            this.create(index)?;
        }
        Ok(this)
    }

    fn mac(&mut self) -> String {
        self.writes += 1;
        crate::node::vtep_mac(self.writes)
    }

    fn create(&mut self, index: u64) -> Result<()> {
        let mac = self.mac();
        let subnet = self.dice.roll(200);
        let address = std::net::Ipv4Addr::from(0x0a00_0001 + u32::try_from(index)?);
        let node = NodeSpec { images: 0, ..NodeSpec::new(name(index)) }
            .with_cidr(&format!("10.64.{subnet}.0/24"))
            .published(address, &mac);
        // It may be there already.
        let _ = self.fake.cluster.create_node(&node);
        Ok(())
    }

    async fn step(&mut self) -> Result<()> {
        match self.dice.roll(10) {
            0..=4 => self.write()?,
            5..=8 => self.trouble().await,
            _ => sleep(self.dice.milliseconds(40)).await,
        }
        // Its answer is not asked for here: it holds whatever it can.
        let _ = self.agent.hold().await;
        self.look().await?;
        sleep(self.dice.milliseconds(6)).await;
        Ok(())
    }

    fn write(&mut self) -> Result<()> {
        let index = self.dice.roll(NODES);
        let cluster = self.fake.cluster.clone();
        match self.dice.roll(8) {
            0 | 1 => self.create(index)?,
            // What is not there cannot be removed or changed; the next step is another one.
            2 => drop(cluster.delete_node(&name(index))),
            3 => {
                drop(cluster.delete_node(&name(index)));
                self.create(index)?;
            }
            4 => drop(cluster.patch_node_status(&name(index), &heartbeat("2026-01-01T00:00:01Z"))),
            5 => {
                let key = self.dice.pick(&["backend-data", "public-ip", "kube-subnet-manager"]);
                let key = flannel(key.unwrap_or("public-ip"));
                let patch = json!({ "metadata": { "annotations": { key: null } } });
                cluster.patch_node(OWN, &patch)?;
            }
            _ => {
                let data = backend_data(&self.mac());
                let key = flannel("backend-data");
                let patch = json!({ "metadata": { "annotations": { key: data } } });
                drop(cluster.patch_node(&name(index), &patch));
            }
        }
        Ok(())
    }

    async fn trouble(&mut self) {
        match self.dice.roll(8) {
            0 => self.fake.cluster.compact(),
            1 => self.fake.server.cut_connections(),
            2 => {
                let mode = self.dice.pick(&[Mode::Silent, Mode::Refusing]);
                self.fake.server.set_mode(mode.unwrap_or(Mode::Silent));
                sleep(self.dice.milliseconds(60)).await;
                self.fake.server.set_mode(Mode::Serving);
            }
            3 => self.lag(),
            4 | 5 => {
                let fault = self.watch_fault();
                self.fake.server.strike(fault);
            }
            _ => {
                let verb = self.dice.pick(&[Verb::List, Verb::Watch, Verb::Patch, Verb::Any]);
                let (verb, times) = (verb.unwrap_or(Verb::Any), 1 + self.dice.size(2));
                let fault =
                    if self.dice.roll(2) == 0 { self.answer_fault() } else { self.watch_fault() };
                self.fake.server.script(verb, times, &fault);
            }
        }
    }

    /// As if a balancer led from now on to another server.
    fn lag(&mut self) {
        let now = self.fake.cluster.revision();
        let lag = match self.dice.roll(3) {
            0 => Lag::None,
            1 => Lag::StoppedAt(now - self.dice.roll(5)),
            _ => Lag::Behind(self.dice.milliseconds(60)),
        };
        self.fake.server.set_lag(lag);
        self.fake.server.cut_connections();
    }

    fn answer_fault(&mut self) -> Fault {
        let size = self.dice.size(3000);
        match self.dice.roll(8) {
            0 => Fault::Answer { code: 429, retry_after: Some(0) },
            1 => Fault::Answer { code: 500, retry_after: None },
            2 => Fault::Answer { code: 503, retry_after: None },
            3 => Fault::Answer { code: 410, retry_after: None },
            4 => Fault::AnswerLost { code: 504 },
            5 => Fault::Reset,
            6 => Fault::Truncate(size),
            _ => Fault::CutAfter(size),
        }
    }

    fn watch_fault(&mut self) -> Fault {
        let few = 1 + self.dice.size(4);
        match self.dice.roll(10) {
            0 => Fault::Stall,
            1 => Fault::BookmarksOnly(self.dice.milliseconds(120)),
            2 | 3 => Fault::Duplicate(few),
            4 => Fault::Omit(few),
            5 => Fault::Gone,
            6 => Fault::ErrorEvent(500),
            7 => Fault::Garbage,
            8 => Fault::Close,
            _ => Fault::Chop(1 + self.dice.size(50)),
        }
    }

    /// Nothing that the store shows is older than what it showed before.
    async fn look(&mut self) -> Result<()> {
        let Ok(list) = self.agent.store.list().await else {
            ensure!(self.shown.is_empty(), "there was a list, and now there is none");
            return Ok(());
        };
        let mut now = BTreeMap::new();
        for lease in list.leases.iter().filter(|lease| lease.node_name != OWN) {
            let mac = lease.vtep_mac().map(|mac| mac.to_string()).unwrap_or_default();
            let number = number_of(&mac);
            let (name, before) = (&lease.node_name, self.shown.get(&lease.node_name));
            ensure!(
                before.is_none_or(|before| *before <= number),
                "{name}: back from {before:?} to {number}"
            );
            let ended = self.gone.get(name);
            let is_back = ended.is_some_and(|ended| *ended >= number);
            ensure!(!is_back, "{name}: removed as {ended:?}, and back as {number}");
            now.insert(name.clone(), number);
        }
        for (name, number) in &self.shown {
            if !now.contains_key(name) {
                self.gone.insert(name.clone(), *number);
            }
        }
        self.shown = now;
        Ok(())
    }

    async fn quiesce(&mut self) -> Result<()> {
        self.fake.server.heal();
        self.agent.until_held("the own lease", Result::is_ok).await?;
        let end = Instant::now() + Duration::from_secs(20);
        while !self.is_published() {
            ensure!(Instant::now() < end, "the own annotations are not there again");
            sleep(Duration::from_millis(5)).await;
        }
        self.agent.until_like(&self.fake.cluster.nodes()).await?;
        self.look().await
    }

    fn is_published(&self) -> bool {
        let wanted = [
            ("backend-data", backend_data(OWN_MAC)),
            ("backend-type", "vxlan".to_owned()),
            ("kube-subnet-manager", "true".to_owned()),
            ("public-ip", OWN_ADDRESS.to_string()),
        ];
        let own = self.fake.cluster.node(OWN).unwrap_or_default();
        let annotations = &own["metadata"]["annotations"];
        wanted.iter().all(|(key, value)| annotations[flannel(key)] == **value)
    }
}

fn name(index: u64) -> String {
    format!("peer-{index}")
}

/// The number that a MAC address carries.
fn number_of(mac: &str) -> u32 {
    let digits: String = mac.split(':').skip(2).collect();
    u32::from_str_radix(&digits, 16).unwrap_or(0)
}
