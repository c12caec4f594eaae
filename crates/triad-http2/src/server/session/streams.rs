//! The streams of a connection.

use std::collections::VecDeque;

use super::stream::State;

/// Places that a connection without streams keeps.
const KEPT_MAX: usize = 4;

/// Names a stream as long as it is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    place: usize,
    pub id: u32,
}

/// Those that are open, and those that a task still holds. Places are used again, with their memory.
#[derive(Debug, Default)]
pub(super) struct Streams {
    places: Vec<State>,
    free: Vec<usize>,
    /// In the order of their numbers, which only grow.
    by_id: VecDeque<Key>,
    /// How many are open.
    pub open: usize,
}

impl Streams {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Adds one with a number above all others; what it remembers of the one before is memory.
    pub fn add(&mut self, id: u32) -> Key {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(State::default());
            self.places.len() - 1
        });
        self.places[place].begin(id);
        self.open += 1;
        let key = Key { place, id };
        self.by_id.push_back(key);
        key
    }

    /// The one with this number.
    pub fn find(&self, id: u32) -> Option<Key> {
        let at = self.by_id.binary_search_by_key(&id, |key| key.id).ok()?;
        Some(self.by_id[at])
    }

    /// What there is under `key`.
    pub fn get(&mut self, key: Key) -> Option<&mut State> {
        self.places.get_mut(key.place).filter(|state| state.id == key.id)
    }

    /// Forgets it.
    pub fn remove(&mut self, key: Key) {
        let Ok(at) = self.by_id.binary_search_by_key(&key.id, |key| key.id) else { return };
        self.by_id.remove(at);
        self.places[key.place].end();
        self.free.push(key.place);
    }

    /// All of them.
    pub fn keys(&self) -> Vec<Key> {
        self.by_id.iter().copied().collect()
    }

    /// All of them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut State> {
        self.places.iter_mut().filter(|state| state.id != 0)
    }

    /// Gives back the memory of places if nobody uses any, unless they are few.
    pub fn trim(&mut self) {
        if self.by_id.is_empty() && self.places.len() > KEPT_MAX {
            *self = Self::default();
        }
    }
}
