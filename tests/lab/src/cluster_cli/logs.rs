//! `logs`: what the control plane and the nodes' programs write.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::sources::{Source, sources};
use super::state::{Directory, State};
use crate::sandbox::require_root;
use crate::scenario::tail;

/// Lines of each log, where there are several.
const LINES: usize = 10;
/// How often a followed log is looked at.
const TICK: Duration = Duration::from_millis(100);

/// Flags of `tartan-lab cluster logs`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A node, a program, or both: node1, kube-apiserver, node1 agent; all there is without
    #[arg(value_name = "NODE|PROGRAM", num_args = 0..=2)]
    words: Vec<String>,
    /// Go on as more is written, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// Only the last lines of each log [default: 10 of several, all of one]
    #[arg(short = 'n', long, value_name = "LINES")]
    tail: Option<usize>,
}

/// Shows what was asked for.
///
/// # Errors
/// When a word names nothing.
pub(super) fn run(args: &Args, directory: &Directory, state: &State) -> Result<u8> {
    require_root()?;
    let mut all = sources(state);
    all.push(Source {
        node: None,
        program: "up".to_owned(),
        path: directory.progress(),
        cri: false,
    });
    let chosen = choose(all, &args.words, state)?;
    let titled = chosen.len() > 1;
    let lines = args.tail.or(titled.then_some(LINES));
    let mut readers = Vec::new();
    for source in chosen {
        let mut reader = Reader::open(source)?;
        let text = reader.more()?;
        if titled {
            say(&format!("--- {}\n", reader.source.title()))?;
        }
        let shown = lines.map(|lines| tail(&text, lines) + "\n");
        say(shown.as_ref().unwrap_or(&text))?;
        readers.push(reader);
    }
    if args.follow {
        follow(&mut readers, state)?;
    }
    Ok(0)
}

/// Those that every word fits.
fn choose(all: Vec<Source>, words: &[String], state: &State) -> Result<Vec<Source>> {
    let is_node = |word: &String| state.nodes.iter().any(|node| node.name == *word);
    for word in words {
        if !is_node(word) && !all.iter().any(|source| source.is_called(word)) {
            let mut names: Vec<_> = all.iter().map(|source| source.program.clone()).collect();
            names.sort();
            names.dedup();
            bail!(
                "{word} is neither a node nor a program; {}; the programs are {}",
                state.named_nodes(),
                names.join(", ")
            );
        }
    }
    let fits = |source: &Source, word: &String| {
        source.is_called(word) || source.node.as_ref() == Some(word)
    };
    let mut chosen = all;
    chosen.retain(|source| words.iter().all(|word| fits(source, word)));
    if chosen.is_empty() {
        bail!("there is no log of {} yet", words.join(" "));
    }
    Ok(chosen)
}

struct Reader {
    source: Source,
    file: File,
}

impl Reader {
    fn open(source: Source) -> Result<Self> {
        let path = &source.path;
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self { source, file })
    }

    /// What was written since the last call.
    fn more(&mut self) -> Result<String> {
        let mut bytes = Vec::new();
        self.file.read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        Ok(if self.source.cri { without_cri(&text) } else { text.into_owned() })
    }
}

fn follow(readers: &mut [Reader], state: &State) -> Result<()> {
    let mut last = readers.len() - 1;
    while is_there(state) {
        for (index, reader) in readers.iter_mut().enumerate() {
            let text = reader.more()?;
            if text.is_empty() {
                continue;
            }
            if index != last {
                say(&format!("--- {}\n", reader.source.title()))?;
                last = index;
            }
            say(&text)?;
        }
        thread::sleep(TICK);
    }
    eprintln!("The cluster is gone.");
    Ok(())
}

fn is_there(state: &State) -> bool {
    fs::exists(state.path("/mnt")).unwrap_or(false)
}

fn say(text: &str) -> Result<()> {
    let mut stdout = io::stdout();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // The reader, `head` for instance, has enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        done => Ok(done?),
    }
}

/// The container's own words, without the runtime's time, stream and tag before each line.
fn without_cri(text: &str) -> String {
    let own = |line: &str| line.splitn(4, ' ').nth(3).unwrap_or(line).to_owned() + "\n";
    text.lines().map(own).collect()
}

/// What is in a directory, in order; nothing when it is not there.
pub(super) fn entries_of(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut all: Vec<_> = entries.map(|entry| entry.path()).collect();
    all.sort();
    all
}

#[cfg(test)]
mod tests {
    use super::super::options::Options;
    use super::super::state::{Identity, NodeEntry};
    use super::*;

    fn state() -> State {
        let mut state = State::new(Identity { pid: 1, started: 1 }, &Options::default());
        let entry = |name: &str| NodeEntry { name: name.to_owned(), holder: None };
        state.nodes = vec![entry("node1"), entry("node2")];
        state
    }

    fn all() -> Vec<Source> {
        let names = ["etcd.log", "kube-apiserver-0.log", "tartand-node1.log", "tartand-node2.log"];
        names.iter().filter_map(|name| Source::of_file(Path::new(name), &state())).collect()
    }

    fn chosen(words: &[&str]) -> Result<Vec<String>> {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        let chosen = choose(all(), &words, &state())?;
        Ok(chosen.iter().map(Source::title).collect())
    }

    #[test]
    fn words_choose_by_node_and_by_program_in_any_order() {
        assert_eq!(chosen(&[]).unwrap().len(), 4);
        assert_eq!(chosen(&["node2"]).unwrap(), ["node2 agent"]);
        assert_eq!(chosen(&["tartand"]).unwrap(), ["node1 agent", "node2 agent"]);
        assert_eq!(chosen(&["agent", "node1"]).unwrap(), ["node1 agent"]);
        assert_eq!(chosen(&["kube-apiserver"]).unwrap(), ["kube-apiserver"]);
    }

    #[test]
    fn a_word_that_names_nothing_is_answered_with_what_there_is() {
        let error = chosen(&["node3"]).unwrap_err().to_string();
        assert!(error.contains("node1 and node2"), "{error}");
        assert!(error.ends_with("agent, etcd, kube-apiserver"), "{error}");
    }

    #[test]
    fn a_runtime_s_prefix_is_taken_off() {
        let line = "2026-11-23T03:00:00.1Z stderr F ready in 1 s\n";
        assert_eq!(without_cri(line), "ready in 1 s\n");
    }
}
