//! Wrong rules, each of which breaks one that keeps writes safe.

use std::collections::BTreeMap;

use triad_failover::{
    Database, Decided, Decision, Degrading, Member, Promotion, Record, Restoring, View, Yielding, decide,
};

use crate::world::Rule;

/// All of them: what they do wrong, and a history before the first that shows it, for some take thousands.
pub const ALL: &[(&str, u64, Rule)] = &[
    ("measures without having stopped", 0, measures_without_stopping),
    ("takes over without asking who is silent", 0, forgets_the_silent),
    ("starts receiving again under the same version", 0, starts_again_unseen),
    ("claims before it has applied what it received", 0, claims_undrained),
    ("counts who restarted", 0, counts_the_restarted),
    ("shrinks the set before it bars the replica", 0, shrinks_first),
    ("stops waiting before the set has shrunk", 0, stops_waiting_first),
    ("grows the set before it waits for the replica", 0, grows_first),
    ("shrinks the set before others have what the replica acknowledged", 2600, shrinks_too_early),
    ("keeps in the set who has less than the new primary", 0, keeps_who_has_less),
    ("opens by a version that a late write may follow", 2500, opens_by_an_old_version),
    ("takes over without being in sync", 0, takes_over_out_of_sync),
    ("hands over before it has closed", 1600, hands_over_open),
    ("hands over to who lacks the last writes", 0, hands_over_early),
    ("reopens though what it handed over may arrive", 1000, reopens_unsure),
    ("starts as the primary whatever the record says", 0, starts_as_primary),
];

/// Decides by a view in which all databases are as `change` makes them.
fn with_databases(view: &View<'_>, change: impl Fn(&mut Database)) -> Decided {
    let mut database = view.database.clone();
    change(&mut database);
    let mut others: BTreeMap<_, Member> = view.others.clone();
    others.values_mut().filter_map(|member| member.said.database.as_mut()).for_each(change);
    decide(&View { database: &database, others: &others, ..*view })
}

fn with_record(view: &View<'_>, change: impl Fn(&mut Record)) -> Decided {
    let record = view.record.cloned().map(|mut record| {
        change(&mut record);
        record
    });
    decide(&View { record: record.as_ref(), ..*view })
}

fn instead(decided: Decided, change: impl Fn(&Decision) -> Option<Decision>) -> Decided {
    let decision = change(&decided.decision).unwrap_or(decided.decision);
    Decided { decision, ..decided }
}

fn measures_without_stopping(view: &View<'_>) -> Decided {
    let version = view.record.map(|record| record.version);
    with_databases(view, |database| {
        if let Database::Replica { stopped_for, receiving, .. } = database
            && *receiving
            && view.record.is_some_and(|record| view.suspects().contains(&record.primary))
        {
            (*stopped_for, *receiving) = (version, false);
        }
    })
}

fn forgets_the_silent(view: &View<'_>) -> Decided {
    with_record(view, |record| {
        let primary = record.primary.clone();
        record.in_sync.retain(|name| *name == primary || view.others.get(name).is_none_or(|other| !other.silent));
    })
}

fn starts_again_unseen(view: &View<'_>) -> Decided {
    instead(decide(view), |decision| match decision {
        Decision::Promote(Promotion::Release(_)) => Some(Decision::Follow),
        _ => None,
    })
}

fn claims_undrained(view: &View<'_>) -> Decided {
    with_databases(view, |database| {
        if let Database::Replica { received, applied, .. } = database {
            *applied = *received;
        }
    })
}

fn counts_the_restarted(view: &View<'_>) -> Decided {
    with_databases(view, |database| {
        if let Database::Replica { whole, .. } = database {
            *whole = true;
        }
    })
}

fn shrinks_first(view: &View<'_>) -> Decided {
    let record = view.record.cloned();
    instead(decide(view), |decision| match (decision, &record) {
        (Decision::Degrade(Degrading::Bar(gone)), Some(record)) if record.in_sync.contains(gone) => {
            let mut next = Record { version: record.version + 1, ..record.clone() };
            next.in_sync.remove(gone);
            Some(Decision::Degrade(Degrading::Shrink(next)))
        }
        _ => None,
    })
}

fn stops_waiting_first(view: &View<'_>) -> Decided {
    let waits = matches!(view.database, Database::Primary { waits: true, .. });
    instead(decide(view), |decision| match decision {
        Decision::Degrade(Degrading::Shrink(_)) if waits => Some(Decision::Degrade(Degrading::StopWaiting)),
        _ => None,
    })
}

fn grows_first(view: &View<'_>) -> Decided {
    let record = view.record.cloned();
    instead(decide(view), |decision| match (decision, &record) {
        (Decision::Restore(Restoring::Invite(replica, _)), Some(record)) => {
            let mut next = Record { version: record.version + 1, ..record.clone() };
            next.in_sync.insert(replica.clone());
            Some(Decision::Restore(Restoring::Grow(next)))
        }
        _ => None,
    })
}

fn shrinks_too_early(view: &View<'_>) -> Decided {
    with_databases(view, |database| {
        if let Database::Primary { barred, .. } = database {
            barred.values_mut().for_each(|mark| *mark = 0);
        }
    })
}

fn keeps_who_has_less(view: &View<'_>) -> Decided {
    let before = view.record.cloned();
    instead(decide(view), |decision| match (decision, &before) {
        (Decision::Promote(Promotion::Claim(next)), Some(before)) if next.epoch > before.epoch => {
            let in_sync = before.in_sync.iter().filter(|name| **name != before.primary).cloned().collect();
            Some(Decision::Promote(Promotion::Claim(Record { in_sync, ..next.clone() })))
        }
        _ => None,
    })
}

fn opens_by_an_old_version(view: &View<'_>) -> Decided {
    decide(&View { made: view.record.map(|record| record.version), ..*view })
}

fn takes_over_out_of_sync(view: &View<'_>) -> Decided {
    with_record(view, |record| {
        record.in_sync.insert(view.me.clone());
    })
}

fn starts_as_primary(view: &View<'_>) -> Decided {
    instead(decide(view), |decision| match decision {
        Decision::Rejoin => Some(Decision::Promote(Promotion::Open)),
        _ => None,
    })
}

fn hands_over_open(view: &View<'_>) -> Decided {
    let decided = with_own(view, |database| {
        if let Database::Primary { closed, .. } = database {
            *closed = true;
        }
    });
    match decided.decision {
        Decision::Yield(Yielding::Hand(_)) => decided,
        _ => decide(view),
    }
}

fn hands_over_early(view: &View<'_>) -> Decided {
    let Database::Primary { closed: true, written, .. } = *view.database else { return decide(view) };
    with_databases(view, |database| {
        if let Database::Replica { received, applied, .. } = database {
            (*received, *applied) = (written, written);
        }
    })
}

fn reopens_unsure(view: &View<'_>) -> Decided {
    match view.database {
        Database::Primary { closed: true, .. } => {
            decide(&View { made: view.record.map(|record| record.version), ..*view })
        }
        _ => decide(view),
    }
}

/// Decides by a view in which the own database is as `change` makes it.
fn with_own(view: &View<'_>, change: impl Fn(&mut Database)) -> Decided {
    let mut database = view.database.clone();
    change(&mut database);
    decide(&View { database: &database, ..*view })
}
