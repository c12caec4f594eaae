//! How long each part of the last failover took, on the server that took over.

use std::time::Duration;

use triad_failover::{Decision, Promotion};
use triad_model::{FailoverTimes, ServerName};

use super::Round;

/// Of one failover: when it came so far.
#[derive(Clone, Copy, Debug, Default)]
struct Marks {
    epoch: u64,
    /// The primary looked dead here.
    suspected: Option<Duration>,
    /// To two servers.
    agreed: Option<Duration>,
    /// Nobody could acknowledge any more.
    fenced: Option<Duration>,
    /// What was received is applied.
    drained: Option<Duration>,
    /// The record names this server.
    claimed: Option<Duration>,
}

/// The last, and the one under way.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    marks: Marks,
    last: Option<FailoverTimes>,
}

impl Timeline {
    /// Takes in what is decided next.
    pub fn note(&mut self, round: &Round, own: &ServerName, decision: &Decision) {
        let Some(record) = &round.record else { return };
        if record.primary == *own {
            // Claimed: what remains is to open.
            if self.marks.agreed.is_some() {
                self.marks.claimed.get_or_insert(round.now);
            }
            return;
        }
        let primary = round.others.get(&record.primary);
        let is_suspected =
            primary.is_none_or(|it| it.silent || it.said.database == Some(triad_failover::Database::Stopped));
        if !is_suspected || self.marks.epoch != record.epoch {
            self.marks = Marks { epoch: record.epoch, ..Marks::default() };
        }
        if !is_suspected {
            return;
        }
        let marks = &mut self.marks;
        marks.suspected.get_or_insert(round.now);
        match decision {
            Decision::Promote(Promotion::Stop(_)) => _ = marks.agreed.get_or_insert(round.now),
            Decision::Promote(Promotion::Drain) => _ = marks.fenced.get_or_insert(round.now),
            Decision::Promote(Promotion::Claim(_)) => {
                marks.fenced.get_or_insert(round.now);
                marks.drained.get_or_insert(round.now);
            }
            _ => {}
        }
    }

    /// It takes writes since `now`.
    pub fn opened(&mut self, opened: bool, now: Duration) {
        let Marks { epoch, suspected: Some(suspected), agreed, fenced, drained, claimed } = self.marks else { return };
        if !opened || agreed.is_none() {
            return;
        }
        let ms = |at: Option<Duration>| {
            at.map_or(0, |at| u64::try_from((at.saturating_sub(suspected)).as_millis()).unwrap_or(u64::MAX))
        };
        self.last = Some(FailoverTimes {
            from_epoch: epoch,
            agreed_ms: ms(agreed),
            fenced_ms: ms(fenced),
            drained_ms: ms(drained),
            claimed_ms: ms(claimed),
            opened_ms: ms(Some(now)),
        });
        tracing::warn!(times = ?self.last, "took over as the primary");
        self.marks = Marks::default();
    }

    /// The last one.
    pub fn last(&self) -> Option<FailoverTimes> {
        self.last.clone()
    }
}
