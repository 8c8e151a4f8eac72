//! Every input of the committed corpus, and every one that the search starts from, breaks no rule.

use tartan_fuzz::corpus::{committed, encode, read};
use tartan_fuzz::search::judge;
use tartan_fuzz::targets::TARGETS;

#[test]
fn the_corpus_breaks_no_rule() {
    for target in TARGETS {
        let mut inputs = read(&committed(target.name)).unwrap();
        assert!(!inputs.is_empty(), "{}: no corpus", target.name);
        let corpus = inputs.len();
        inputs.extend((target.seeds)());
        for input in &inputs {
            assert_eq!(judge(&target, input), Ok(()), "{}: {}", target.name, encode(input));
        }
        println!("{}: {corpus} inputs and {} seeds", target.name, inputs.len() - corpus);
    }
}

#[test]
fn the_corpus_is_small() {
    let size: u64 = TARGETS.iter().map(|it| committed(it.name).metadata().unwrap().len()).sum();
    assert!(size <= 300 << 10, "{size} bytes");
}
