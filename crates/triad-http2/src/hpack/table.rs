//! The table of one direction (RFC 7541 §2.3.2, §4): fields that were sent, the oldest thrown out first.

use std::collections::VecDeque;
use std::ops::Range;

use super::Kind;

/// What an entry counts beside its texts (RFC 7541 §4.1).
const ENTRY_OVERHEAD: usize = 32;

/// The texts stand one behind the other in one buffer, so that an entry costs no allocation.
#[derive(Debug)]
pub(super) struct Table {
    texts: Vec<u8>,
    /// Bytes that were thrown away before `texts` began, so that places of entries hold.
    gone: usize,
    /// The oldest first.
    entries: VecDeque<Entry>,
    size: usize,
    size_max: usize,
    /// Entries that were ever added.
    added: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Where its name starts, its value right behind.
    at: usize,
    name_length: usize,
    value_length: usize,
    kind: Kind,
    fits: bool,
}

impl Entry {
    fn size(&self) -> usize {
        self.name_length + self.value_length + ENTRY_OVERHEAD
    }
}

/// What an entry holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held<'a> {
    pub name: &'a [u8],
    pub value: &'a [u8],
    pub kind: Kind,
    pub fits: bool,
}

impl Table {
    /// Without entries.
    pub fn new(size_max: usize) -> Self {
        Self { texts: Vec::new(), gone: 0, entries: VecDeque::new(), size: 0, size_max, added: 0 }
    }

    /// The entry that was added last but `back`.
    pub fn get(&self, back: usize) -> Option<Held<'_>> {
        let index = self.entries.len().checked_sub(back + 1)?;
        let Entry { at, name_length, value_length, kind, fits } = self.entries[index];
        let (name, rest) = self.texts[at - self.gone..].split_at(name_length);
        Some(Held { name, value: &rest[..value_length], kind, fits })
    }

    /// Adds an entry with a name that is not in this table.
    pub fn add(&mut self, name: &[u8], value: &[u8], kind: Kind, fits: bool) {
        let at = self.gone + self.texts.len();
        self.texts.extend_from_slice(name);
        self.push(at, name.len(), value, kind, fits);
    }

    /// Adds an entry with the name of the one that was added last but `back`, even if that is thrown out for it.
    pub fn add_with_name_of(&mut self, back: usize, value: &[u8], fits: bool) {
        let Some(Entry { at: name_at, name_length, kind, .. }) = self.entries.iter().rev().nth(back).copied() else {
            return;
        };
        let name: Range<usize> = name_at - self.gone..name_at - self.gone + name_length;
        let at = self.gone + self.texts.len();
        self.texts.extend_from_within(name);
        self.push(at, name_length, value, kind, fits);
    }

    /// Entries that were ever added; a name for the last of them.
    pub fn added(&self) -> u32 {
        self.added
    }

    /// How many were added after the one that was the `number`th, if that is still here.
    pub fn back(&self, number: u32) -> Option<usize> {
        let back = self.added.wrapping_sub(number) as usize;
        (number != 0 && back < self.entries.len()).then_some(back)
    }

    /// The bound of [`Table::set_size_max`].
    pub fn size_max(&self) -> usize {
        self.size_max
    }

    /// Bytes that it may hold from now on, as RFC 7541 §4.1 counts them.
    pub fn set_size_max(&mut self, size_max: usize) {
        self.size_max = size_max;
        self.throw_out();
    }

    fn push(&mut self, at: usize, name_length: usize, value: &[u8], kind: Kind, fits: bool) {
        self.texts.extend_from_slice(value);
        let entry = Entry { at, name_length, value_length: value.len(), kind, fits };
        self.size += entry.size();
        self.entries.push_back(entry);
        self.added = self.added.wrapping_add(1);
        self.throw_out();
    }

    fn throw_out(&mut self) {
        while self.size > self.size_max {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.size -= oldest.size();
        }
        let end = self.gone + self.texts.len();
        let unused = self.entries.front().map_or(end, |oldest| oldest.at) - self.gone;
        if unused > self.size_max {
            self.texts.drain(..unused);
            self.gone += unused;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::{Kind, Table};

    #[derive(Clone, Debug)]
    enum Step {
        Add(usize, usize),
        AddNamed(usize, usize),
        Resize(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0usize..60, 0usize..100).prop_map(|(name, value)| Step::Add(name, value)),
            3 => (0usize..4, 0usize..100).prop_map(|(back, value)| Step::AddNamed(back, value)),
            1 => (0usize..300).prop_map(Step::Resize),
        ]
    }

    proptest! {
        /// Against a list of texts.
        #[test]
        fn it_holds_what_was_added_last_and_fits(steps in proptest::collection::vec(step(), 0..100)) {
            let (mut table, mut model, mut size_max) = (Table::new(300), VecDeque::new(), 300);
            for (number, step) in steps.into_iter().enumerate() {
                let text = |length: usize| vec![b'a' + (number % 26) as u8; length];
                match step {
                    Step::Add(name, value) => {
                        table.add(&text(name), &text(value), Kind::Other, true);
                        model.push_front((text(name), text(value)));
                    }
                    Step::AddNamed(back, value) => {
                        table.add_with_name_of(back, &text(value), true);
                        if let Some((name, _)) = model.get(back).cloned() {
                            model.push_front((name, text(value)));
                        }
                    }
                    Step::Resize(size) => {
                        table.set_size_max(size);
                        size_max = size;
                    }
                }
                let size = |model: &VecDeque<(Vec<u8>, Vec<u8>)>| {
                    model.iter().map(|(name, value)| name.len() + value.len() + 32).sum::<usize>()
                };
                while size(&model) > size_max {
                    model.pop_back();
                }
                prop_assert_eq!(table.size, size(&model));
                prop_assert!(table.texts.len() <= 3 * 300 + 160, "texts are thrown away");
                for back in 0..=model.len() {
                    let held = table.get(back).map(|held| (held.name.to_vec(), held.value.to_vec()));
                    prop_assert_eq!(held.as_ref(), model.get(back));
                }
            }
        }
    }
}
