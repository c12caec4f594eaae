//! Coordination: one record, changed by compare-and-swap, on a majority of voters. Writes may arrive late, after their
//! sender has given up.

use triad_failover::Record;

/// The store, and what is on its way to it.
pub struct Store {
    pub record: Record,
    late: Vec<Late>,
}

struct Late {
    at: u64,
    write: Record,
}

impl Store {
    /// Holds `record`.
    pub fn new(record: Record) -> Self {
        Self { record, late: Vec::new() }
    }

    /// Whether `write` is the next version, and takes its place.
    pub fn swap(&mut self, write: &Record) -> bool {
        let next = write.version == self.record.version + 1;
        if next {
            self.record = write.clone();
        }
        next
    }

    /// `write` will arrive at the time `at`; nobody hears what becomes of it.
    pub fn swap_late(&mut self, write: Record, at: u64) {
        self.late.push(Late { at, write });
    }

    /// What arrives by `now`.
    pub fn tick(&mut self, now: u64) {
        let (due, late) = std::mem::take(&mut self.late).into_iter().partition(|late| late.at <= now);
        self.late = late;
        let due: Vec<Late> = due;
        due.iter().for_each(|late| _ = self.swap(&late.write));
    }
}
