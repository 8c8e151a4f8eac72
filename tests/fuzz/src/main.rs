//! `tartan-fuzz`: searches, or replays one input. `cargo xtask fuzz` builds it with instrumentation.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use std::{env, fs, io};

use tartan_fuzz::corpus::{committed, encode, read, write};
use tartan_fuzz::coverage::Counters;
use tartan_fuzz::search::{judge, search};
use tartan_fuzz::targets::{TARGETS, Target};

/// Bytes of a target's committed corpus at most: the whole stays below 300 KiB.
const LARGEST: usize = 40 << 10;

/// What the user wants.
struct Wish {
    target: Option<String>,
    seconds: u64,
    seed: u64,
    replay: Option<PathBuf>,
    save: bool,
}

fn main() -> ExitCode {
    let outcome = wish().map_err(io::Error::other).and_then(|wish| run(&wish));
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tartan-fuzz: {error}");
            ExitCode::FAILURE
        }
    }
}

fn wish() -> Result<Wish, String> {
    let mut wish = Wish { target: None, seconds: 20, seed: 1, replay: None, save: false };
    let mut words = env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} wants a value"));
        let number = |text: String| text.parse().map_err(|_| format!("{text} is no number"));
        match word.as_str() {
            "--seconds" => wish.seconds = number(value()?)?,
            "--seed" => wish.seed = number(value()?)?,
            "--replay" => wish.replay = Some(value()?.into()),
            "--save" => wish.save = true,
            flag if flag.starts_with('-') => return Err(format!("no flag {flag}")),
            name => wish.target = Some(name.to_owned()),
        }
    }
    Ok(wish)
}

fn run(wish: &Wish) -> io::Result<ExitCode> {
    let is_wanted = |target: &&Target| wish.target.as_ref().is_none_or(|it| it == target.name);
    let targets: Vec<_> = TARGETS.iter().filter(is_wanted).collect();
    if targets.is_empty() {
        let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        return Err(io::Error::other(format!("no such target; there are {}", names.join(", "))));
    }
    if let Some(file) = &wish.replay {
        return replay(&targets, file);
    }
    let Some(mut counters) = Counters::find() else {
        return Err(io::Error::other("built without instrumentation: use `cargo xtask fuzz`"));
    };
    let mut code = ExitCode::SUCCESS;
    for target in targets {
        if !fuzz(target, &mut counters, wish)? {
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

fn replay(targets: &[&Target], file: &Path) -> io::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for input in read(file)? {
        for target in targets {
            let outcome = judge(target, &input);
            println!("{}: {outcome:?} {}", target.name, encode(&input));
            if outcome.is_err() {
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

/// Whether nothing was broken.
fn fuzz(target: &Target, counters: &mut Counters, wish: &Wish) -> io::Result<bool> {
    let file = committed(target.name);
    let mut start = read(&file)?;
    start.extend((target.seeds)());
    let budget = Duration::from_secs(wish.seconds);
    let report = search(target, counters, start, wish.seed, budget);
    let (taken, edges) = report.edges;
    println!(
        "{}: seed {}, {} inputs, {} reach something of their own, {taken} of {edges} edges",
        target.name,
        wish.seed,
        report.inputs,
        report.kept.len()
    );
    if wish.save {
        write(&file, &smallest(&report.kept))?;
    }
    let Some((input, what)) = report.broken else { return Ok(true) };
    let file = env::current_dir()?.join(format!("fuzz-{}.txt", target.name));
    fs::write(&file, encode(&input) + "\n")?;
    println!("{}: {what}\n  {}", target.name, encode(&input));
    println!("  again: cargo xtask fuzz {} --replay {}", target.name, file.display());
    Ok(false)
}

/// As many inputs as the tree has room for, the first ones first.
fn smallest(inputs: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut room = LARGEST;
    let fits = |input: &&Vec<u8>| {
        let needs = input.len() * 2 + 1;
        let fits = needs <= room;
        room -= if fits { needs } else { 0 };
        fits
    };
    inputs.iter().filter(fits).cloned().collect()
}
