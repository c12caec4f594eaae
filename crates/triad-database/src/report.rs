use std::fmt::Write;

use triad_model::{DatabaseReport, DatabaseRole, State};

use crate::observe::{Observed, Receiver, Replication};
use crate::plan::{DatabasePlan, Duty};
use crate::steps::{foreign, has_applied};

/// The status variables that become metrics.
pub const COUNTERS: [&str; 21] = [
    "aborted_connects",
    "bytes_received",
    "bytes_sent",
    "com_commit",
    "com_delete",
    "com_insert",
    "com_select",
    "com_update",
    "innodb_buffer_pool_read_requests",
    "innodb_buffer_pool_reads",
    "innodb_row_lock_waits",
    "queries",
    "questions",
    "rpl_semi_sync_master_clients",
    "rpl_semi_sync_master_no_tx",
    "rpl_semi_sync_master_tx_avg_wait_time",
    "rpl_semi_sync_master_yes_tx",
    "slow_queries",
    "threads_connected",
    "threads_running",
    "uptime",
];

/// Lag from which a replica counts as degraded, in seconds.
const LAG_DEGRADED_S: u64 = 10;

/// What to tell about a server that answers.
pub fn report(observed: &Observed, plan: &DatabasePlan) -> DatabaseReport {
    let (state, mut detail) = standing(observed, plan);
    if plan.by_hand {
        let primary = match &plan.duty {
            Duty::Primary { .. } => &plan.server,
            Duty::Replica { primary } => &primary.name,
        };
        write!(detail, "; {primary} was promoted by hand: let the file say so as well").expect("a string takes all");
    }
    DatabaseReport {
        role: plan.role(),
        state,
        detail,
        gtid: match plan.duty {
            Duty::Primary { .. } => observed.logged.clone(),
            Duty::Replica { .. } => observed.applied.clone(),
        },
        semi_sync: observed.semi_sync(),
        replicas_connected: observed.replicas_connected(),
        lag_s: observed.replication.as_ref().and_then(|replication| replication.lag_s),
        counters: COUNTERS.iter().map(|name| ((*name).to_owned(), observed.counter(name))).collect(),
        failover: None,
    }
}

/// What to tell about a server that does not answer: on its way up until it `answered` once.
pub(crate) fn silent(plan: &DatabasePlan, answered: bool, why: String) -> DatabaseReport {
    untold(plan.role(), if answered { State::Down } else { State::Starting }, why)
}

/// What to tell about a server of which nothing is known but this.
pub fn untold(role: DatabaseRole, state: State, detail: String) -> DatabaseReport {
    DatabaseReport {
        role,
        state,
        detail,
        gtid: String::new(),
        semi_sync: false,
        replicas_connected: 0,
        lag_s: None,
        counters: Vec::new(),
        failover: None,
    }
}

fn standing(observed: &Observed, plan: &DatabasePlan) -> (State, String) {
    if let Some(why) = foreign(observed, plan) {
        return (State::Down, why);
    }
    match (&plan.duty, &observed.replication) {
        (Duty::Primary { .. }, Some(replication)) if plan.by_hand => {
            takes_over(replication, has_applied(observed, replication))
        }
        (Duty::Primary { .. }, _) => primary(observed, plan.replicas_expected()),
        (Duty::Replica { primary }, Some(replication)) => replica(replication, primary.name.as_str(), plan),
        (Duty::Replica { primary }, None) if plan.by_hand => {
            (State::Starting, format!("about to replicate from {}", primary.name))
        }
        (Duty::Replica { primary }, None) => {
            (State::Starting, format!("seeded from {}, about to replicate", primary.name))
        }
    }
}

fn takes_over(replication: &Replication, has_applied: bool) -> (State, String) {
    let stopped = "cannot take over: it stopped applying, and not all that it has received is applied";
    match &replication.applier_error {
        (1.., error) => (State::Down, format!("{stopped}: {error}")),
        // Starting it where both threads rest throws away what was received (MDEV-4698).
        _ if !replication.applier && !has_applied => {
            (State::Down, format!("{stopped}; `START SLAVE SQL_THREAD` gives up the rest"))
        }
        _ => (State::Starting, "about to take over: it applies what it has received".to_owned()),
    }
}

fn primary(observed: &Observed, expected: u64) -> (State, String) {
    let attached = observed.replicas_connected();
    let noun = if expected == 1 { "replica" } else { "replicas" };
    if observed.read_only {
        (State::Starting, "primary; about to accept writes".into())
    } else if expected == 0 {
        (State::Healthy, "primary; it has no replica".into())
    } else if attached < expected {
        (State::Degraded, format!("primary; {attached} of {expected} {noun} attached"))
    } else if observed.semi_sync() {
        (State::Healthy, format!("primary; {attached} {noun} acknowledge{}", if attached == 1 { "s" } else { "" }))
    } else {
        (State::Degraded, format!("primary; {attached} {noun} attached, commits do not wait for acknowledgement"))
    }
}

fn replica(replication: &Replication, primary: &str, plan: &DatabasePlan) -> (State, String) {
    let remedy = || format!("; move {} away, and it will be seeded again", plan.data_directory().display());
    if let (1.., error) = &replication.applier_error {
        return (State::Down, format!("stopped applying what {primary} sends: {error}{}", remedy()));
    }
    match (replication.receiver, replication.applier, &replication.receiver_error.1, replication.lag_s) {
        (Receiver::Running, true, _, Some(lag_s)) => {
            let state = if lag_s < LAG_DEGRADED_S { State::Healthy } else { State::Degraded };
            (state, format!("replicating from {primary}, {lag_s} s behind"))
        }
        (Receiver::Stopped, _, error, _) if !error.is_empty() => {
            (State::Down, format!("stopped receiving from {primary}: {error}{}", remedy()))
        }
        (Receiver::Connecting, _, error, _) if !error.is_empty() => {
            (State::Degraded, format!("primary {primary} does not answer: {error}"))
        }
        _ => (State::Starting, format!("connecting to primary {primary}")),
    }
}
