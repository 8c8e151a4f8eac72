//! What the kernel drops, and why: its tracepoint `skb:kfree_skb`, heard for a while.
//!
//! The tracepoint knows no network namespaces: what else runs on the machine is heard as well, so
//! a run that counts on this wants the machine for itself.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;

use anyhow::{Context as _, Result, ensure};

use crate::process::Place as _;
use crate::scenario::skip;
use crate::wire::Outside;

/// Where the lab's own mounts see the tracing file system.
const TRACEFS: &str = "/sys/kernel/tracing";
/// Per CPU, in KiB: some 100,000 drops.
const BUFFER: &str = "8192";

/// How often the kernel dropped a packet at one place of its code for one reason.
pub type Drops = BTreeMap<(String, String), u64>;

/// The tracepoint, listened to.
#[derive(Debug)]
pub struct KernelDrops {
    instance: PathBuf,
}

impl KernelDrops {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the kernel has no such tracepoint (a skip), or it cannot be switched on.
    pub fn listen() -> Result<Self> {
        if !fs::exists(format!("{TRACEFS}/events"))? {
            Outside
                .run(&format!("mount -t tracefs tracefs {TRACEFS}"))
                .map_err(|_| skip("no tracefs: kernel drops cannot be heard"))?;
        }
        if !fs::exists(format!("{TRACEFS}/events/skb/kfree_skb"))? {
            return Err(skip("the kernel has no tracepoint skb:kfree_skb"));
        }
        let instance = Path::new(TRACEFS).join(format!("instances/tartan-lab-{}", process::id()));
        fs::create_dir(&instance).context("cannot make a tracing instance")?;
        let this = Self { instance };
        this.write("buffer_size_kb", BUFFER)?;
        this.write("events/skb/kfree_skb/enable", "1")?;
        Ok(this)
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        let path = self.instance.join(file);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Ends; what was dropped since it began.
    ///
    /// # Errors
    /// When more was dropped than there was room for, or the kernel says it in an unknown way.
    pub fn end(self) -> Result<Drops> {
        self.write("events/skb/kfree_skb/enable", "0")?;
        ensure!(self.lost()? == 0, "{} drops were not heard", self.lost()?);
        let text = fs::read_to_string(self.instance.join("trace"))?;
        let mut drops = Drops::new();
        for line in text.lines().filter(|line| line.contains(" kfree_skb: ")) {
            let key = drop_of(line).with_context(|| format!("an unknown line: {line}"))?;
            *drops.entry(key).or_default() += 1;
        }
        Ok(drops)
    }

    /// Events that the buffers had no room for.
    fn lost(&self) -> Result<u64> {
        let mut lost = 0;
        for cpu in fs::read_dir(self.instance.join("per_cpu"))? {
            let stats = fs::read_to_string(cpu?.path().join("stats"))?;
            for line in stats.lines() {
                if let Some(count) = line.strip_prefix("overrun: ") {
                    lost += count.trim().parse::<u64>()?;
                }
            }
        }
        Ok(lost)
    }
}

impl Drop for KernelDrops {
    fn drop(&mut self) {
        // Nothing depends on its end, and the kernel forgets it with the machine.
        let _ = self.write("events/skb/kfree_skb/enable", "0");
        let _ = fs::remove_dir(&self.instance);
    }
}

/// What a line calls an IPv6 packet.
const IPV6: &str = "protocol=34525 ";

/// The reason, and the function that dropped; `function (IPv6)` where it was such a packet.
fn drop_of(line: &str) -> Option<(String, String)> {
    let (head, place) = line.split_once("location=")?;
    let (place, reason) = place.split_once(" reason: ")?;
    let (function, _) = place.split_once('+').unwrap_or((place, ""));
    let family = if head.contains(IPV6) { " (IPv6)" } else { "" };
    Some((reason.trim().to_owned(), function.trim().to_owned() + family))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_the_reason_and_the_function() {
        let line = "  <idle>-0 [001] ..s2. 1.5: kfree_skb: skbaddr=00000000cafe rx_sk=0 protocol=2048 \
                    location=ip_rcv_core+0x1b0/0x3f0 reason: IP_CSUM";
        assert_eq!(drop_of(line), Some(("IP_CSUM".to_owned(), "ip_rcv_core".to_owned())));
        let ipv6 = line.replace("2048", "34525");
        assert_eq!(drop_of(&ipv6).map(|it| it.1), Some("ip_rcv_core (IPv6)".to_owned()));
        assert_eq!(drop_of("something else"), None);
    }
}
