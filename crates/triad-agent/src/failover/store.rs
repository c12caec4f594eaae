//! The record, as it is kept where all agree, and what this agent knows of it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::watch;
use triad_cluster::{Coordination, PRIMARY_KEY, Seen, Swap, Versioned};
use triad_failover::Record;
use triad_model::ServerName;

/// Time for which what a majority vouched for is gone by.
const VALID_FOR: Duration = Duration::from_secs(2);
/// Time after which it is not known any more that nothing is newer.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(1);
/// Where a copy of the record is kept, under the agent's state.
pub(crate) const RECORD_COPY: &str = "database/record.json";

/// The record.
pub(crate) struct Store {
    coordination: Coordination,
    pub seen: watch::Receiver<Seen>,
    /// The newest record, and the revision it stands under.
    known: Option<(Record, u64)>,
    /// The version that this agent wrote last, while it is sure that nothing it sent may still arrive.
    pub made: Option<u64>,
    /// A copy on this server's disk: where it says that there was a record and there is none, nobody begins anew.
    copy: PathBuf,
}

impl Store {
    pub fn new(coordination: Coordination, seen: watch::Receiver<Seen>, state: &Path) -> Self {
        Self { coordination, seen, known: None, made: None, copy: state.join(RECORD_COPY) }
    }

    /// Takes up what was seen lately; the record, if it can be gone by.
    pub fn look(&mut self) -> Option<Record> {
        let (value, is_valid) = {
            let seen = self.seen.borrow_and_update();
            let is_valid = seen.confirmed.is_some_and(|at| at.elapsed() < VALID_FOR);
            (seen.value.clone(), is_valid)
        };
        if let Some(value) = value {
            self.learn(&value);
        }
        self.known.as_ref().filter(|_| is_valid).map(|(record, _)| record.clone())
    }

    /// The newest record that was ever read here, however long ago.
    pub fn newest(&self) -> Option<&Record> {
        self.known.as_ref().map(|(record, _)| record)
    }

    /// Whether a majority vouched just now for what is known.
    pub fn is_confirmed(&self) -> bool {
        self.seen.borrow().confirmed.is_some_and(|at: Instant| at.elapsed() < CONFIRMED_WITHIN)
    }

    /// Whether a majority says that there is no record.
    pub fn is_absent(&self) -> bool {
        self.known.is_none() && self.is_confirmed() && self.seen.borrow().value.is_none()
    }

    /// Whether this server has ever seen one.
    pub fn has_copy(&self) -> bool {
        self.copy.exists()
    }

    fn learn(&mut self, value: &Versioned) {
        match serde_json::from_str::<Record>(&value.value) {
            // Not by revisions: those begin anew where voters do.
            Ok(record) if self.newest().is_some_and(|known| known.version >= record.version) => {}
            Ok(record) => {
                if let Err(error) = self.keep_copy(&value.value) {
                    tracing::warn!(%error, file = %self.copy.display(), "no copy of the database's record is kept");
                }
                self.known = Some((record, value.revision));
            }
            Err(error) => tracing::error!(%error, "the database's record cannot be understood; it is left alone"),
        }
    }

    /// It is not flushed: users wait while a record changes, and that there was one is told by an older copy, too.
    fn keep_copy(&self, text: &str) -> std::io::Result<()> {
        let new = self.copy.with_extension("new");
        std::fs::write(&new, text)?;
        std::fs::rename(new, &self.copy)
    }

    /// Writes the first record: `primary` alone.
    pub async fn begin(&mut self, primary: &ServerName) -> anyhow::Result<bool> {
        let in_sync = BTreeSet::from([primary.clone()]);
        self.write(None, Record { version: 1, epoch: 1, primary: primary.clone(), in_sync }).await
    }

    /// Writes `next` in place of the record that is known; whether it stands now.
    pub async fn swap(&mut self, next: Record) -> anyhow::Result<bool> {
        let (record, revision) = self.known.as_ref().context("no record was read")?;
        if next.version != record.version + 1 {
            return Ok(false);
        }
        let revision = *revision;
        self.write(Some(revision), next).await
    }

    async fn write(&mut self, expected: Option<u64>, next: Record) -> anyhow::Result<bool> {
        self.made = None;
        let text = serde_json::to_string(&next)?;
        match self.coordination.swap(PRIMARY_KEY, expected, &text).await? {
            Swap::Done { revision } => {
                tracing::info!(
                    version = next.version,
                    epoch = next.epoch,
                    primary = next.primary.as_str(),
                    "wrote the record"
                );
                self.made = Some(next.version);
                self.learn(&Versioned { value: text, revision });
                Ok(true)
            }
            Swap::Lost(there) => {
                if let Some(there) = there {
                    self.learn(&there);
                }
                Ok(false)
            }
        }
    }
}
