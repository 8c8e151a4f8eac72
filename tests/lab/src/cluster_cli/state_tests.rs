//! The lock and the words beside it.

use super::*;

/// A directory that goes with the test.
struct Scratch(Directory);

impl Scratch {
    fn new(name: &str) -> Self {
        let own = format!("tartan-state-{}-{name}", std::process::id());
        Self(Directory(std::env::temp_dir().join(own)))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0.0);
    }
}

fn state(names: &[&str]) -> State {
    let entry = |name: &&str| NodeEntry { name: (*name).to_owned(), holder: Some(7) };
    let mut state = State::new(Identity { pid: 42, started: 1 }, &Options::default());
    state.nodes = names.iter().map(entry).collect();
    state
}

#[test]
fn nothing_is_there_before_a_claim_and_after_a_removal() {
    let scratch = Scratch::new("life");
    let directory = &scratch.0;
    assert!(matches!(directory.look().unwrap(), Found::Nothing));
    let lock = directory.claim().unwrap().unwrap();
    directory.note_supervisor(4711).unwrap();
    directory.note(&state(&["node1"])).unwrap();
    let Found::Up(Some(4711), Some(seen)) = directory.look().unwrap() else { panic!("not up") };
    assert_eq!(seen, state(&["node1"]));
    directory.remove(lock).unwrap();
    assert!(matches!(directory.look().unwrap(), Found::Nothing));
}

#[test]
fn a_second_claim_is_refused_and_changes_nothing() {
    let scratch = Scratch::new("second");
    let _lock = scratch.0.claim().unwrap().unwrap();
    scratch.0.note(&state(&["node1"])).unwrap();
    assert!(scratch.0.claim().unwrap().is_none());
    assert_eq!(scratch.0.state(), Some(state(&["node1"])));
}

#[test]
fn a_process_that_took_over_a_number_is_another() {
    let own = Identity::of(std::process::id()).unwrap();
    assert!(!own.is_gone());
    assert!(Identity { started: own.started + 1, ..own }.is_gone());
}

#[test]
fn words_without_a_lock_are_stale_and_the_next_claim_forgets_them() {
    let scratch = Scratch::new("stale");
    let lock = scratch.0.claim().unwrap().unwrap();
    scratch.0.note(&state(&[])).unwrap();
    drop(lock);
    assert!(matches!(scratch.0.look().unwrap(), Found::Stale(_)));
    let error = scratch.0.running("tartan-lab cluster").unwrap_err().to_string();
    assert!(error.ends_with("tartan-lab cluster up"), "{error}");
    let _lock = scratch.0.claim().unwrap().unwrap();
    assert_eq!(scratch.0.state(), None);
}

#[test]
fn a_lock_whose_file_was_removed_is_not_taken_for_the_new_one() {
    let scratch = Scratch::new("inode");
    let _old = scratch.0.claim().unwrap().unwrap();
    fs::remove_file(scratch.0.0.join(LOCK)).unwrap();
    let new = scratch.0.claim().unwrap();
    assert!(new.is_some());
    assert!(scratch.0.claim().unwrap().is_none());
}

#[test]
fn a_wrong_node_is_answered_with_the_right_ones() {
    let error = |names: &[&str]| state(names).node("node9").unwrap_err().to_string();
    let three = error(&["node1", "node2", "node3"]);
    assert_eq!(three, "there is no node node9; the nodes are node1, node2 and node3");
    assert!(error(&["node1"]).ends_with("the only node is node1"));
    assert!(error(&[]).ends_with("no node is there yet"));
}
