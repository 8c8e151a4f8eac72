//! Any run of events, faults and lists ends, once a list gets through, at the API's state; and
//! on the way no record ever goes back.

use std::collections::BTreeMap;

use super::*;

/// An API server: every change has the next version.
#[derive(Debug, Default)]
struct Api {
    version: u64,
    nodes: BTreeMap<String, Observed>,
    log: Vec<(u64, WatchItem)>,
}

impl Api {
    fn put(&mut self, name: &str, value: u8) {
        self.version += 1;
        let seen = seen(name, self.version, &value.to_string());
        self.nodes.insert(name.to_owned(), seen.clone());
        self.log.push((self.version, WatchItem::Changed(seen)));
    }

    fn delete(&mut self, name: &str) {
        if let Some(last) = self.nodes.remove(name) {
            self.version += 1;
            let seen = Observed { version: version(self.version), ..last };
            self.log.push((self.version, WatchItem::Deleted(seen)));
        }
    }

    fn list(&self) -> Page {
        page(self.version, self.nodes.values().cloned().collect())
    }

    fn since(&self, from: &Version) -> Vec<WatchItem> {
        let newer = |number: u64| from.is_older_than(&version(number));
        self.log.iter().filter(|(number, _)| newer(*number)).map(|(_, item)| item.clone()).collect()
    }
}

#[derive(Debug, Clone)]
enum Step {
    Put(String, u8),
    Delete(String),
    /// The driver does its next thing, and this befalls it.
    Act(Fate),
}

#[derive(Debug, Clone, Copy)]
enum Fate {
    Well,
    Gone,
    Broken,
    /// The list is as old as this many changes; of events, this many come twice.
    Odd(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    let fate = prop_oneof![
        4 => Just(Fate::Well),
        1 => Just(Fate::Gone),
        1 => Just(Fate::Broken),
        1 => (1_u64..5).prop_map(Fate::Odd),
    ];
    prop_oneof![
        3 => ("[a-d]", 0_u8..3).prop_map(|(name, value)| Step::Put(name, value)),
        1 => "[a-d]".prop_map(Step::Delete),
        4 => fate.prop_map(Step::Act),
    ]
}

fn act(reflector: &mut Reflector, api: &Api, stale: &[Page], fate: Fate, now: &mut Duration) {
    match (reflector.next(*now), fate) {
        (Next::Wait { until }, _) => *now = until,
        (_, Fate::Gone) => reflector.failed(*now, &Failure::Gone),
        (_, Fate::Broken) => reflector.failed(*now, &Failure::Timeout),
        (Next::List(_), Fate::Well) => reflector.page(*now, api.list()),
        (Next::List(_), Fate::Odd(age)) => {
            let index = stale.len().saturating_sub(usize::try_from(age).unwrap());
            reflector.page(*now, stale.get(index).cloned().unwrap_or_else(|| api.list()));
        }
        (Next::Watch { .. }, _) => reflector.watch_opened(*now),
        (Next::Follow { .. }, fate) => {
            let mut items = reflector.version().map(|from| api.since(from)).unwrap_or_default();
            if let Fate::Odd(again) = fate {
                let again = api.log.iter().rev().take(usize::try_from(again).unwrap());
                items.extend(again.map(|(_, item)| item.clone()));
            }
            for item in items {
                reflector.heard(*now, item);
            }
        }
    }
}

proptest! {
    #[test]
    fn the_mirror_never_goes_back_and_ends_at_the_apis_state(
        steps in prop::collection::vec(any_step(), 1..60), seed: u64,
    ) {
        let mut api = Api { version: 1, ..Api::default() };
        let config = ReflectorConfig { restored_after: Duration::MAX, ..ReflectorConfig::default() };
        let mut reflector = Reflector::new(config, seed);
        let mut now = Duration::ZERO;
        let mut stale = Vec::new();
        for step in steps {
            stale.push(api.list());
            match step {
                Step::Put(name, value) => api.put(&name, value),
                Step::Delete(name) => api.delete(&name),
                Step::Act(fate) => {
                    let before = reflector.version().cloned();
                    act(&mut reflector, &api, &stale, fate, &mut now);
                    let after = reflector.version().cloned();
                    if let (Some(before), Some(after)) = (before, after) {
                        prop_assert!(!after.is_older_than(&before));
                    }
                }
            }
        }
        for _ in 0..8 {
            act(&mut reflector, &api, &stale, Fate::Well, &mut now);
        }
        let wanted: Vec<String> = api
            .nodes
            .values()
            .map(|seen| format!("{}={}", seen.record.name, seen.record.annotation(Key::PublicIp).unwrap()))
            .collect();
        prop_assert_eq!(names(&reflector), wanted);
    }
}
