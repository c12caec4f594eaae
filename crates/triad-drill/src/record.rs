//! Who the primary is, as the databases' agents say: before, while and after things break.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::bail;
use futures_util::future::join_all;
use serde::Serialize;
use tokio::time::{Instant, sleep, timeout};
use triad_lab::Lab;
use triad_model::{Design, FailoverReport, FailoverTimes, ServerName};

use crate::fault::run_directory;

/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// An agent that says nothing for so long is not waited for.
const ANSWER_LIMIT: Duration = Duration::from_millis(300);

/// The record that all agree on, from when it was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RecordSeen {
    /// In milliseconds since the load began; 0 for what was there before.
    pub at_ms: u64,
    /// Grows with every new primary.
    pub epoch: u64,
    /// Grows with every change.
    pub version: u64,
    /// Who takes writes.
    pub primary: ServerName,
    /// Those that have every acknowledged write, together.
    pub in_sync: BTreeSet<ServerName>,
    /// Whether these are all databases of the design.
    pub whole: bool,
}

/// The changes that were seen of it, shared with whoever breaks things.
#[derive(Clone, Default)]
pub(crate) struct Records(Arc<Mutex<Vec<RecordSeen>>>);

impl Records {
    /// All of them so far, in the order of time.
    pub fn all(&self) -> Vec<RecordSeen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// `design` as it is now: with the primary that the record names.
    pub fn applied_to(&self, design: &Design) -> Design {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut design = design.clone();
        if let (Some(database), Some(RecordSeen { primary, .. })) = (&mut design.database, seen.last()) {
            let members: Vec<ServerName> = database.members().cloned().collect();
            database.replicas = members.into_iter().filter(|name| name != primary).collect();
            database.primary.clone_from(primary);
        }
        design
    }

    /// Adds what agents say now, if that is new.
    pub async fn look(&self, lab: &Lab, design: &Design, began: Instant) {
        let newest = answers(lab, design).await.into_iter().max_by_key(|report| report.version);
        let Some(FailoverReport { epoch, version, primary: Some(primary), in_sync, .. }) = newest else { return };
        let in_sync: BTreeSet<ServerName> = in_sync.into_iter().collect();
        let whole = design.database.iter().flat_map(|database| database.members()).all(|name| in_sync.contains(name));
        let at_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.last().is_none_or(|last| last.version < version) {
            seen.push(RecordSeen { at_ms, epoch, version, primary, in_sync, whole });
        }
    }

    /// Looks again and again; never ends.
    pub async fn watch(&self, lab: &Lab, design: &Design, began: Instant) {
        loop {
            self.look(lab, design, began).await;
            sleep(LOOK_EVERY).await;
        }
    }
}

/// What each database's agent that answers knows of the record; nothing where no replica takes over by itself.
async fn answers(lab: &Lab, design: &Design) -> Vec<FailoverReport> {
    let Some(database) = design.database.as_ref().filter(|database| !database.replicas.is_empty()) else {
        return Vec::new();
    };
    let doors: Vec<_> = database.members().map(|server| run_directory(lab, server).join("agent.sock")).collect();
    let reports = join_all(doors.iter().map(|door| ask(door))).await;
    reports.into_iter().flatten().filter(|report| report.version > 0).collect()
}

async fn ask(door: &Path) -> Option<FailoverReport> {
    let report = timeout(ANSWER_LIMIT, triad_api::local_report(door)).await.ok()?.ok()?;
    report.database?.failover
}

/// How the last new primary since epoch `since` took over, as it saw that itself.
pub(crate) async fn last_times(lab: &Lab, design: &Design, since: u64) -> Option<FailoverTimes> {
    let times = answers(lab, design).await.into_iter().filter_map(|report| report.last);
    times.filter(|times| times.from_epoch >= since).max_by_key(|times| times.from_epoch)
}

/// Waits until every database has every acknowledged write, by the record, and all that answer know the same record.
///
/// # Errors
/// If that is not so within `limit`.
pub(crate) async fn wait_until_whole(lab: &Lab, design: &Design, limit: Duration) -> anyhow::Result<()> {
    let deadline = Instant::now() + limit;
    loop {
        let reports = answers(lab, design).await;
        let members: BTreeSet<&ServerName> = design.database.iter().flat_map(|database| database.members()).collect();
        let is_whole = |report: &FailoverReport| report.in_sync.iter().collect::<BTreeSet<_>>() == members;
        // Where nobody speaks of a record, there is none to wait for; health says whether agents answer.
        if reports.windows(2).all(|pair| pair[0].version == pair[1].version) && reports.iter().all(is_whole) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let told: Vec<String> = reports.iter().map(|report| report.why.clone()).collect();
            bail!("not all databases are in sync: {}", told.join("; "));
        }
        sleep(LOOK_EVERY).await;
    }
}

/// When, after `from_ms` and before `to_ms`, the in-sync set was whole for good, in milliseconds after `from_ms`; `None`
/// if it is not at the end of that, or nothing is known.
pub(crate) fn whole_after_ms(records: &[RecordSeen], from_ms: u64, to_ms: u64) -> Option<u64> {
    let known: Vec<&RecordSeen> = records.iter().take_while(|record| record.at_ms < to_ms).collect();
    let since = known.iter().rev().take_while(|record| record.whole).last()?;
    Some(since.at_ms.saturating_sub(from_ms))
}

#[cfg(test)]
mod tests {
    use triad_model::ServerName;

    use super::{RecordSeen, whole_after_ms};

    fn records(changes: &[(u64, bool)]) -> Vec<RecordSeen> {
        let seen = |(version, &(at_ms, whole)): (u64, &(u64, bool))| RecordSeen {
            at_ms,
            epoch: 1,
            version,
            primary: ServerName::new("srv3").expect("a name"),
            in_sync: std::collections::BTreeSet::new(),
            whole,
        };
        (1..).zip(changes).map(seen).collect()
    }

    #[test]
    fn the_set_is_whole_from_when_it_stays_so() {
        let seen = records(&[(0, true), (3_400, false), (5_000, true), (5_050, true), (9_000, false)]);
        assert_eq!(whole_after_ms(&seen, 3_000, 9_000), Some(2_000), "a change that leaves it whole is none");
        assert_eq!(whole_after_ms(&seen, 3_000, 10_000), None, "it broke again");
        assert_eq!(whole_after_ms(&seen, 3_000, 4_000), None);
        assert_eq!(whole_after_ms(&seen, 1_000, 3_000), Some(0), "nothing happened to it");
        assert_eq!(whole_after_ms(&[], 1_000, 3_000), None);
    }
}
