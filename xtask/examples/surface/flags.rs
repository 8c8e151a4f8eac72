//! `FLAGS.md`, which the agent writes itself, and the committed list of its flags.

use tartan_agent::cli::markdown;

/// `docs/FLAGS.md`.
pub(crate) fn document() -> String {
    markdown()
}

/// `docs/surface/flags.txt`: each flag with its environment variable and its default, without the
/// words that explain it.
pub(crate) fn surface() -> String {
    markdown().lines().filter_map(line).collect()
}

/// One row of the document's table, which begins with the flag in backticks.
fn line(row: &str) -> Option<String> {
    let mut cells = row.strip_prefix("| `--")?.split('|').map(|cell| cell.trim().replace('`', ""));
    let (flag, variable, default) = (cells.next()?, cells.next()?, cells.next()?);
    Some(format!("--{flag} env={variable} default={default}\n"))
}
