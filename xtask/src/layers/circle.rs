//! Circles of imports between modules that stand side by side.

use std::collections::{BTreeMap, BTreeSet};

use super::source::Name;

/// A file and a line of it.
type At = (String, usize);

/// Who imports whom, by names, and where first.
#[derive(Debug, Default)]
pub(super) struct Graph(BTreeMap<String, BTreeMap<String, At>>);

impl Graph {
    /// Adds an import. Each end is the module, and how many parts of its name are that of its layer: two
    /// modules below different siblings make those siblings depend on each other.
    pub(super) fn add(&mut self, from: (&Name, usize), to: (&Name, usize), at: At) {
        let shared = from.0.iter().zip(to.0).take_while(|(a, b)| a == b).count();
        let node = |(name, layer): (&Name, usize)| {
            let parts = name.len().min(layer.max(shared + 1));
            name.get(..parts).map(|parts| parts.join("::"))
        };
        // A parent and its child do not stand side by side, unless they are of different layers.
        let is_family = shared == from.0.len().min(to.0.len());
        if is_family && from.0.get(..from.1) == to.0.get(..to.1) {
            return;
        }
        if let (Some(from_node), Some(to_node)) = (node(from), node(to))
            && from_node != to_node
        {
            let imports = self.0.entry(from_node).or_default();
            imports.entry(to_node).or_insert(at);
        }
    }

    /// The circles, each once: where it begins, and its modules from the first in the alphabet back to it.
    pub(super) fn find(&self) -> impl Iterator<Item = (At, Vec<String>)> {
        let mut done = BTreeSet::new();
        let found = self.0.keys().filter_map(move |start| {
            let names = self.way_back(start, &done)?;
            done.extend(names.iter().cloned());
            let at = self.0.get(start)?.get(names.get(1)?)?.clone();
            Some((at, names))
        });
        found.collect::<Vec<_>>().into_iter()
    }

    /// The shortest way from a module back to itself.
    fn way_back(&self, start: &String, without: &BTreeSet<String>) -> Option<Vec<String>> {
        let mut seen = BTreeSet::new();
        let mut ways = std::collections::VecDeque::from([vec![start.clone()]]);
        while let Some(way) = ways.pop_front() {
            let Some(imports) = way.last().and_then(|last| self.0.get(last)) else {
                continue;
            };
            for next in imports.keys().filter(|next| !without.contains(*next)) {
                let longer = [&way[..], std::slice::from_ref(next)].concat();
                if next == start {
                    return Some(longer);
                }
                if seen.insert(next.clone()) {
                    ways.push_back(longer);
                }
            }
        }
        None
    }
}
