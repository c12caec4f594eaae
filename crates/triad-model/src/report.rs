//! What a running server reports: processes to their agent, agents to each other and to commands.

use serde::{Deserialize, Serialize};

use crate::{BackendMode, FailoverReport, Maintenance, Role, ServerName, Verdict};

/// How a part is doing, best first, so that the worst of several is their maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As the design wants it.
    Healthy,
    /// On its way up.
    Starting,
    /// It works, but not all of it.
    Degraded,
    /// It does not work.
    Down,
}

impl State {
    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Healthy => "healthy",
            State::Starting => "starting",
            State::Degraded => "degraded",
            State::Down => "down",
        }
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Everything one agent knows of its server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerReport {
    /// The server.
    pub server: ServerName,
    /// The worst state of its roles.
    pub state: State,
    /// One line for each role it carries, and for the firewall.
    pub roles: Vec<RoleReport>,
    /// The processes its agent runs.
    pub processes: Vec<ProcessReport>,
    /// Requests a second at its edge.
    pub rates: Option<Rates>,
    /// What its edge counted.
    pub edge: Option<EdgeReport>,
    /// What its name server counted.
    pub dns: Option<DnsReport>,
    /// Its database.
    pub database: Option<DatabaseReport>,
    /// What its firewall dropped.
    pub firewall: Option<FirewallReport>,
    /// What it hears of the other servers; `None` where there are none, and from agents of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeats: Option<HeartbeatReport>,
    /// Days until the first of its certificates ends.
    pub certificate_days_left: Option<i64>,
    /// Seconds since the agent started.
    pub uptime_s: u64,
}

/// One role on one server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoleReport {
    /// `dns`, `balancer`, `web`, `app`, `database` or `firewall`.
    pub role: String,
    /// How it is doing.
    pub state: State,
    /// One clause that says why, or what it does.
    pub detail: String,
}

impl RoleReport {
    /// A line for `role`.
    pub fn new(role: Role, state: State, detail: impl Into<String>) -> Self {
        Self { role: role.as_str().to_owned(), state, detail: detail.into() }
    }
}

/// A child process of an agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessReport {
    /// `edge`, `dns`, `mariadbd`, `app-1`.
    pub name: String,
    /// What it is doing.
    pub state: ProcessState,
    /// Its process id while it runs.
    pub pid: Option<u32>,
    /// Times it was started again.
    pub restarts: u64,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// Resident memory, in bytes.
    pub resident_bytes: u64,
    /// How it ended last.
    pub last_exit: Option<String>,
    /// Seconds since it was replaced: it finishes what it has, and comes beside the one in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draining_s: Option<u64>,
    /// Upgrades since the agent started.
    #[serde(default)]
    pub upgrades: u64,
}

/// What a supervised process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProcessState {
    /// Started, not known to work yet.
    Starting,
    /// It answers.
    Running,
    /// It ended; the agent waits before it starts it again.
    Waiting,
    /// It was told to end.
    Stopped,
}

impl ProcessState {
    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            ProcessState::Starting => "starting",
            ProcessState::Running => "running",
            ProcessState::Waiting => "waiting",
            ProcessState::Stopped => "stopped",
        }
    }
}

/// Requests a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Over the last full second.
    pub now: f64,
    /// Over the last minute.
    pub one_minute: f64,
}

/// What an edge process counted since it started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EdgeReport {
    /// Requests by their labels; a closed set, so it cannot grow without bound.
    pub requests: Vec<RequestCount>,
    /// Time from a request's head to the last byte of its answer.
    pub latency: LatencyHistogram,
    /// The same by site.
    #[serde(default)]
    pub site_latency: Vec<SiteLatency>,
    /// Requests being answered.
    pub in_flight: u64,
    /// Connections that switched protocols, as WebSockets do, and are passed on as they are.
    #[serde(default)]
    pub switched: u64,
    /// Client connections open.
    pub connections: u64,
    /// Client connections closed at once: there were too many, or their client was banned.
    pub connections_refused: u64,
    /// Client connections that it holds open at the most.
    #[serde(default)]
    pub connections_max: u64,
    /// What was refused, and why.
    #[serde(default)]
    pub refusals: Refusals,
    /// Networks whose clients are banned.
    #[serde(default)]
    pub bans: u64,
    /// TLS handshakes that failed.
    pub handshake_failures: u64,
    /// Times a request was sent to another backend.
    #[serde(default)]
    pub retries: u64,
    /// Times it was not, because too many were.
    #[serde(default)]
    pub retries_refused: u64,
    /// Connections of forwarders that were closed because they did not begin with a PROXY header.
    #[serde(default)]
    pub proxy_headers_refused: u64,
    /// Lines of the access log that were dropped because the disk was too slow.
    pub log_dropped: u64,
    /// Backends of its balancer, then of its local pool.
    pub backends: Vec<BackendReport>,
    /// The same two pools, as far as it has them.
    #[serde(default)]
    pub pools: Vec<PoolReport>,
    /// Connections open through the database relay, for writing and for reading.
    pub relay_connections: u64,
    /// Connections the database relay could not pass on, of both kinds.
    pub relay_failures: u64,
    /// The relay's connections to the primary.
    #[serde(default)]
    pub relay: RelayReport,
    /// Those for reading.
    #[serde(default)]
    pub read_relay: RelayReport,
    /// Users are answered that the site is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<Maintenance>,
}

impl EdgeReport {
    /// All requests.
    pub fn requests_total(&self) -> u64 {
        self.requests.iter().map(|request| request.count).sum()
    }
}

/// One listener of the database relay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayReport {
    /// Connections open, those that are held too.
    pub open: u64,
    /// Connections that wait for a database that takes them.
    pub held: u64,
    /// Connections that ever had to.
    pub held_total: u64,
    /// Connections cut because their database was no longer the one to ask.
    pub cut: u64,
    /// Connections carried over to another database, between two statements.
    #[serde(default)]
    pub carried: u64,
    /// Connections that could not be passed on.
    pub failures: u64,
}

impl std::ops::AddAssign for RelayReport {
    fn add_assign(&mut self, other: Self) {
        let Self { open, held, held_total, cut, carried, failures } = other;
        self.open += open;
        self.held += held;
        self.held_total += held_total;
        self.cut += cut;
        self.carried += carried;
        self.failures += failures;
    }
}

/// What clients were refused, and why. Health checks and requests of the design's own servers never are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusals {
    /// Connections closed because the edge had as many as it may.
    pub connections_full: u64,
    /// Connections closed because their client had as many as it may.
    pub connections_client: u64,
    /// Connections closed because their client is banned.
    #[serde(default)]
    pub connections_banned: u64,
    /// Requests answered 403 because their client is banned.
    #[serde(default)]
    pub requests_banned: u64,
    /// Requests answered 503 because the edge had as many under way as it may.
    pub requests_full: u64,
    /// Requests answered 503 because of the rate of the site.
    pub requests_site: u64,
    /// Requests answered 429 because of the rate of their client.
    pub requests_client: u64,
}

impl Refusals {
    /// With what they are of, and why: `connection`, `client`.
    pub fn rows(&self) -> [(&'static str, &'static str, u64); 7] {
        [
            ("connection", "banned", self.connections_banned),
            ("request", "banned", self.requests_banned),
            ("connection", "full", self.connections_full),
            ("connection", "client", self.connections_client),
            ("request", "full", self.requests_full),
            ("request", "site", self.requests_site),
            ("request", "client", self.requests_client),
        ]
    }
}

impl std::ops::AddAssign for Refusals {
    fn add_assign(&mut self, other: Self) {
        self.connections_banned += other.connections_banned;
        self.requests_banned += other.requests_banned;
        self.connections_full += other.connections_full;
        self.connections_client += other.connections_client;
        self.requests_full += other.requests_full;
        self.requests_site += other.requests_site;
        self.requests_client += other.requests_client;
    }
}

/// A counter of requests with its labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestCount {
    /// The site's host, or `other`.
    pub site: String,
    /// Status code.
    pub code: u16,
    /// Method, or `OTHER`.
    pub method: String,
    /// `none` until there is a cache.
    pub cache: String,
    /// How many.
    pub count: u64,
}

/// Upper bounds of the latency buckets, in seconds; Prometheus client libraries' defaults with two finer ones.
pub const LATENCY_BOUNDS_S: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Request durations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencyHistogram {
    /// Requests per bucket of [`LATENCY_BOUNDS_S`], not cumulative; one more bucket for all that is longer.
    pub buckets: Vec<u64>,
    /// Sum of all durations, in seconds.
    pub sum_s: f64,
}

/// Request durations of one site.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SiteLatency {
    /// The site's host, or `other`.
    pub site: String,
    /// Its durations.
    pub latency: LatencyHistogram,
}

/// Backends that do the same job, and who waits for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolReport {
    /// `balancer` or `local`, as in [`BackendReport::pool`].
    pub pool: String,
    /// So few active backends are up that requests go to all of them.
    pub panic: bool,
    /// Requests that wait until a backend has room.
    pub waiting: u64,
    /// Requests that waited in vain.
    pub timed_out: u64,
    /// Requests refused at once, because too many waited or none may wait.
    pub overflowed: u64,
}

/// A backend as its balancer sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackendReport {
    /// `balancer` for the servers behind it, `local` for what this server's edge itself passes requests to.
    pub pool: String,
    /// The server, or the instance.
    pub name: String,
    /// What an operator said of it.
    #[serde(default)]
    pub mode: BackendMode,
    /// What its health checks say of it.
    pub verdict: Verdict,
    /// The last check's outcome, as a clause.
    pub why: String,
    /// Its share, as the file or an operator says.
    pub weight: u16,
    /// Passive.
    pub backup: bool,
    /// Left out for a time because requests to it failed, though its checks pass.
    #[serde(default)]
    pub left_out: bool,
    /// Requests sent to it.
    pub requests: u64,
    /// Requests it failed.
    pub failures: u64,
    /// Requests it got because another one had failed them.
    #[serde(default)]
    pub retries: u64,
    /// Times until its answers began, since the edge started or the backend was changed.
    #[serde(default)]
    pub first_byte: LatencyHistogram,
    /// Half of its answers began within so many milliseconds, in the last half to whole minute; `None` without answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte_p50_ms: Option<f64>,
    /// The same of 99 in 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte_p99_ms: Option<f64>,
    /// Requests it is answering.
    pub in_flight: u64,
    /// How many that may be; 0: any number.
    #[serde(default)]
    pub max_connections: u64,
}

/// What a name server counted since it started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DnsReport {
    /// Answers by response code: `NOERROR`, `NXDOMAIN`, `REFUSED`, `FORMERR`, `NOTIMP`.
    pub answers: Vec<(String, u64)>,
    /// Queries over UDP.
    pub udp: u64,
    /// Queries over TCP.
    pub tcp: u64,
    /// Packets that were no query and got no answer.
    pub dropped: u64,
    /// Servers whose addresses are left out because they look dead.
    pub left_out: Vec<ServerName>,
}

/// Primary or replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DatabaseRole {
    /// Takes writes.
    Primary,
    /// Holds a copy.
    Replica,
}

impl DatabaseRole {
    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            DatabaseRole::Primary => "primary",
            DatabaseRole::Replica => "replica",
        }
    }
}

/// A server's database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatabaseReport {
    /// Primary or replica.
    pub role: DatabaseRole,
    /// How it is doing.
    pub state: State,
    /// One clause that says why.
    pub detail: String,
    /// Position in the global order of transactions: `0-1-42`.
    pub gtid: String,
    /// Primary: whether a commit waits for a replica's acknowledgement.
    pub semi_sync: bool,
    /// Primary: replicas that acknowledge.
    pub replicas_connected: u64,
    /// Replica: seconds behind the primary; `None` while replication does not run.
    pub lag_s: Option<u64>,
    /// `SHOW GLOBAL STATUS` counters for the metrics, by MariaDB's own names in lower case.
    pub counters: Vec<(String, u64)>,
    /// Who is the primary by the record, where a replica takes over by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failover: Option<FailoverReport>,
}

/// The heartbeats of other servers, as one server hears them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatReport {
    /// The others, in the order of the file.
    pub peers: Vec<PeerReport>,
    /// Datagrams that were no beat to be believed, by reason: `malformed`, `stranger`, `no_key`, `forged`, `old`.
    pub refused: Vec<(String, u64)>,
    /// The longest that the host kept its own heartbeats waiting, in milliseconds.
    pub late_ms_max: u64,
}

/// Another server, as its heartbeats show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerReport {
    /// The other server.
    pub server: ServerName,
    /// Whether its beats arrive.
    pub presence: PeerPresence,
    /// Milliseconds since the last one arrived; `None` if none did.
    pub heard_ms_ago: Option<u64>,
    /// Beats that arrived and are authentic.
    pub received: u64,
    /// Beats that were sent and did not arrive.
    pub lost: u64,
    /// Whom it says it hears.
    pub hears: Vec<ServerName>,
}

/// Whether a server's heartbeats arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerPresence {
    /// Not since the agent started.
    Unknown,
    /// They do.
    Alive,
    /// They did.
    Silent,
}

/// What a firewall dropped since it was loaded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FirewallReport {
    /// Reason, packets, bytes.
    pub drops: Vec<(String, u64, u64)>,
}
