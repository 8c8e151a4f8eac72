//! Packets larger than the path: their sender is told, learns, and gets through.

use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};

use super::ground::Ends;
use super::shapes::{all_back, volley};
use crate::pod::Pod;
use crate::process::Place as _;
use crate::traffic::{self, ECHO_PORT};

/// What the pods' links take for the time being: more than any tunnel does.
const LINK: u16 = 12_000;
/// What a sender has learned of a path lasts for minutes; so much of it is forgotten at once.
const FORGET: &str = "ip route flush cache; ip -6 route flush cache";

pub(super) fn run(ends: &Ends<'_>) -> Result<()> {
    // Both, for a TCP segment is as large as the receiver's link takes.
    let _sides = [Believer::new(ends.from, ends.target)?, Believer::new(ends.to, ends.source)?];
    told(ends)?;
    ends.from.shell(FORGET)?;
    let sent = traffic::tcp_bytes(ends.from, ends.target, 2_000_000)?;
    ensure!(sent.intact && sent.retransmits > 0, "{sent:?}");
    learned(ends).context("by TCP")?;
    ends.from.shell(FORGET)?;
    // Lost until both sides know: the sender, and then the server by its answers. IPv6 takes two
    // steps, for the device that the host routes it to has the MTU of IPv4.
    let size = ends.mtu + 100;
    volley(ends, ECHO_PORT, &format!("--size {size} --count 4 --patience-ms 200"))?;
    all_back(ends, ECHO_PORT, &format!("--size {size} --count 3"))?;
    learned(ends).context("by UDP")
}

/// A ping of one byte too much is refused with a word, and the largest that fits is not.
fn told(ends: &Ends<'_>) -> Result<()> {
    let largest = ends.mtu - ends.header() - 8;
    let ping = |size| format!("ping -n -c 1 -W 1 -M do -s {size} {}", ends.target);
    ensure!(!ends.from.succeeds(&ping(largest + 1))?, "{} bytes went through", ends.mtu + 1);
    learned(ends).context("by a ping")?;
    ends.from.run(&ping(largest)).map(drop)
}

fn learned(ends: &Ends<'_>) -> Result<()> {
    let shown = ends.from.run(&format!("ip route get {}", ends.target))?;
    ensure!(shown.contains(&format!(" mtu {} ", ends.mtu)), "not learned: {shown}");
    Ok(())
}

/// A pod that believes in larger packets than its path takes, until it is dropped.
struct Believer<'p> {
    pod: &'p Pod,
    host_link: String,
    before: String,
    target: IpAddr,
}

impl<'p> Believer<'p> {
    fn new(pod: &'p Pod, target: IpAddr) -> Result<Self> {
        let shown = pod.run("ip -o link show dev eth0")?;
        let before = shown.split_whitespace().skip_while(|word| *word != "mtu").nth(1);
        let before = before.with_context(|| format!("no MTU: {shown}"))?.to_owned();
        let this = Self { pod, host_link: pod.host_link()?, before, target };
        this.resize(&LINK.to_string())?;
        pod.run(&format!("ip route add {}", this.route()?))?;
        Ok(this)
    }

    fn resize(&self, mtu: &str) -> Result<()> {
        self.pod.node().run(&format!("ip link set {} mtu {mtu}", self.host_link))?;
        self.pod.run(&format!("ip link set eth0 mtu {mtu}")).map(drop)
    }

    /// The default route for one address, without the MTU that it may name.
    fn route(&self) -> Result<String> {
        let family = if self.target.is_ipv4() { "-4" } else { "-6" };
        let shown = self.pod.run(&format!("ip {family} route show default"))?;
        let mut words = shown.lines().next().context("no default route")?.split_whitespace();
        let via = words.by_ref().skip_while(|word| *word != "via").nth(1);
        let via = via.with_context(|| format!("no gateway: {shown}"))?;
        Ok(format!("{} via {via} dev eth0 onlink", self.target))
    }
}

impl Drop for Believer<'_> {
    fn drop(&mut self) {
        // What fails here shows in the next cell.
        let _ = self.pod.run(&format!("ip route del {}", self.target));
        let _ = self.resize(&self.before);
        let _ = self.pod.shell(FORGET);
    }
}
