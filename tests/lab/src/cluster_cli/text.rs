//! What `status` says, for a terminal.

use super::report::{InForce, Life, Node, Pod, Problem, Program, Report};

/// The whole report; `command` is what the user types before `fault` and `logs`.
pub(super) fn render(report: &Report, command: &str) -> String {
    let mut lines = vec![
        format!("{}; up for {}", report.options.summary(), span(report.uptime_seconds)),
        versions(report),
        String::new(),
        "control plane".to_owned(),
    ];
    lines.extend(report.control_plane.iter().map(program));
    for node in &report.nodes {
        lines.push(heading(node));
        lines.extend(node.programs.iter().filter(|_| node.on).map(program));
        lines.extend(node.pods.iter().map(pod));
    }
    lines.extend(faults(&report.faults, command));
    lines.extend(problems(&report.problems, command));
    lines.join("\n")
}

fn versions(report: &Report) -> String {
    let all = report.versions.iter().map(|(name, version)| format!("{name} {version}"));
    all.collect::<Vec<_>>().join(", ")
}

fn program(program: &Program) -> String {
    let Program { name, executable, pid, life, restarts } = program;
    let pid = pid.map(|pid| format!("pid {pid}")).unwrap_or_default();
    let life = match *life {
        Life::Running { seconds } => format!("up {}", span(seconds)),
        Life::Frozen => "FROZEN".to_owned(),
        Life::Ended { seconds } => format!("ENDED {} ago", span(seconds)),
        Life::NeverSeen => "NOT RUNNING".to_owned(),
    };
    let called = if name == executable { name.clone() } else { format!("{name} ({executable})") };
    let back = match restarts {
        0 => String::new(),
        1 => "  restarted once".to_owned(),
        many => format!("  restarted {many} times"),
    };
    format!("  {called:26}{pid:12}{life}{back}").trim_end().to_owned()
}

fn heading(node: &Node) -> String {
    let state = match (&node.ready, node.on) {
        (_, false) => "OFF".to_owned(),
        (Some(ready), true) if ready.status == "True" => "Ready".to_owned(),
        (Some(ready), true) => format!("NotReady ({})", ready.reason),
        (None, true) => "unknown".to_owned(),
    };
    let pods = node.pod_cidr.as_ref().map(|cidr| format!("  pods {cidr}")).unwrap_or_default();
    format!("{}  {state}  {}{pods}", node.name, node.address)
}

fn pod(pod: &Pod) -> String {
    let Pod { namespace, name, phase, ip, restarts, .. } = pod;
    let called = format!("{namespace}/{name}");
    let back = if *restarts > 0 { format!("  restarts {restarts}") } else { String::new() };
    let ip = ip.as_deref().unwrap_or_default();
    format!("  pod {called:42} {phase:10} {ip}{back}").trim_end().to_owned()
}

fn faults(all: &[InForce], command: &str) -> Vec<String> {
    let line = |fault: &InForce| {
        let left = fault.seconds_left.map(|left| format!(", {} more", span(left)));
        let InForce { what, end, .. } = fault;
        format!("  {what}{}\n    to end it: {command} fault {end}", left.unwrap_or_default())
    };
    titled("\nBroken on purpose", all.iter().map(line).collect())
}

fn problems(all: &[Problem], command: &str) -> Vec<String> {
    if all.is_empty() {
        return vec!["\nEverything that runs is in order.".to_owned()];
    }
    let line = |Problem { what, see }: &Problem| {
        let see = see.as_ref().map(|see| format!("\n    see: {command} {see}"));
        format!("  {what}{}", see.unwrap_or_default())
    };
    titled("\nProblems", all.iter().map(line).collect())
}

fn titled(title: &str, lines: Vec<String>) -> Vec<String> {
    let title = (!lines.is_empty()).then(|| title.to_owned());
    title.into_iter().chain(lines).collect()
}

/// A span of time as people say it: `41 s`, `5 min 2 s`, `3 h 1 min`.
pub(super) fn span(seconds: u64) -> String {
    let (minutes, rest) = (seconds / 60, seconds % 60);
    match minutes {
        0 => format!("{rest} s"),
        1..60 => format!("{minutes} min {rest} s"),
        _ => format!("{} h {} min", minutes / 60, minutes % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_at_most_two_units() {
        let spans = [0, 41, 302, 10_860].map(span);
        assert_eq!(spans, ["0 s", "41 s", "5 min 2 s", "3 h 1 min"]);
    }

    #[test]
    fn a_program_that_ended_is_seen_at_a_glance() {
        let line = program(&Program {
            name: "agent".to_owned(),
            executable: "tartand".to_owned(),
            pid: None,
            life: Life::Ended { seconds: 3 },
            restarts: 2,
        });
        assert_eq!(
            line,
            "  agent (tartand)                       ENDED 3 s ago  restarted 2 times"
        );
    }

    #[test]
    fn a_fault_comes_with_the_words_that_end_it() {
        let fault = InForce {
            what: "node2 is cut off from the API server".to_owned(),
            seconds_left: Some(12),
            end: "api blackhole node2 0".to_owned(),
        };
        assert_eq!(
            faults(&[fault], "tartan-lab cluster").join("\n"),
            "\nBroken on purpose\n  node2 is cut off from the API server, 12 s more\n    to end \
             it: tartan-lab cluster fault api blackhole node2 0"
        );
    }
}
