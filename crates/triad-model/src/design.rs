use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{AccessLog, Allowed, Headers, HealthCheck, IpNet, Pool, PoolBackend, Redirect, Route};

/// A design, resolved: every default filled in, every name checked. `triad-config` makes it from `triad.toml`;
/// whoever holds one may rely on what [`Design`]'s methods say without checking again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Design {
    /// What users call the site.
    pub site: Site,
    /// The servers, in the order of the file.
    pub servers: Vec<Server>,
    /// Name servers, if the design has its own.
    pub dns: Option<Dns>,
    /// The load balancer, if there is one.
    pub balancer: Option<Balancer>,
    /// The web server, if there is one.
    pub web: Option<Web>,
    /// The application.
    pub app: Option<App>,
    /// The database.
    pub database: Option<Database>,
    /// HTTPS, and encryption behind the balancer.
    pub tls: Option<Tls>,
    /// What one client may do; without this section, as much as it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// What happens to the header fields of users' requests and their answers.
    #[serde(default, skip_serializing_if = "Headers::is_empty")]
    pub headers: Headers,
    /// Requests that are sent elsewhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redirects: Vec<Redirect>,
    /// Pools beside the balancer's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<Pool>,
    /// Which requests go to them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// Firewalls on every server; without this section there are none.
    pub firewall: Option<Firewall>,
    /// Monitoring agents on every server; without this section there are none.
    pub monitor: Option<Monitor>,
    /// What edges write of each request.
    #[serde(default, skip_serializing_if = "AccessLog::is_default")]
    pub log: AccessLog,
    /// Findings of `triad check` that the file allows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub check: Vec<Allowed>,
}

/// What users call the site.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Site {
    /// The domain, the apex of our DNS zone: lower case, without a final dot.
    pub domain: String,
    /// Host names the site answers to, the canonical one first. Each is the domain or below it.
    pub hosts: Vec<String>,
    /// The page that users get during maintenance, relative to the file's folder; without it, one of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance_page: Option<PathBuf>,
    /// Networks that reach the site during maintenance.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub maintenance_allow: Vec<IpNet>,
}

/// A server's name in the file: a DNS label, because it becomes one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServerName(String);

/// Why a text is not a server's name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a server's name is 1 to 32 lower-case letters, digits and hyphens, starting with a letter")]
pub struct InvalidServerName;

impl ServerName {
    /// Longest name, in bytes.
    pub const LENGTH_MAX: usize = 32;

    /// Checks `text` and wraps it.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidServerName> {
        let text = text.into();
        let well_formed = text.len() <= Self::LENGTH_MAX
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && !text.ends_with('-')
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if well_formed { Ok(Self(text)) } else { Err(InvalidServerName) }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for ServerName {
    type Error = InvalidServerName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl From<ServerName> for String {
    fn from(name: ServerName) -> Self {
        name.0
    }
}

/// A Linux host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Server {
    /// Its name in the file.
    pub name: ServerName,
    /// Addresses the world uses; empty for a server that faces no stranger.
    pub public: Vec<IpAddr>,
    /// The address other servers use. `None` only in a design of one server.
    pub private: Option<IpAddr>,
}

/// Authoritative DNS for the site's domain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dns {
    /// Name servers: the first is `ns1.` under the domain, and so on.
    pub servers: Vec<ServerName>,
    /// Time to live of the addresses, in seconds: how long a client may go on asking a dead one.
    pub ttl_s: u32,
}

/// The load balancer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Balancer {
    /// Servers that carry it; more than one are active together, found through DNS.
    pub servers: Vec<ServerName>,
    /// Where requests go, in the order of the file; at least one is not passive.
    pub backends: Vec<Backend>,
    /// How they are shared.
    #[serde(flatten)]
    pub balancing: Balancing,
    /// The cookie that keeps users at the backend that answered them first; `None`: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky_cookie: Option<String>,
    /// Networks of forwarders, whose connections begin with a PROXY header that says who the client is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proxy_protocol_from: Vec<IpNet>,
}

impl Balancer {
    /// Round robin over `backends`, with no more said.
    pub fn new(servers: Vec<ServerName>, backends: Vec<Backend>, health: HealthCheck) -> Self {
        Self {
            servers,
            backends,
            balancing: Balancing::new(health),
            sticky_cookie: None,
            proxy_protocol_from: Vec::new(),
        }
    }
}

/// How requests are shared among backends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Balancing {
    /// How the next backend is chosen.
    pub algorithm: Algorithm,
    /// How backends are checked.
    pub health: HealthCheck,
    /// The header or cookie that [`Algorithm::Header`] and [`Algorithm::Cookie`] go by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash_on: Option<String>,
    /// Time in which a backend that came back gets more and more of its share, in milliseconds; 0: all at once.
    #[serde(default)]
    pub slow_start_ms: u32,
    /// Failures in a row of requests themselves that leave a backend out for a time; 0: only its checks do.
    #[serde(default = "Balancing::default_max_fails")]
    pub max_fails: u32,
    /// Percentage of a backend's requests that fail which leaves it out for a time; 0: none does.
    #[serde(default)]
    pub error_rate_percent: u8,
    /// Time after which an answer that has not begun counts as a failure for that, in milliseconds; 0: none does.
    #[serde(default)]
    pub slow_after_ms: u32,
    /// Statuses of 502, 503 and 504 with which an answer is thrown away while another backend can be asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retry_statuses: Vec<u16>,
    /// Time a request waits while every backend that could take it has all it may have, in milliseconds; 0: it is
    /// refused at once. The balancer's holds for instances of the application, too.
    #[serde(default = "Balancing::default_queue_timeout_ms")]
    pub queue_timeout_ms: u32,
    /// Requests that wait at one time; more are refused at once.
    #[serde(default = "Balancing::default_queue_max")]
    pub queue_max: u32,
    /// While fewer than so many per cent of the active backends are up, requests go to all of them; 0: never.
    #[serde(default)]
    pub panic_percent: u8,
}

impl Balancing {
    /// [`Balancing::max_fails`] where the file does not say it.
    pub const MAX_FAILS: u32 = 5;
    /// [`Balancing::queue_timeout_ms`] where the file does not say it.
    pub const QUEUE_TIMEOUT_MS: u32 = 5_000;
    /// [`Balancing::queue_max`] where the file does not say it.
    pub const QUEUE_MAX: u32 = 1_024;

    /// Round robin, with no more said.
    pub fn new(health: HealthCheck) -> Self {
        Self {
            algorithm: Algorithm::RoundRobin,
            health,
            hash_on: None,
            slow_start_ms: 0,
            max_fails: Self::MAX_FAILS,
            error_rate_percent: 0,
            slow_after_ms: 0,
            retry_statuses: Vec::new(),
            queue_timeout_ms: Self::QUEUE_TIMEOUT_MS,
            queue_max: Self::QUEUE_MAX,
            panic_percent: 0,
        }
    }

    fn default_max_fails() -> u32 {
        Self::MAX_FAILS
    }

    fn default_queue_timeout_ms() -> u32 {
        Self::QUEUE_TIMEOUT_MS
    }

    fn default_queue_max() -> u32 {
        Self::QUEUE_MAX
    }
}

/// How the next backend is chosen; the names are HAProxy's where it has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// Weighted round robin, spread evenly: weights 5 and 1 share any six requests in a row 5 to 1.
    #[default]
    RoundRobin,
    /// The fewest requests in flight, by weight.
    LeastConn,
    /// The less loaded of two drawn by weight.
    Random,
    /// The same client address goes to the same backend.
    Source,
    /// The same path and query go to the same backend.
    Uri,
    /// The same value of a header goes to the same backend.
    Header,
    /// The same value of a cookie goes to the same backend.
    Cookie,
    /// The first of the file that has room.
    First,
}

impl Algorithm {
    /// Whether it goes by something that the file must name.
    pub fn hashes_by_name(self) -> bool {
        matches!(self, Algorithm::Header | Algorithm::Cookie)
    }

    /// As the file writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::RoundRobin => "roundrobin",
            Algorithm::LeastConn => "leastconn",
            Algorithm::Random => "random",
            Algorithm::Source => "source",
            Algorithm::Uri => "uri",
            Algorithm::Header => "header",
            Algorithm::Cookie => "cookie",
            Algorithm::First => "first",
        }
    }

    /// In words, to be read after "the algorithm is".
    pub fn in_words(self) -> &'static str {
        match self {
            Algorithm::RoundRobin => "weighted round robin",
            Algorithm::LeastConn => "least connections, by weight",
            Algorithm::Random => "the less loaded of two random choices",
            Algorithm::Source => "consistent hash of the client's address",
            Algorithm::Uri => "consistent hash of path and query",
            Algorithm::Header => "consistent hash of a header",
            Algorithm::Cookie => "consistent hash of a cookie",
            Algorithm::First => "the first of the file that is up and not full",
        }
    }
}

impl std::str::FromStr for Algorithm {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        use Algorithm::{Cookie, First, Header, LeastConn, Random, RoundRobin, Source, Uri};
        let all = [RoundRobin, LeastConn, Random, Source, Uri, Header, Cookie, First];
        all.into_iter().find(|algorithm| algorithm.as_str() == text).ok_or(())
    }
}

/// A server a balancer sends requests to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backend {
    /// The server.
    pub server: ServerName,
    /// Its share among active backends; meaningful from 1 to [`Backend::WEIGHT_MAX`].
    pub weight: u16,
    /// Passive: gets traffic only while no active backend is up.
    pub backup: bool,
    /// Requests of one balancer that it may have in flight; 0: any number.
    #[serde(default)]
    pub max_connections: u32,
}

impl Backend {
    /// The largest weight, HAProxy's too.
    pub const WEIGHT_MAX: u16 = 256;
}

/// The web server: static files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Web {
    /// Servers that carry it.
    pub servers: Vec<ServerName>,
    /// Folder of static files, relative to the file's folder. A request that names no file in it goes to the
    /// application.
    pub root: Option<PathBuf>,
}

/// The team's application.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct App {
    /// Servers that run it.
    pub servers: Vec<ServerName>,
    /// Shell command, run in the file's folder before a lab starts, that fills `directory`.
    pub build: Option<String>,
    /// Folder that holds the code, relative to the file's folder; the command runs in it.
    pub directory: PathBuf,
    /// What to run, through `sh -c`; it must listen on 127.0.0.1, port `$PORT`.
    pub command: String,
    /// Processes on each server.
    pub instances: u16,
    /// Requests that each of them may have in flight; 0: any number.
    #[serde(default)]
    pub max_connections: u32,
    /// Path that answers below 400 when an instance can serve, or [`App::GRPC_HEALTH`].
    pub health: String,
    /// Variables for its environment.
    pub environment: BTreeMap<String, String>,
    /// How connections to its instances begin; `None`: with a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocol>,
    /// What its instances speak.
    #[serde(default, skip_serializing_if = "AppProtocol::is_default")]
    pub protocol: AppProtocol,
}

impl App {
    /// Instead of a path: instances are asked by gRPC (`grpc.health.v1.Health/Check`).
    pub const GRPC_HEALTH: &str = "grpc";

    /// Whether instances are asked by gRPC how they are.
    pub fn is_checked_by_grpc(&self) -> bool {
        self.health == Self::GRPC_HEALTH
    }
}

/// What instances speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AppProtocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 without TLS, from the first byte on (RFC 9113 §3.3), as gRPC's servers do.
    Http2,
}

impl AppProtocol {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl std::str::FromStr for AppProtocol {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "http1" => Ok(Self::Http1),
            "http2" => Ok(Self::Http2),
            _ => Err(()),
        }
    }
}

/// A version of the PROXY protocol, in which a connection begins with a header that says who the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyProtocol {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

impl std::str::FromStr for ProxyProtocol {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "v1" => Ok(Self::V1),
            "v2" => Ok(Self::V2),
            _ => Err(()),
        }
    }
}

/// MariaDB, one primary and any number of replicas.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Database {
    /// The server whose database takes writes.
    pub primary: ServerName,
    /// Servers that hold a copy.
    pub replicas: Vec<ServerName>,
    /// Name of the application's schema.
    pub name: String,
    /// The application's account.
    pub user: String,
}

impl Database {
    /// Primary and replicas.
    pub fn members(&self) -> impl Iterator<Item = &ServerName> {
        std::iter::once(&self.primary).chain(&self.replicas)
    }
}

/// HTTPS for the site's hosts; the hop between servers is encrypted as well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tls {
    /// Where the site's certificate comes from.
    pub certificate: Certificate,
    /// Certificates of some of the hosts; the others have [`Tls::certificate`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<NamedCertificate>,
    /// The OCSP response for [`Tls::certificate`], DER, relative to the file's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ocsp: Option<PathBuf>,
    /// Whether clients are asked for certificates of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<ClientCertificates>,
    /// Whether clients may choose HTTP/2.
    pub http2: bool,
    /// Whether servers speak it to each other.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hop_http2: bool,
    /// What browsers are told to remember of HTTPS; `None`: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hsts: Option<Hsts>,
}

/// Strict transport security (RFC 6797): for this time, browsers ask the site over HTTPS only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hsts {
    /// How long, in seconds.
    pub max_age_s: u32,
    /// Names below the host as well.
    pub include_subdomains: bool,
}

/// Where the site's certificate comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Certificate {
    /// The design's own authority: browsers must be told to trust it.
    Internal,
    /// PEM files that somebody else renews, relative to the file's folder.
    Files {
        /// The certificate, then its intermediates.
        certificate: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
}

impl Tls {
    /// Certificates of the design's own authority, with no more said.
    pub fn internal() -> Self {
        let certificate = Certificate::Internal;
        let (certificates, ocsp, clients, hsts) = (Vec::new(), None, None, None);
        Self { certificate, certificates, ocsp, clients, http2: true, hop_http2: false, hsts }
    }

    /// Every private key that the file names.
    pub fn key_files(&self) -> impl Iterator<Item = &PathBuf> {
        let main = match &self.certificate {
            Certificate::Files { key, .. } => Some(key),
            Certificate::Internal => None,
        };
        main.into_iter().chain(self.certificates.iter().map(|named| &named.key))
    }

    /// Every other file that it names.
    pub fn public_files(&self) -> impl Iterator<Item = &PathBuf> {
        let main = match &self.certificate {
            Certificate::Files { certificate, .. } => Some(certificate),
            Certificate::Internal => None,
        };
        let named = self.certificates.iter().flat_map(|named| std::iter::once(&named.certificate).chain(&named.ocsp));
        let clients = self.clients.iter().flat_map(|clients| std::iter::once(&clients.authority).chain(&clients.crl));
        main.into_iter().chain(&self.ocsp).chain(named).chain(clients)
    }
}

/// A certificate of some of the site's hosts, shown to who asks for one of them (RFC 6066 section 3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NamedCertificate {
    /// Those hosts.
    pub hosts: Vec<String>,
    /// PEM: the certificate, then its intermediates. Like all paths, relative to the file's folder.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
    /// The OCSP response for it, DER.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ocsp: Option<PathBuf>,
}

/// Certificates of clients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientCertificates {
    /// Who shows none is refused.
    pub required: bool,
    /// PEM: the authorities that sign them.
    pub authority: PathBuf,
    /// PEM: lists of those that they took back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crl: Option<PathBuf>,
}

/// What clients may do. One client is an IPv4 address, or an IPv6 network of 64 bits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Requests a second of one client in the long run.
    pub requests_per_s: Option<u32>,
    /// Requests at once that are not counted against the rate.
    pub burst: u32,
    /// Connections of one client open at once.
    pub connections: Option<u32>,
    /// Networks that are not limited.
    pub exempt: Vec<IpNet>,
    /// Requests a second of all clients together, at all front servers.
    #[serde(default)]
    pub site_requests_per_s: Option<u32>,
    /// Requests of all clients at once that are not counted against that rate.
    #[serde(default)]
    pub site_burst: u32,
    /// Connections of all clients open at once, on each front server.
    #[serde(default)]
    pub site_connections: Option<u32>,
    /// Refusals within a minute after which a client is banned; `None`: nobody is by itself.
    #[serde(default)]
    pub ban_after: Option<u32>,
    /// For how long, in seconds.
    #[serde(default)]
    pub ban_s: u32,
}

/// What the firewalls admit beside what the design itself needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Firewall {
    /// Networks that may open SSH connections.
    pub ssh_from: Vec<IpNet>,
    /// The port sshd listens on.
    pub ssh_port: u16,
}

/// Monitoring.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Monitor {
    /// Networks that may read metrics, beside the design's own servers.
    pub metrics_from: Vec<IpNet>,
}

/// A component on the whiteboard that a server can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Answers for the domain.
    Dns,
    /// Spreads requests.
    Balancer,
    /// Serves static files.
    Web,
    /// Runs the team's code.
    App,
    /// Holds the data.
    Database,
}

impl Role {
    /// As the file's section is called.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Dns => "dns",
            Role::Balancer => "balancer",
            Role::Web => "web",
            Role::App => "app",
            Role::Database => "database",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Design {
    /// The server called `name`.
    pub fn server(&self, name: &ServerName) -> Option<&Server> {
        self.servers.iter().find(|server| server.name == *name)
    }

    /// The servers that carry `role`.
    pub fn carriers(&self, role: Role) -> Vec<&ServerName> {
        match role {
            Role::Dns => self.dns.iter().flat_map(|dns| &dns.servers).collect(),
            Role::Balancer => self.balancer.iter().flat_map(|balancer| &balancer.servers).collect(),
            Role::Web => self.web.iter().flat_map(|web| &web.servers).collect(),
            Role::App => self.app.iter().flat_map(|app| &app.servers).collect(),
            Role::Database => self.database.iter().flat_map(Database::members).collect(),
        }
    }

    /// Whether `server` carries `role`.
    pub fn carries(&self, server: &ServerName, role: Role) -> bool {
        self.carriers(role).contains(&server)
    }

    /// What `server` carries.
    pub fn roles(&self, server: &ServerName) -> Vec<Role> {
        [Role::Dns, Role::Balancer, Role::Web, Role::App, Role::Database]
            .into_iter()
            .filter(|role| self.carries(server, *role))
            .collect()
    }

    /// The role users meet first: the balancer where there is one, else the web server, else the application.
    pub fn front_role(&self) -> Role {
        if self.balancer.is_some() {
            Role::Balancer
        } else if self.web.is_some() {
            Role::Web
        } else {
            Role::App
        }
    }

    /// The servers users' requests arrive at; DNS names their public addresses.
    pub fn fronts(&self) -> Vec<&ServerName> {
        self.carriers(self.front_role())
    }

    /// Whether `server` runs an edge process: it carries the balancer, the web server or the application.
    pub fn has_edge(&self, server: &ServerName) -> bool {
        [Role::Balancer, Role::Web, Role::App].iter().any(|role| self.carries(server, *role))
    }

    /// The pool called `name`, beside the balancer's.
    pub fn pool(&self, name: &str) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.name == name)
    }

    /// The other servers that `server`'s edge sends requests to: a balancer to the backends of all pools, a web server without
    /// the application to the application servers.
    pub fn next_hops(&self, server: &ServerName) -> Vec<&ServerName> {
        let mut hops: Vec<&ServerName> = Vec::new();
        if let Some(balancer) = self.balancer.as_ref().filter(|balancer| balancer.servers.contains(server)) {
            hops.extend(balancer.backends.iter().map(|backend| &backend.server));
            hops.extend(self.pools.iter().flat_map(|pool| &pool.backends).filter_map(PoolBackend::server));
        }
        if self.carries(server, Role::Web) && !self.carries(server, Role::App) {
            hops.extend(self.carriers(Role::App));
        }
        hops.retain(|hop| *hop != server);
        let mut seen = Vec::new();
        hops.retain(|hop| {
            let first = !seen.contains(hop);
            seen.push(*hop);
            first
        });
        hops
    }

    /// Name of the `index`-th name server, from 0: `ns1.foobar.com`.
    pub fn name_server_name(&self, index: usize) -> String {
        format!("ns{}.{}", index + 1, self.site.domain)
    }
}

#[cfg(test)]
mod tests {
    use super::{InvalidServerName, ServerName};

    #[test]
    fn a_servers_name_is_a_dns_label() {
        for good in ["a", "srv1", "db-primary", "x9"] {
            assert_eq!(ServerName::new(good).expect(good).as_str(), good);
        }
        for bad in ["", "1srv", "Srv", "a_b", "a.b", "a-", &"a".repeat(33)] {
            assert_eq!(ServerName::new(bad), Err(InvalidServerName), "{bad:?}");
        }
    }
}
