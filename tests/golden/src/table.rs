//! The table for people.

use std::fmt::Write as _;

use tartan_common::Mac;
use tartan_common::hook::{Meta, UNJUDGED};

use crate::apply::{Verdict, run};
use crate::fixture::{Memory, POD_IFINDEX, config};
use crate::{Case, cases};

/// Renders every case with its frame before and after.
#[must_use]
pub fn render() -> String {
    let mut text = String::from(
        "# The golden packet table. Generated: TARTAN_BLESS=1 cargo test -p tartan-golden\n\
         # name | hook | flow | verdict, then the frame before and after.\n",
    );
    for case in cases() {
        render_case(&case, &mut text);
    }
    text
}

fn render_case(case: &Case, text: &mut String) {
    let maps = Memory::new();
    case.prepare(&config(), &maps);
    let mut frame = case.frame.clone();
    let verdict = run(case.hook, &mut frame, &case.meta(), &config(), &maps, 0);
    let flow = if case.direct { "direct" } else { "unknown" };
    let verdict_text = match verdict {
        Verdict::Drop(reason) => format!("drop {}", reason.name()),
        Verdict::Next => "next".to_owned(),
        Verdict::ToDevice(UNJUDGED) => "to the device, not judged".to_owned(),
        Verdict::ToDevice(tag) => format!("to the device with tag {tag:04x}"),
        Verdict::ToPod => "to the pod".to_owned(),
        Verdict::ToWire => "to the wire".to_owned(),
        Verdict::ToLink => "to the link as it is".to_owned(),
        Verdict::ToTunnel => "to the device with a tunnel key".to_owned(),
        Verdict::ToStack => "to the stack".to_owned(),
    };
    // Writing into a string cannot fail.
    let _ = writeln!(text, "\n{} | {} | {flow} | {verdict_text}", case.name, case.hook.program());
    let _ = writeln!(text, "< {}", hex(&case.frame));
    if !matches!(verdict, Verdict::Next | Verdict::ToDevice(_) | Verdict::Drop(_)) {
        let _ = writeln!(text, "> {}", hex(&frame));
    }
}

impl Case {
    /// What the kernel knows of the frame besides its bytes.
    #[must_use]
    pub fn meta(&self) -> Meta {
        meta(&self.frame, self.gso_size)
    }
}

/// What the kernel knows of a frame that arrives on the loopback device.
#[must_use]
pub fn meta(frame: &[u8], gso_size: u32) -> Meta {
    let len = u32::try_from(frame.len()).unwrap_or(u32::MAX);
    // The loopback device's own address is zero.
    let for_us = frame.starts_with(&Mac::default().0);
    Meta { len, gso_size, ifindex: POD_IFINDEX, tag: 0, in_vlan: false, for_us }
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
