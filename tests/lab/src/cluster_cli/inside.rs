//! The cluster in the lab's process 1: comes up, then answers at its socket until it is killed.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use pem::{EncodeConfig, LineEnding, Pem};
use serde_json::json;

use super::control::{SOCKET, serve};
use super::guardian::Guardian;
use super::options::{Options, Tier as Level};
use super::state::{Directory, Identity, Phase, State};
use super::tier::Tier;
use super::tier1::Tier1;
use super::tier2::Tier2;
use crate::control_plane::{ControlPlane, User};
use crate::kubernetes::Steps;
use crate::scenario::show_logs;

/// The administrator's kubeconfig, complete in one file; a path of the lab.
pub(super) const KUBECONFIG: &str = "/mnt/control/kubeconfig";
/// How often programs are looked after while nobody asks anything.
const ROUND: Duration = Duration::from_millis(500);

/// What is known before the lab has a `/proc` and a `/run` of its own.
#[derive(Debug)]
pub struct Outside {
    lab: Identity,
    directory: File,
}

impl Outside {
    /// Asks for it.
    ///
    /// # Errors
    /// When there is no `/proc`, or no supervisor.
    pub fn ask() -> Result<Self> {
        let own = fs::read_link("/proc/self").context("/proc is not mounted")?;
        let pid = own.to_str().and_then(|own| own.parse().ok());
        let pid = pid.context("/proc/self is no process id")?;
        let directory = Directory::of_the_machine();
        // A mount of its own: the lab may write there however it treats the rest of the machine.
        directory.bind_to_itself()?;
        let lab = Identity::of(pid).context("/proc does not show this process")?;
        Ok(Self { lab, directory: directory.open()? })
    }
}

/// Brings the cluster up and serves it.
///
/// # Errors
/// When something does not come up; the logs are shown then, because they go with the lab.
pub fn run(options: &Options, outside: &Outside) -> Result<u8> {
    let directory = Directory::reopened(&outside.directory);
    let mut state = State::new(outside.lab, options);
    directory.note(&state)?;
    let (tier, sound) = bring_up(options).inspect_err(|_| show_logs())?;
    state.phase = if sound { Phase::Ready } else { Phase::Unsound };
    serve_forever(Guardian::new(tier, state), &directory)
}

fn bring_up(options: &Options) -> Result<(Box<dyn Tier>, bool)> {
    let mut steps = Steps::new();
    let mut tier: Box<dyn Tier> = match options.tier {
        Level::L1 => Box::new(Tier1::up(options.nodes, &mut steps)?),
        Level::L2 => Box::new(Tier2::up(options, &mut steps)?),
    };
    let failed = steps.step(tier.check_title(), || tier.failed_pairs())?;
    for pair in &failed {
        println!("  FAILED {pair}");
    }
    write_kubeconfig(tier.plane())?;
    let verdict = if failed.is_empty() { "PASS" } else { "FAIL" };
    println!("\n{verdict}  {:.1} s in all", steps.elapsed().as_secs_f64());
    Ok((tier, failed.is_empty()))
}

fn serve_forever(mut guardian: Guardian, directory: &Directory) -> Result<u8> {
    let listener = UnixListener::bind(SOCKET).with_context(|| format!("cannot make {SOCKET}"))?;
    fs::set_permissions(SOCKET, fs::Permissions::from_mode(0o600))?;
    let mut last = None;
    let mut looked = Instant::now();
    loop {
        let state = guardian.state();
        if last.as_ref() != Some(state) {
            directory.note(state)?;
            last = Some(state.clone());
        }
        serve(&listener, ROUND, |request| guardian.answer(request))?;
        if looked.elapsed() >= ROUND {
            guardian.tick();
            looked = Instant::now();
        }
    }
}

/// One file that needs no other, so that it is the same wherever it is read from.
fn write_kubeconfig(plane: &ControlPlane) -> Result<()> {
    let user = User::admin();
    let access = plane.access(0, &user);
    let name = "tartan-lab";
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{ "name": name, "cluster": {
            "server": access.url,
            "certificate-authority-data": base64_of_pem(&access.authority),
        }}],
        "users": [{ "name": user.name(), "user": { "token": access.token } }],
        "contexts": [{ "name": name, "context": { "cluster": name, "user": user.name() } }],
    });
    let text = serde_json::to_string_pretty(&config)?;
    fs::write(KUBECONFIG, text).with_context(|| format!("cannot write {KUBECONFIG}"))?;
    Ok(fs::set_permissions(KUBECONFIG, fs::Permissions::from_mode(0o600))?)
}

/// A certificate as PEM, in base64, as kubeconfigs carry it. The body of a PEM file is base64.
fn base64_of_pem(der: &[u8]) -> String {
    let lines = EncodeConfig::new().set_line_ending(LineEnding::LF);
    let certificate = pem::encode_config(&Pem::new("CERTIFICATE", der), lines);
    let twice = pem::encode_config(&Pem::new("TEXT", certificate), lines);
    twice.lines().filter(|line| !line.starts_with("-----")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_a_certificate_is_one_line_without_armour() {
        let text = base64_of_pem(&[1, 2, 3]);
        // "-----BEGIN" in base64.
        assert!(text.starts_with("LS0tLS1CRUdJTi"), "{text}");
        assert!(!text.contains('\n'));
    }
}
