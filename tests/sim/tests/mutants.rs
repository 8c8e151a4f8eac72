//! The invariants can fail: each fault that is built in on purpose is found within 200 seeds.

use tartan_sim::mutant::Mutant;
use tartan_sim::runner::run_many;

/// So many seeds may be needed.
const ENOUGH: u64 = 200;

fn is_found(mutant: Mutant, promise: &str) {
    let summary = run_many(0, ENOUGH, Some(mutant));
    let found = summary.broken.as_ref().map_or("nothing", |(_, violation)| violation.promise);
    println!("{mutant:?}: {:?}", summary.broken);
    assert_ne!(found, "nothing", "{mutant:?} broke no promise in {ENOUGH} seeds");
    assert!(found.starts_with(promise), "{mutant:?} broke {found}");
}

macro_rules! mutants {
    ($($name:ident: $mutant:ident breaks $promise:literal;)*) => {
        $(
            #[test]
            fn $name() {
                is_found(Mutant::$mutant, $promise);
            }
        )*

        #[test]
        fn every_mutant_has_its_test() {
            assert_eq!(Mutant::ALL, [$(Mutant::$mutant),*]);
        }
    };
}

mutants! {
    deletions_that_are_lost_are_noticed: DropDeletions breaks "I3";
    lists_that_are_stale_are_noticed: AcceptStaleLists breaks "the view";
    lists_that_remove_nothing_are_noticed: MergeLists breaks "";
    events_that_are_skipped_after_a_410_are_noticed: SkipAheadAfterGone breaks "";
    events_that_are_taken_twice_are_noticed: TrustTheOrder breaks "the view";
    another_rule_for_conflicts_is_noticed: YoungestClaimWins breaks "";
    a_peer_with_our_own_subnet_is_noticed: ForgetOwnSubnet breaks "I2";
    addresses_that_are_not_changed_are_noticed: KeepOldAddresses breaks "";
    entries_that_are_not_removed_are_noticed: NeverRemove breaks "";
    tables_that_are_emptied_without_a_connection_are_noticed: FlushWithoutConnection breaks "forwarding goes on";
    annotations_that_are_not_repaired_are_noticed: PublishOnce breaks "I4";
    patches_of_the_operators_annotations_are_noticed: TouchUserKeys breaks "I5";
    patches_of_another_node_are_noticed: PatchAnotherNode breaks "I5";
    a_node_that_lets_go_is_noticed: LetGoWithoutNode breaks "";
    a_memory_that_stays_due_is_noticed: HoldTheMemoryBack breaks "no agent runs in circles";
}
