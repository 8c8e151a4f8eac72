//! Who would notice a forged packet that got through: a server in every place, and captures where
//! packets come out of the tunnel.

use anyhow::{Result, ensure};

use super::ground::{Ground, MARK};
use crate::hex;
use crate::process::Place;
use crate::traffic::{self, Capture, Running, UdpSinkReport};

/// Servers and captures; all of them hear until [`Witnesses::heard`].
pub(in crate::scenarios) struct Witnesses {
    sinks: Vec<(String, Running<UdpSinkReport>)>,
    incoming: Vec<(String, Running<Capture>)>,
    leaving: Vec<(String, Running<Capture>)>,
}

/// What they heard, by place: datagrams received, marked frames that came in, and marked frames
/// that the target put on the wire. Silent places are left out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::scenarios) struct Heard {
    pub(in crate::scenarios) datagrams: Vec<(String, u64)>,
    pub(in crate::scenarios) incoming: Vec<(String, u64)>,
    pub(in crate::scenarios) leaving: Vec<(String, u64)>,
}

impl Witnesses {
    pub(in crate::scenarios) fn start(ground: &Ground) -> Result<Self> {
        let mut this = Self { sinks: Vec::new(), incoming: Vec::new(), leaving: Vec::new() };
        let marked = format!("--contains {}", hex::encode(MARK));
        for member in &ground.cluster.members {
            this.sinks.push((member.node.label(), traffic::udp_sink(&member.node, None)?));
            let overlay = traffic::sniff(&member.node, "flannel.1", &marked)?;
            this.incoming.push((format!("{} flannel.1", member.node.label()), overlay));
            for pod in &member.pods {
                this.sinks.push((pod.label(), traffic::udp_sink(pod, None)?));
                this.incoming.push((pod.label(), traffic::sniff(pod, "eth0", &marked)?));
            }
        }
        let target = &ground.target().node;
        this.leaving.push((target.label(), traffic::sniff(target, "eth0", &marked)?));
        Ok(this)
    }

    /// Ends them all.
    pub(in crate::scenarios) fn heard(self) -> Result<Heard> {
        let mut heard = Heard::default();
        for (place, sink) in self.sinks {
            note(&mut heard.datagrams, place, sink.stop()?.received);
        }
        for (place, capture) in self.incoming {
            note(&mut heard.incoming, place, count(&capture.stop()?, false));
        }
        for (place, capture) in self.leaving {
            note(&mut heard.leaving, place, count(&capture.stop()?, true));
        }
        Ok(heard)
    }

    /// Ends them all and proves that none heard anything.
    pub(in crate::scenarios) fn heard_nothing(self) -> Result<()> {
        let heard = self.heard()?;
        ensure!(heard == Heard::default(), "something got through: {heard:?}");
        Ok(())
    }
}

fn count(capture: &Capture, outgoing: bool) -> u64 {
    capture.frames.iter().filter(|frame| frame.outgoing == outgoing).count() as u64
}

fn note(list: &mut Vec<(String, u64)>, place: String, number: u64) {
    if number > 0 {
        list.push((place, number));
    }
}
