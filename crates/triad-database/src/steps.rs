use std::collections::BTreeSet;
use std::fmt;

use triad_model::Secret;

use crate::observe::{Account, Grant, Observed, Receiver, Replication};
use crate::plan::{DatabasePlan, Duty, Member, REPLICATION_USER};
use crate::sql::{grant_pattern, identifier, literal};

/// What the application may do in its schema: all that migrations and queries need, nothing that reaches beyond it.
const APP_PRIVILEGES: [&str; 17] = [
    "ALTER",
    "ALTER ROUTINE",
    "CREATE",
    "CREATE ROUTINE",
    "CREATE TEMPORARY TABLES",
    "CREATE VIEW",
    "DELETE",
    "DROP",
    "EXECUTE",
    "INDEX",
    "INSERT",
    "LOCK TABLES",
    "REFERENCES",
    "SELECT",
    "SHOW VIEW",
    "TRIGGER",
    "UPDATE",
];

/// MariaDB's error for a wrong user name or password (ER_ACCESS_DENIED_ERROR).
const ACCESS_DENIED: u32 = 1045;
/// How often a replica that lost its primary tries again, in seconds.
const CONNECT_RETRY_S: u32 = 1;
/// Silence after which a primary sends a heartbeat, in seconds.
const HEARTBEAT_S: f32 = 0.5;

/// One change to a running server. Displayed as a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Create the application's schema.
    CreateSchema(String),
    /// Create an account, or give it its password and exactly its privileges.
    SetAccount(Account),
    /// Remove an account.
    DropAccount {
        /// User name.
        user: String,
        /// Where it may come from.
        host: String,
    },
    /// Refuse, or admit, writes by everybody but root.
    SetReadOnly(bool),
    /// Make commits wait for a replica's acknowledgement, or not.
    SetSemiSync(bool),
    /// Switch semi-synchronous replication off and on, so that its receiver of acknowledgements begins anew.
    RestartSemiSync,
    /// Say where to replicate from.
    ConfigureReplication {
        /// The primary.
        primary: Member,
        /// The position to start from, where seeding left one.
        position: Option<String>,
    },
    /// Count as applied what its own binary log holds.
    AdoptLoggedPosition(String),
    /// Start to receive and to apply.
    StartReplication,
    /// Receive no more, and go on applying.
    StopReceiving,
    /// Be nobody's replica any more.
    ForgetPrimary,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::CreateSchema(name) => write!(f, "create the schema {name}"),
            Step::SetAccount(account) => {
                write!(f, "give {}@{} its password and {}", account.user, account.host, places(&account.grants))
            }
            Step::DropAccount { user, host } => write!(f, "drop the account '{user}'@'{host}'"),
            Step::SetReadOnly(true) => f.write_str("refuse writes"),
            Step::SetReadOnly(false) => f.write_str("accept writes"),
            Step::SetSemiSync(true) => f.write_str("make commits wait for a replica's acknowledgement"),
            Step::SetSemiSync(false) => f.write_str("stop waiting for acknowledgements"),
            Step::RestartSemiSync => f.write_str("free a replica's old connection, which semi-sync's receiver holds"),
            Step::ConfigureReplication { primary, position: Some(position) } => {
                write!(f, "replicate from {} at {}, after {position:?}", primary.name, primary.address)
            }
            Step::ConfigureReplication { primary, position: None } => {
                write!(f, "replicate from {} at {}", primary.name, primary.address)
            }
            Step::AdoptLoggedPosition(logged) => write!(f, "count {logged} as applied: its own binary log holds it"),
            Step::StartReplication => f.write_str("start replication"),
            Step::StopReceiving => f.write_str("stop receiving"),
            Step::ForgetPrimary => f.write_str("be nobody's replica"),
        }
    }
}

fn places(grants: &[Grant]) -> String {
    let of = |grant: &Grant| {
        let place = grant.schema.as_deref().unwrap_or("all schemas");
        match grant.privileges.first() {
            Some(only) if grant.privileges.len() == 1 => format!("{only} on {place}"),
            _ => format!("{} privileges on {place}", grant.privileges.len()),
        }
    };
    grants.iter().map(of).collect::<Vec<_>>().join(", ")
}

/// The accounts a primary must have; replicas get them by replication.
pub fn accounts(plan: &DatabasePlan, app_hash: &Secret, replication_hash: &Secret) -> Vec<Account> {
    let Duty::Primary { replicas } = &plan.duty else { return Vec::new() };
    let app = Account {
        user: plan.user.clone(),
        host: "%".into(),
        password_hash: app_hash.clone(),
        grants: vec![Grant {
            schema: Some(grant_pattern(&plan.schema)),
            privileges: APP_PRIVILEGES.map(String::from).into(),
        }],
    };
    let replica = |member: &Member| Account {
        user: REPLICATION_USER.into(),
        host: member.address.ip().to_string(),
        password_hash: replication_hash.clone(),
        grants: vec![Grant { schema: None, privileges: BTreeSet::from(["REPLICATION SLAVE".into()]) }],
    };
    // By the record, who may replicate changes from moment to moment: see [`crate::Control`].
    let replicas = replicas.iter().filter(|_| !plan.by_record).map(replica);
    std::iter::once(app).chain(replicas).collect()
}

/// Why this server's data cannot serve the plan, as a clause; whoever reads it must decide, so nothing is changed.
pub(crate) fn foreign(observed: &Observed, plan: &DatabasePlan) -> Option<String> {
    if plan.by_record {
        return None;
    }
    match (&plan.duty, &observed.replication) {
        (Duty::Primary { .. }, Some(replication)) if !plan.by_hand => Some(format!(
            "it is a replica of {}, and the file calls it the primary: let the file name the old one until `triad promote` \
             has been said here",
            replication.host
        )),
        (Duty::Replica { primary }, None) if observed.seed_position.is_none() && !plan.by_hand => Some(format!(
            "{} holds data that is no copy of {}'s: move it away, and it will be seeded",
            plan.data_directory().display(),
            primary.name
        )),
        (Duty::Replica { primary }, Some(_)) if wrote_itself(observed, plan) => Some(format!(
            "it logged {} by itself, so it may differ from {}: somebody wrote to it as root, or it was killed in the \
             middle of a DDL statement; move {} away, and it will be seeded again",
            observed.logged,
            primary.name,
            plan.data_directory().display()
        )),
        _ => None,
    }
}

/// Whether a replica's log ends with a transaction of its own. MariaDB's recovery writes one when it completes a DDL
/// statement that was applied but not yet logged; nothing tells it from a write by hand.
fn wrote_itself(observed: &Observed, plan: &DatabasePlan) -> bool {
    let own = observed.logged.split('-').nth(1).is_some_and(|server| server == plan.server_id.to_string());
    own && ahead_of_applied(observed)
}

fn ahead_of_applied(observed: &Observed) -> bool {
    sequence(&observed.logged) > sequence(&observed.applied)
}

/// What to do next, in order; nothing when the server is as planned. `accounts` are those of [`accounts`].
pub fn next_steps(observed: &Observed, plan: &DatabasePlan, accounts: &[Account]) -> Vec<Step> {
    if plan.by_record {
        return if observed.read_only { Vec::new() } else { content_steps(observed, plan, accounts) };
    }
    if foreign(observed, plan).is_some() {
        return read_only(observed, true);
    }
    match &plan.duty {
        Duty::Primary { .. } => match &observed.replication {
            Some(replication) => take_over_steps(observed, replication),
            None => primary_steps(observed, plan, accounts),
        },
        Duty::Replica { primary } => replica_steps(observed, primary),
    }
}

/// What a server that takes writes should hold.
fn content_steps(observed: &Observed, plan: &DatabasePlan, accounts: &[Account]) -> Vec<Step> {
    let schema = (!observed.schema).then(|| Step::CreateSchema(plan.schema.clone()));
    let unwanted = observed.accounts.iter().filter(|account| unwanted(account, plan, accounts)).map(drop_account);
    let wanted = accounts.iter().filter(|wanted| !observed.accounts.contains(wanted)).cloned().map(Step::SetAccount);
    schema.into_iter().chain(unwanted).chain(wanted).collect()
}

fn primary_steps(observed: &Observed, plan: &DatabasePlan, accounts: &[Account]) -> Vec<Step> {
    let mut steps = content_steps(observed, plan, accounts);
    steps.extend(read_only(observed, false));
    // With nobody there to acknowledge, the next commit would only wait for the time-out: enable it after the first
    // replica is attached, and leave it on when replicas go: MariaDB turns its effect off and on by itself.
    let wanted = plan.replicas_expected() > 0 && (observed.semi_sync_enabled || observed.replicas_connected() > 0);
    if observed.semi_sync_enabled != wanted {
        steps.push(Step::SetSemiSync(wanted));
    } else if wanted && observed.stuck_replicas > 0 {
        // MariaDB 10.11.19: a replica that comes back ends the connection it had; now and then `remove_slave` and the
        // thread that receives acknowledgements then wait for each other for ever. No replica gets in any more, and
        // soon nobody. Seen in stacks of a drill (`active-cut-from-primary`); switching it off and on frees them.
        steps.push(Step::RestartSemiSync);
    }
    steps
}

/// A replica that is to be the primary receives no more, applies what it has, and only then forgets whom it followed.
fn take_over_steps(observed: &Observed, replication: &Replication) -> Vec<Step> {
    if replication.receiver != Receiver::Stopped {
        return vec![Step::StopReceiving];
    }
    if has_applied(observed, replication) { vec![Step::ForgetPrimary] } else { Vec::new() }
}

/// Whether a replica has applied all that it received.
pub(crate) fn has_applied(observed: &Observed, replication: &Replication) -> bool {
    sequence(&replication.received) <= sequence(&observed.applied)
}

fn replica_steps(observed: &Observed, primary: &Member) -> Vec<Step> {
    let mut steps = read_only(observed, true);
    if observed.semi_sync_enabled {
        // A replica that also logs what it applies would wait for its own acknowledgement, and never apply.
        steps.push(Step::SetSemiSync(false));
    }
    let configured = observed.replication.as_ref().is_some_and(|replication| follows(replication, primary));
    if !configured || observed.seed_position.is_some() {
        let position = observed.seed_position.clone();
        if position.is_none() && observed.replication.is_none() && ahead_of_applied(observed) {
            // It was the primary: what it has is in its own log only.
            steps.push(Step::AdoptLoggedPosition(observed.logged.clone()));
        }
        steps.push(Step::ConfigureReplication { primary: primary.clone(), position });
        steps.push(Step::StartReplication);
    } else if observed.replication.as_ref().is_some_and(may_start) {
        if ahead_of_applied(observed) {
            // It was killed between logging a DDL statement and noting that it was applied: DDL is no transaction.
            // Applying it again would end in error 1950.
            steps.push(Step::AdoptLoggedPosition(observed.logged.clone()));
        }
        steps.push(Step::StartReplication);
    }
    steps
}

/// The sequence number of a GTID `domain-server-sequence`; 0 before the first. There is one domain only.
pub(crate) fn sequence(gtid: &str) -> u64 {
    gtid.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

fn read_only(observed: &Observed, wanted: bool) -> Vec<Step> {
    if observed.read_only == wanted { Vec::new() } else { vec![Step::SetReadOnly(wanted)] }
}

/// Anonymous accounts, and those of replicas the design no longer has.
fn unwanted(account: &Account, plan: &DatabasePlan, wanted: &[Account]) -> bool {
    let ours = account.user.is_empty() || (account.user == REPLICATION_USER && !plan.by_record);
    ours && !wanted.iter().any(|wanted| (&wanted.user, &wanted.host) == (&account.user, &account.host))
}

fn drop_account(account: &Account) -> Step {
    Step::DropAccount { user: account.user.clone(), host: account.host.clone() }
}

/// Whether replication is configured as we would. A refused password counts as not: it may have been given before
/// the present one; the primary is alive then, so nothing is lost with the relay log.
pub(crate) fn follows(replication: &Replication, primary: &Member) -> bool {
    replication.host == primary.address.ip().to_string()
        && replication.port == primary.address.port()
        && replication.user == REPLICATION_USER
        && replication.using_gtid == "Slave_Pos"
        && replication.receiver_error.0 != ACCESS_DENIED
}

/// Whether a thread stands still without an error. With one it would fail again, and each start throws the relay log
/// away (MDEV-4698), which may hold what no other server has.
fn may_start(replication: &Replication) -> bool {
    let receiver_rests = replication.receiver == Receiver::Stopped && replication.receiver_error.0 == 0;
    let applier_rests = !replication.applier && replication.applier_error.0 == 0;
    let failed =
        (replication.receiver == Receiver::Stopped && !receiver_rests) || (!replication.applier && !applier_rests);
    (receiver_rests || applier_rests) && !failed
}

/// The statements for `step`. They may hold a password: never print them.
pub(crate) fn statements(step: &Step, replication_password: &Secret) -> Vec<String> {
    match step {
        Step::CreateSchema(name) => vec![format!("CREATE DATABASE IF NOT EXISTS {}", identifier(name))],
        Step::SetAccount(account) => set_account(account),
        Step::DropAccount { user, host } => vec![format!("DROP USER {}@{}", literal(user), literal(host))],
        Step::SetReadOnly(wanted) => vec![format!("SET GLOBAL read_only = {}", u8::from(*wanted))],
        Step::SetSemiSync(wanted) => vec![format!("SET GLOBAL rpl_semi_sync_master_enabled = {}", u8::from(*wanted))],
        Step::RestartSemiSync => [0, 1].map(|on| format!("SET GLOBAL rpl_semi_sync_master_enabled = {on}")).into(),
        Step::ConfigureReplication { primary, position } => std::iter::once("STOP SLAVE".to_owned())
            .chain(position.iter().map(|gtid| set_position(gtid)))
            .chain([change_master(primary, replication_password)])
            .collect(),
        Step::AdoptLoggedPosition(logged) => vec![set_position(logged)],
        Step::StartReplication => vec!["START SLAVE".into()],
        Step::StopReceiving => vec!["STOP SLAVE IO_THREAD".into()],
        Step::ForgetPrimary => ["STOP SLAVE", "RESET SLAVE ALL"].map(String::from).into(),
    }
}

fn set_position(gtid: &str) -> String {
    format!("SET GLOBAL gtid_slave_pos = {}", literal(gtid))
}

fn set_account(account: &Account) -> Vec<String> {
    let name = format!("{}@{}", literal(&account.user), literal(&account.host));
    let hash = literal(account.password_hash.expose_secret());
    let mut statements = vec![
        format!("CREATE USER IF NOT EXISTS {name} IDENTIFIED BY PASSWORD {hash}"),
        format!("ALTER USER {name} IDENTIFIED BY PASSWORD {hash}"),
        format!("REVOKE ALL PRIVILEGES, GRANT OPTION FROM {name}"),
    ];
    for grant in &account.grants {
        let privileges = grant.privileges.iter().cloned().collect::<Vec<_>>().join(", ");
        let place = grant.schema.as_deref().map_or("*".into(), identifier);
        statements.push(format!("GRANT {privileges} ON {place}.* TO {name}"));
    }
    statements
}

pub(crate) fn change_master(primary: &Member, password: &Secret) -> String {
    format!(
        "CHANGE MASTER TO MASTER_HOST = {}, MASTER_PORT = {}, MASTER_USER = {}, MASTER_PASSWORD = {}, \
         MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = {CONNECT_RETRY_S}, \
         MASTER_HEARTBEAT_PERIOD = {HEARTBEAT_S}",
        literal(&primary.address.ip().to_string()),
        primary.address.port(),
        literal(REPLICATION_USER),
        literal(password.expose_secret())
    )
}
