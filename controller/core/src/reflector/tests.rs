//! The mirror never runs backwards, wastes no request, and always finds its way back.

use proptest::prelude::*;

use super::*;
use crate::Timestamp;
use crate::annotations::{AnnotationPrefix, Key, NodeRecord};

mod random;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn version(number: u64) -> Version {
    Version::from_number(number)
}

fn record(name: &str, uid: &str, public_ip: &str) -> NodeRecord {
    let mut record = NodeRecord::bare(name, uid, Timestamp::default());
    record.annotate(Key::PublicIp, public_ip);
    record
}

fn seen(name: &str, number: u64, public_ip: &str) -> Observed {
    Observed { version: version(number), record: record(name, "u", public_ip) }
}

fn page(number: u64, items: Vec<Observed>) -> Page {
    Page { version: version(number), continue_token: None, items, unreadable: Vec::new() }
}

fn reflector() -> Reflector {
    Reflector::new(ReflectorConfig::default(), 1)
}

/// Has listed `a` and `b` at version 10 and follows a watch.
fn following() -> Reflector {
    let mut reflector = reflector();
    reflector.page(seconds(0), page(10, vec![seen("a", 5, "1"), seen("b", 9, "2")]));
    assert_eq!(reflector.next(seconds(0)), Next::Watch { from: version(10) });
    reflector.watch_opened(seconds(0));
    reflector
}

fn names(reflector: &Reflector) -> Vec<String> {
    let shown = |record: &std::sync::Arc<NodeRecord>| {
        format!("{}={}", record.name, record.annotation(Key::PublicIp).unwrap_or_default())
    };
    reflector.records().map(shown).collect()
}

#[test]
fn a_fresh_mirror_lists_and_then_watches_from_there() {
    let mut reflector = reflector();
    let request = ListRequest { limit: 500, continue_token: None, not_older_than: None };
    assert_eq!(reflector.next(seconds(0)), Next::List(request));
    assert!(!reflector.is_synced());
    reflector.page(seconds(0), page(10, vec![seen("a", 5, "1")]));
    assert!(reflector.is_synced());
    assert_eq!((names(&reflector), reflector.generation()), (vec!["a=1".to_owned()], 1));
    assert_eq!(reflector.next(seconds(0)), Next::Watch { from: version(10) });
}

#[test]
fn pages_take_effect_together_with_the_last() {
    let mut reflector = following();
    reflector.failed(seconds(1), &Failure::Gone);
    let first = Page { continue_token: Some("t".into()), ..page(20, vec![seen("c", 19, "3")]) };
    reflector.page(seconds(1), first);
    assert_eq!(names(&reflector), ["a=1", "b=2"]);
    let Next::List(request) = reflector.next(seconds(1)) else { panic!("no list") };
    assert_eq!((request.continue_token, request.not_older_than), (Some("t".to_owned()), None));
    reflector.page(seconds(1), page(20, vec![seen("a", 18, "9")]));
    assert_eq!(names(&reflector), ["a=9", "c=3"]);
    assert_eq!(reflector.generation(), 2);
}

#[test]
fn a_page_that_fails_is_asked_for_again_and_an_expired_list_starts_anew() {
    let mut reflector = reflector();
    let first = Page { continue_token: Some("t".into()), ..page(20, vec![seen("c", 19, "3")]) };
    reflector.page(seconds(0), first);
    reflector.failed(seconds(0), &Failure::Timeout);
    assert!(matches!(reflector.next(seconds(0)), Next::Wait { .. }));
    let Next::List(request) = reflector.next(seconds(1)) else { panic!("no list") };
    assert_eq!(request.continue_token.as_deref(), Some("t"));
    reflector.failed(seconds(1), &Failure::Gone);
    let Next::List(request) = reflector.next(seconds(1)) else { panic!("no list") };
    assert_eq!(request.continue_token, None);
    reflector.page(seconds(1), page(30, vec![seen("a", 5, "1")]));
    assert_eq!(names(&reflector), ["a=1"]);
}

#[test]
fn what_does_not_matter_changes_the_version_but_not_the_generation() {
    let mut reflector = following();
    reflector.heard(seconds(1), WatchItem::Changed(seen("a", 11, "1")));
    reflector.heard(seconds(2), WatchItem::Bookmark(version(40)));
    assert_eq!((reflector.generation(), reflector.version()), (1, Some(&version(40))));
    reflector.heard(seconds(3), WatchItem::Changed(seen("a", 41, "7")));
    assert_eq!(reflector.generation(), 2);
    assert_eq!(reflector.version_of("a"), Some(&version(41)));
}

#[test]
fn a_list_that_brings_nothing_new_changes_nothing() {
    let mut reflector = following();
    reflector.failed(seconds(1), &Failure::Gone);
    reflector.page(seconds(1), page(50, vec![seen("b", 44, "2"), seen("a", 5, "1")]));
    assert_eq!(reflector.generation(), 1);
}

#[test]
fn old_events_are_ignored() {
    let mut reflector = following();
    for item in [
        WatchItem::Changed(seen("b", 8, "old")),
        WatchItem::Deleted(seen("b", 8, "old")),
        WatchItem::Changed(seen("gone before the list", 7, "old")),
    ] {
        reflector.heard(seconds(1), item);
    }
    assert_eq!(
        (names(&reflector), reflector.generation()),
        (vec!["a=1".to_owned(), "b=2".into()], 1)
    );
}

#[test]
fn a_deleted_node_does_not_come_back_with_an_older_event() {
    let mut reflector = following();
    reflector.heard(seconds(1), WatchItem::Deleted(seen("a", 20, "1")));
    reflector.heard(seconds(1), WatchItem::Changed(seen("a", 15, "1")));
    assert_eq!(names(&reflector), ["b=2"]);
    reflector.heard(seconds(1), WatchItem::Changed(seen("a", 21, "new")));
    assert_eq!(names(&reflector), ["a=new", "b=2"]);
}

#[test]
fn another_object_of_the_same_name_takes_its_place() {
    let mut reflector = following();
    let replacement = Observed { version: version(22), record: record("a", "u2", "new") };
    reflector.heard(seconds(1), WatchItem::Changed(replacement));
    reflector.heard(seconds(1), WatchItem::Deleted(seen("a", 21, "1")));
    assert_eq!(names(&reflector), ["a=new", "b=2"]);
    assert_eq!(reflector.get("a").unwrap().uid, "u2");
}

#[test]
fn a_broken_watch_goes_on_where_it_was() {
    let mut reflector = following();
    reflector.heard(seconds(1), WatchItem::Bookmark(version(30)));
    reflector.failed(seconds(2), &Failure::Connection("reset".to_owned()));
    let Next::Wait { until } = reflector.next(seconds(2)) else { panic!("no pause") };
    assert!(until <= Duration::from_millis(2200));
    assert_eq!(reflector.next(seconds(3)), Next::Watch { from: version(30) });
}

#[test]
fn a_version_that_is_gone_costs_one_list_at_once_and_pauses_after_that() {
    let mut reflector = following();
    reflector.heard(seconds(1), WatchItem::Failed(Failure::Gone));
    let Next::List(request) = reflector.next(seconds(1)) else { panic!("no list") };
    assert_eq!(request.not_older_than, Some(version(10)));
    reflector.page(seconds(1), page(11, Vec::new()));
    reflector.failed(seconds(1), &Failure::Gone);
    assert!(matches!(reflector.next(seconds(1)), Next::Wait { .. }));
}

#[test]
fn a_list_older_than_what_was_seen_is_refused() {
    let mut reflector = following();
    reflector.heard(seconds(1), WatchItem::Changed(seen("c", 30, "3")));
    reflector.failed(seconds(2), &Failure::Gone);
    reflector.page(seconds(2), page(29, vec![seen("a", 5, "1")]));
    assert_eq!(names(&reflector), ["a=1", "b=2", "c=3"]);
    assert!(matches!(reflector.next(seconds(2)), Next::Wait { .. }));
    reflector.page(seconds(4), page(30, vec![seen("c", 30, "3")]));
    assert_eq!(names(&reflector), ["c=3"]);
}

#[test]
fn storage_that_was_restored_is_believed_after_some_minutes() {
    let mut reflector = following();
    reflector.failed(seconds(2), &Failure::Gone);
    reflector.failed(seconds(2), &Failure::Behind);
    for at in (10..=302).step_by(4) {
        reflector.page(seconds(at), page(4, vec![seen("a", 3, "restored")]));
        assert_eq!(names(&reflector), ["a=1", "b=2"]);
    }
    let Next::List(request) = reflector.next(seconds(310)) else { panic!("no list") };
    assert_eq!(request.not_older_than, None);
    reflector.page(seconds(310), page(4, vec![seen("a", 3, "restored")]));
    assert_eq!(names(&reflector), ["a=restored"]);
    assert_eq!(reflector.next(seconds(310)), Next::Watch { from: version(4) });
}

#[test]
fn two_stale_lists_with_a_long_silence_between_them_are_no_restored_storage() {
    let mut reflector = following();
    reflector.failed(seconds(2), &Failure::Gone);
    for at in [3, 1000, 2000] {
        reflector.page(seconds(at), page(4, vec![seen("a", 3, "stale")]));
        assert_eq!(names(&reflector), ["a=1", "b=2"]);
    }
}

#[test]
fn a_silent_watch_is_given_up_and_the_second_one_costs_a_list() {
    let mut reflector = following();
    assert_eq!(reflector.next(seconds(1)), Next::Follow { until: seconds(75) });
    reflector.failed(seconds(75), &Failure::Stalled);
    assert_eq!(reflector.next(seconds(80)), Next::Watch { from: version(10) });
    reflector.watch_opened(seconds(80));
    reflector.failed(seconds(155), &Failure::Stalled);
    assert!(matches!(reflector.next(seconds(170)), Next::List(_)));
}

#[test]
fn a_watch_that_ends_in_order_is_opened_again_at_once_unless_it_was_short() {
    let mut reflector = following();
    reflector.ended(seconds(300));
    assert_eq!(reflector.next(seconds(300)), Next::Watch { from: version(10) });
    reflector.watch_opened(seconds(300));
    reflector.ended(seconds(300));
    assert!(matches!(reflector.next(seconds(300)), Next::Wait { .. }));
}

#[test]
fn a_server_that_asks_for_patience_gets_it_within_reason() {
    let wait = |retry_after| {
        let mut reflector = reflector();
        reflector.failed(seconds(0), &Failure::Busy { code: 429, retry_after });
        let Next::Wait { until } = reflector.next(seconds(0)) else { panic!("no pause") };
        until
    };
    assert_eq!(wait(seconds(7)), seconds(7));
    assert_eq!(wait(seconds(99_999)), seconds(30));
}

#[test]
fn failures_in_a_row_are_spaced_out_and_forgotten_after_a_success() {
    let mut reflector = following();
    let mut now = seconds(1);
    let mut longest = Duration::ZERO;
    for _ in 0..10 {
        reflector.failed(now, &Failure::Timeout);
        let Next::Wait { until } = reflector.next(now) else { panic!("no pause") };
        longest = longest.max(until.checked_sub(now).unwrap());
        now = until;
    }
    assert!(longest > seconds(5) && longest <= seconds(10), "{longest:?}");
    reflector.watch_opened(now);
    reflector.heard(now, WatchItem::Bookmark(version(99)));
    reflector.failed(now, &Failure::Timeout);
    let Next::Wait { until } = reflector.next(now) else { panic!("no pause") };
    assert!(until.checked_sub(now).unwrap() <= Duration::from_millis(200));
}

#[test]
fn versions_that_are_no_numbers_are_followed_in_the_order_they_come() {
    let opaque = |text: &str| Version::new(text).unwrap();
    let observed =
        |text: &str, ip: &str| Observed { version: opaque(text), record: record("a", "u", ip) };
    let mut reflector = reflector();
    reflector
        .page(seconds(0), Page { version: opaque("x9"), ..page(1, vec![observed("x1", "1")]) });
    reflector.watch_opened(seconds(0));
    reflector.heard(seconds(1), WatchItem::Changed(observed("w7", "2")));
    assert_eq!(
        (names(&reflector), reflector.version()),
        (vec!["a=2".to_owned()], Some(&opaque("w7")))
    );
    reflector.heard(seconds(1), WatchItem::Deleted(observed("v1", "2")));
    assert!(reflector.is_empty());
}

#[test]
fn what_comes_at_the_wrong_time_is_ignored() {
    let mut reflector = following();
    reflector.page(seconds(1), page(99, Vec::new()));
    assert_eq!(names(&reflector).len(), 2);
    reflector.ended(seconds(50));
    reflector.heard(seconds(50), WatchItem::Deleted(seen("a", 99, "1")));
    reflector.ended(seconds(50));
    assert_eq!(names(&reflector).len(), 2);
}

fn node_json(name: &str, version: u64) -> String {
    format!(
        r#"{{"metadata":{{"name":"{name}","uid":"u","resourceVersion":"{version}"}},"spec":{{}}}}"#
    )
}

#[test]
fn lists_and_events_are_read_from_an_api_servers_bytes() {
    let prefix = AnnotationPrefix::default();
    let list = format!(
        r#"{{"kind":"NodeList","metadata":{{"resourceVersion":"12","continue":"t"}},"items":[{},{{"metadata":{{}}}}]}}"#,
        node_json("a", 5)
    );
    let page = parse_page(list.as_bytes(), &prefix).unwrap();
    assert_eq!((page.version, page.continue_token.as_deref()), (version(12), Some("t")));
    assert_eq!((page.items.len(), page.unreadable.len()), (1, 1));
    assert!(parse_page(&list.as_bytes()[..list.len() - 4], &prefix).is_err());

    let event = |kind: &str, object: &str| {
        parse_event(format!(r#"{{"type":"{kind}","object":{object}}}"#).as_bytes(), &prefix)
    };
    assert!(matches!(event("ADDED", &node_json("a", 5)), Ok(WatchItem::Changed(_))));
    assert!(matches!(event("DELETED", &node_json("a", 5)), Ok(WatchItem::Deleted(_))));
    let bookmark = r#"{"kind":"Node","metadata":{"resourceVersion":"44"},"spec":{}}"#;
    assert_eq!(event("BOOKMARK", bookmark), Ok(WatchItem::Bookmark(version(44))));
    let gone = r#"{"kind":"Status","code":410,"reason":"Expired","message":"too old"}"#;
    assert_eq!(event("ERROR", gone), Ok(WatchItem::Failed(Failure::Gone)));
    assert!(matches!(event("NEW", "{}"), Ok(WatchItem::Unreadable(_))));
    assert!(parse_event(br#"{"type":"ADDED","obj"#, &prefix).is_err());
}

#[test]
fn answers_that_are_failures_are_told_apart() {
    let behind = br#"{"code":504,"reason":"Timeout","message":"Too large resource version: 7, current: 5","details":{"retryAfterSeconds":1}}"#;
    assert_eq!(parse_status(behind, 504, None), Failure::Behind);
    let wait = Some(seconds(3));
    assert_eq!(parse_status(b"", 429, wait), Failure::Busy { code: 429, retry_after: seconds(3) });
    assert_eq!(parse_status(b"noise", 410, None), Failure::Gone);
    let forbidden = parse_status(br#"{"reason":"Forbidden","message":"no\u001bway"}"#, 403, None);
    assert_eq!(forbidden.to_string(), "the API server answers 403 Forbidden: no way");
}

proptest! {
    #[test]
    fn noise_is_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let prefix = AnnotationPrefix::default();
        drop(parse_page(&bytes, &prefix));
        drop(parse_event(&bytes, &prefix));
        drop(parse_status(&bytes, 500, None));
    }
}
