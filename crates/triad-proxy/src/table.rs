//! Patterns of requests, made ready: a table of whole paths and one of prefixes.
//!
//! Invariant: which entry a request meets is the most specific one, as [`triad_model::redirect_for`] and
//! [`triad_model::route_for`] say. What finding it costs grows with the slashes of the path and the different lengths of
//! prefixes, not with the number of entries, and nothing is allocated.

use std::collections::{BTreeSet, HashMap};

use triad_model::RequestPattern;

/// What `T` a request meets.
#[derive(Debug)]
pub(crate) struct Table<T> {
    whole: Paths<T>,
    prefixes: Paths<T>,
    /// Lengths of prefixes, the longest first: what is looked up in `prefixes`, however long a path is.
    lengths: Box<[usize]>,
}

/// Under the same path, those of one host stand before that of all.
type Paths<T> = HashMap<Box<[u8]>, OfHosts<T>>;
type OfHosts<T> = Vec<(Option<Box<str>>, T)>;

impl<T> Table<T> {
    /// `None` if there are no entries.
    pub fn of<'p>(entries: impl Iterator<Item = (&'p RequestPattern, T)>) -> Option<Self> {
        let (mut whole, mut prefixes) = (Paths::new(), Paths::new());
        for (pattern, entry) in entries {
            let paths = if pattern.is_prefix { &mut prefixes } else { &mut whole };
            let host = pattern.host.as_deref().map(Into::into);
            paths.entry(pattern.path.as_bytes().into()).or_default().push((host, entry));
        }
        whole.values_mut().chain(prefixes.values_mut()).for_each(|entries| entries.sort_by_key(|it| it.0.is_none()));
        let lengths: BTreeSet<usize> = prefixes.keys().map(|prefix| prefix.len()).collect();
        let some = !whole.is_empty() || !prefixes.is_empty();
        some.then(|| Self { whole, prefixes, lengths: lengths.into_iter().rev().collect() })
    }

    /// The entry that a path, without query, on a host meets, and what of the path its prefix leaves.
    pub fn find<'a>(&self, host: &str, path: &'a [u8]) -> Option<(&T, &'a [u8])> {
        if let Some(entry) = of_host(self.whole.get(path), host) {
            return Some((entry, b""));
        }
        // Prefixes end in a slash, so only where the path has one can one end.
        let lengths = self.lengths.iter().filter(|length| path.get(**length - 1) == Some(&b'/'));
        lengths.map(|length| path.split_at(*length)).find_map(|(prefix, rest)| {
            let entry = of_host(self.prefixes.get(prefix), host)?;
            Some((entry, rest))
        })
    }
}

fn of_host<'a, T>(entries: Option<&'a OfHosts<T>>, host: &str) -> Option<&'a T> {
    let mut entries = entries?.iter();
    entries.find(|(own, _)| own.as_deref().is_none_or(|own| own == host)).map(|(_, entry)| entry)
}
