//! The binary a container runtime calls: environment and stdin in, JSON out.

use std::io::{Write, stderr, stdin, stdout};
use std::panic::set_hook;
use std::process::ExitCode;

use rustix::process::setpriority_process;
use tartan_cni::Outcome;
use tartan_cni::datapath::Pinned;
use tartan_cni::patience::PATIENCE;

/// The most that there is: what the plugin computes takes a few milliseconds, and a pod waits for it.
const NICENESS: i32 = -20;

fn main() -> ExitCode {
    // Of a hundred pods at once each would wait behind the start of the others' containers. Where
    // the runtime may not raise it, the plugin is as it was started.
    let _ = setpriority_process(None, NICENESS);
    // A panic is reported as an error object; the default hook would add noise to the log.
    set_hook(Box::new(|_| {}));
    let lookup = |name: &str| std::env::var_os(name).map(|v| v.to_string_lossy().into_owned());
    print(&tartan_cni::run(lookup, &mut stdin().lock(), &mut Pinned::default(), PATIENCE))
}

/// Nobody is left to tell if a stream is closed, but the exit code still says it.
fn print(outcome: &Outcome) -> ExitCode {
    for line in &outcome.stderr {
        let _ = writeln!(stderr(), "tartan-cni: {line}");
    }
    let mut out = stdout();
    let end = if outcome.stdout.is_empty() { "" } else { "\n" };
    let written = write!(out, "{}{end}", outcome.stdout).and_then(|()| out.flush());
    if outcome.success && written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
