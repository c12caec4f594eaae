//! What agents and commands say to each other: JSON over HTTP, on two doors.
//!
//! * The *local* door is a Unix socket in the agent's run directory, open to root alone: `triad status`, the lab.
//! * The *peers'* door is the server's private address, port [`triad_model::AGENT`], over mutual TLS: only servers of
//!   the same design get in, so nothing a stranger sends is ever parsed.
//!
//! [`Agent`] is what stands behind both; [`serve`](mod@serve) opens them and [`client`] knocks.

#![forbid(unsafe_code)]

pub mod client;
pub mod serve;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use triad_model::{
    BackendSetting, Ban, BanRequest, IpNet, Maintenance, Orders, Promotion, Role, Secret, ServerName, ServerReport,
    State, Switchover, SwitchoverRequest, UsageNews,
};

pub use client::{
    ApiError, Link, Peer, access_lines, apply, authority, ban, bans, local_report, local_status, promote,
    restart_database, restore, set_backend, set_maintenance, snapshot, switchover, unban, upgrade,
};

/// What an agent can be asked.
pub trait Agent: Clone + Send + Sync + 'static {
    /// The state of its own server.
    fn report(&self) -> ServerReport;

    /// The state of every server of the design, asked now.
    fn status(&self) -> impl Future<Output = DesignReport> + Send;

    /// Its server's metrics, as Prometheus text.
    fn metrics(&self) -> String;

    /// Takes what an operator says of a backend, if its server balances: whether it does.
    fn set_backend(&self, setting: BackendSetting) -> impl Future<Output = Result<bool, String>> + Send;

    /// Says it to every server of the design that balances.
    fn set_backend_everywhere(&self, setting: BackendSetting) -> impl Future<Output = Vec<SettingAnswer>> + Send;

    /// What was said to the front servers, as it knows it; nothing, if its server is none.
    fn orders(&self) -> Orders;

    /// Takes over what of `words` is news, if users arrive at its server; then what it knows of all.
    fn take_orders(&self, words: Orders) -> impl Future<Output = Result<Orders, String>> + Send;

    /// Hears what clients used at another front server; what it knows of orders, in a number.
    fn hear(&self, news: UsageNews) -> u64;

    /// Has every front server turn users away, or let them in again.
    fn set_maintenance_everywhere(&self, order: Option<Maintenance>)
    -> impl Future<Output = Vec<SettingAnswer>> + Send;

    /// Has every front server ban clients, or says why they cannot be banned.
    fn ban_everywhere(&self, ban: BanRequest) -> impl Future<Output = Result<Vec<SettingAnswer>, String>> + Send;

    /// Ends a ban on every front server, or says why not.
    fn unban_everywhere(&self, network: IpNet) -> impl Future<Output = Result<Vec<SettingAnswer>, String>> + Send;

    /// Who is banned, as the front servers know it.
    fn bans(&self) -> impl Future<Output = BansReport> + Send;

    /// Takes its server's file into use, also one that was replaced by another, or says why everything stays as it was.
    fn apply(&self) -> impl Future<Output = Result<TakenUp, String>> + Send;

    /// Replaces its server's edge by one that runs the binary that is installed now, or says why the old one stays.
    fn upgrade(&self) -> impl Future<Output = Result<Upgraded, String>> + Send;

    /// Has another server become the database's primary, or says why not.
    fn switchover(&self, request: SwitchoverRequest) -> impl Future<Output = Result<Switchover, String>> + Send;

    /// Starts its server's database anew, if it is a replica, or says why not.
    fn restart_database(&self) -> impl Future<Output = Result<(), String>> + Send;

    /// The same on any server of the design.
    fn restart_database_of(&self, server: &str) -> impl Future<Output = Result<(), String>> + Send;

    /// Lines of its edge's access log with the request id `id`, as they are.
    fn access_lines(&self, id: &str) -> impl Future<Output = Vec<String>> + Send;

    /// The same of any server of the design, or why they cannot be had.
    fn access_lines_of(&self, server: &str, id: &str) -> impl Future<Output = Result<Vec<String>, String>> + Send;

    /// The certificate of the design's authority, PEM.
    fn authority(&self) -> String;

    /// What `receiver` must know to believe the heartbeats that this agent sends it; `None` if it sends none.
    fn heartbeat_key(&self, receiver: &ServerName) -> Option<HeartbeatKey>;

    /// Whether its server votes.
    fn voting(&self) -> Voting;

    /// Makes its server's database the primary, where servers cannot agree on that by themselves, or says why not.
    fn promote(&self) -> impl Future<Output = Result<Promotion, String>> + Send;

    /// The last such word.
    fn promotion(&self) -> Option<Promotion>;

    /// The record of which database is the primary, as its server read it last.
    fn remembered_record(&self) -> Result<Option<String>, String>;

    /// All that servers agree on.
    fn snapshot(&self) -> impl Future<Output = Result<Snapshot, String>> + Send;

    /// Puts the record back that voters lost, or says why not.
    fn restore(&self, request: RestoreRequest) -> impl Future<Output = Result<Restored, String>> + Send;

    /// A copy of its running database, for a replica to begin with (an `xbstream` archive), or why there is none.
    fn backup(&self) -> impl Future<Output = Result<axum::body::Body, String>> + Send;
}

/// What became of what an operator said on one server that it concerns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingAnswer {
    /// The server.
    pub server: ServerName,
    /// Why it is not in force there; `None` if it is.
    pub error: Option<String>,
}

/// The key of one server's heartbeats to another, which alone is told it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatKey {
    /// Which run of the sender's agent.
    pub boot: u64,
    /// The last beat that was sent.
    pub sequence: u64,
    /// In hexadecimal.
    pub key: Secret,
}

/// How far a server is with voting on what servers agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Voting {
    /// It never did.
    Never,
    /// It begins, with all others.
    Founding,
    /// It did: the voters' cluster exists.
    Member,
}

/// Who is banned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BansReport {
    /// In the order of their networks.
    pub bans: Vec<Ban>,
    /// Front servers that do not answer: they may know of others, and will be told of these.
    pub silent: Vec<SettingAnswer>,
}

/// A file was taken into use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenUp {
    /// The server.
    pub server: ServerName,
    /// Which generation of the design it is; `None` where servers do not agree on that.
    pub generation: Option<u64>,
}

/// All that servers agree on, at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// When, in milliseconds since 1970.
    pub taken_unix_ms: u64,
    /// By key.
    pub values: BTreeMap<String, String>,
}

/// Asks for the record to be put back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreRequest {
    /// What may have it besides servers.
    pub from: Option<Snapshot>,
    /// Only say which it would be.
    pub dry_run: bool,
}

/// The record that was put back, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// Its version: the one after what was remembered.
    pub version: u64,
    /// Its epoch.
    pub epoch: u64,
    /// The primary.
    pub primary: ServerName,
    /// Who has every acknowledged write.
    pub in_sync: Vec<ServerName>,
    /// Who remembered it.
    pub from: String,
}

/// An edge was replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgraded {
    /// The server.
    pub server: ServerName,
    /// Process id of the old one, which finishes what it has; `None` if it did not run.
    pub old_pid: Option<u32>,
    /// Process id of the new one.
    pub new_pid: Option<u32>,
}

/// The state of every server of a design, as one agent sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DesignReport {
    /// In the order of the file.
    pub servers: Vec<ServerAnswer>,
}

impl DesignReport {
    /// Healthy where all servers are; a server that does not answer counts as down, and the design as degraded as
    /// long as any other answers.
    pub fn state(&self) -> State {
        let states =
            self.servers.iter().map(|answer| answer.report.as_ref().map_or(State::Down, |report| report.state));
        if states.clone().all(|state| state == State::Healthy) {
            State::Healthy
        } else if states.clone().all(|state| state == State::Down) {
            State::Down
        } else {
            State::Degraded
        }
    }
}

impl DesignReport {
    /// Who turns users away; `None` if nobody who answers does.
    pub fn maintenance(&self) -> Option<Maintained<'_>> {
        let reports = || self.servers.iter().filter_map(|answer| answer.report.as_ref());
        let carries = |report: &ServerReport, role: Role| report.roles.iter().any(|it| it.role == role.as_str());
        let front = FRONT_ROLES.into_iter().find(|role| reports().any(|report| carries(report, *role)))?;
        let mut found = Maintained::default();
        for report in reports().filter(|report| carries(report, front)) {
            match report.edge.as_ref().and_then(|edge| edge.maintenance.as_ref()) {
                Some(order) => {
                    found.closed.push(&report.server);
                    found.message = found.message.or(order.message.as_deref());
                }
                None => found.open.push(&report.server),
            }
        }
        (!found.closed.is_empty()).then_some(found)
    }
}

/// The roles that users can meet first, as [`triad_model::Design::front_role`] has them.
const FRONT_ROLES: [Role; 3] = [Role::Balancer, Role::Web, Role::App];

/// Maintenance as the servers report it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Maintained<'a> {
    /// Servers that turn users away.
    pub closed: Vec<&'a ServerName>,
    /// Servers that users reach the site through all the same.
    pub open: Vec<&'a ServerName>,
    /// What users are told.
    pub message: Option<&'a str>,
}

/// One server's answer, or why there is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerAnswer {
    /// The server that was asked.
    pub server: ServerName,
    /// What its agent said.
    pub report: Option<ServerReport>,
    /// Why it said nothing.
    pub error: Option<String>,
}

impl ServerAnswer {
    /// What came of asking `server`.
    pub fn new(server: ServerName, outcome: Result<ServerReport, ApiError>) -> Self {
        match outcome {
            Ok(report) => Self { server, report: Some(report), error: None },
            Err(error) => Self { server, report: None, error: Some(error.to_string()) },
        }
    }
}

#[cfg(test)]
mod tests {
    use triad_model::{EdgeReport, Maintenance, Role, RoleReport, ServerName, ServerReport, State};

    use super::{DesignReport, Maintained, ServerAnswer};

    fn name(name: &str) -> ServerName {
        ServerName::new(name).expect("a name")
    }

    fn answer(server: &str, roles: &[Role], maintenance: Option<Maintenance>) -> ServerAnswer {
        let report = ServerReport {
            server: name(server),
            state: State::Healthy,
            roles: roles.iter().map(|role| RoleReport::new(*role, State::Healthy, "")).collect(),
            processes: Vec::new(),
            rates: None,
            edge: Some(EdgeReport { maintenance, ..EdgeReport::default() }),
            dns: None,
            database: None,
            firewall: None,
            heartbeats: None,
            certificate_days_left: None,
            uptime_s: 0,
        };
        ServerAnswer { server: name(server), report: Some(report), error: None }
    }

    #[test]
    fn maintenance_is_a_matter_of_the_servers_users_meet_first() {
        let closed = || Some(Maintenance { message: Some("until nine".to_owned()) });
        let silent = ServerAnswer { server: name("lb3"), report: None, error: None };
        let report = |one, two| DesignReport {
            servers: vec![
                answer("lb1", &[Role::Dns, Role::Balancer], one),
                answer("lb2", &[Role::Balancer], two),
                silent.clone(),
                answer("web1", &[Role::Web, Role::App], None),
            ],
        };
        assert_eq!(report(None, None).maintenance(), None);
        let (lb1, lb2) = (name("lb1"), name("lb2"));
        let both = Maintained { closed: vec![&lb1, &lb2], open: Vec::new(), message: Some("until nine") };
        assert_eq!(report(closed(), closed()).maintenance(), Some(both));
        let half = Maintained { closed: vec![&lb2], open: vec![&lb1], message: Some("until nine") };
        assert_eq!(report(None, closed()).maintenance(), Some(half));
    }
}
