//! What a kernel table holds, compared with what it shall hold.

use std::collections::BTreeMap;

/// Whose word the desired state is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// The store's, of now.
    Store,
    /// Our own memory, of some time ago.
    Memory,
}

/// What a table lacks, has wrong and has too much of.
pub(super) struct Difference<K, V> {
    pub(super) missing: Vec<(K, V)>,
    pub(super) wrong: Vec<(K, V)>,
    pub(super) surplus: Vec<K>,
}

impl<K, V> Difference<K, V> {
    pub(super) fn within(mut self, trust: Trust) -> Self {
        if trust == Trust::Memory {
            self.wrong.clear();
            self.surplus.clear();
        }
        self
    }

    pub(super) fn changes(&self) -> impl Iterator<Item = &(K, V)> {
        self.wrong.iter().chain(&self.missing)
    }
}

pub(super) fn difference<K: Copy + Ord, V: Copy + PartialEq>(
    actual: &BTreeMap<K, V>,
    wanted: &BTreeMap<K, V>,
) -> Difference<K, V> {
    let mut found = Difference { missing: Vec::new(), wrong: Vec::new(), surplus: Vec::new() };
    for (key, value) in wanted {
        match actual.get(key) {
            Some(present) if present == value => {}
            Some(_) => found.wrong.push((*key, *value)),
            None => found.missing.push((*key, *value)),
        }
    }
    found.surplus = actual.keys().filter(|key| !wanted.contains_key(key)).copied().collect();
    found
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn at(n: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, n)
    }

    fn found() -> Difference<Ipv4Addr, u8> {
        let actual = BTreeMap::from([(at(1), 1), (at(2), 2), (at(3), 3)]);
        difference(&actual, &BTreeMap::from([(at(1), 1), (at(2), 9), (at(4), 4)]))
    }

    #[test]
    fn only_what_differs_is_written() {
        let difference = found().within(Trust::Store);
        assert_eq!(difference.changes().copied().collect::<Vec<_>>(), [(at(2), 9), (at(4), 4)]);
        assert_eq!(difference.surplus, [at(3)]);
    }

    #[test]
    fn a_memory_adds_and_neither_changes_nor_removes() {
        let difference = found().within(Trust::Memory);
        assert_eq!(difference.changes().copied().collect::<Vec<_>>(), [(at(4), 4)]);
        assert!(difference.surplus.is_empty());
    }
}
