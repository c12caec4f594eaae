//! What the edge process of one server should be. Pure; the agent makes it from the design and hands it over.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use triad_model::{
    AccessLog, Algorithm, AppProtocol, Backend, BackendSetting, Balancing, DATABASE, DATABASE_READ, Design, HOP, HTTP,
    HTTPS, Headers, HealthCheck, Hsts, INSTANCE_FIRST, IpNet, Limits, Maintenance, Pool, PoolBackend, ProxyProtocol,
    Redirect, Role, Route, Secret, ServerName,
};
use triad_tls::{Identity, KeyPair, SiteExtras, internal_name};

use crate::min_rate::MinRate;
pub use crate::ways::{DatabaseAccount, DatabaseWays, RelayTarget};

/// The name of the balancer's own pool in reports and settings.
const BALANCER: &str = "balancer";

/// A socket the agent opens for the edge, once per worker with `SO_REUSEPORT`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerSpec {
    /// What arrives there: [`ListenerSpec::HTTP`] and so on. A name may come more than once, with other addresses.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
}

impl ListenerSpec {
    /// Plain HTTP from the world.
    pub const HTTP: &str = "http";
    /// HTTPS from the world.
    pub const HTTPS: &str = "https";
    /// Requests of other edges.
    pub const HOP: &str = "hop";
    /// The application's connections to the database.
    pub const RELAY: &str = "relay";
    /// Those in which it only reads.
    pub const READ_RELAY: &str = "read_relay";
}

/// What the agent adds to the design.
#[derive(Clone, Debug)]
pub struct EdgeInputs {
    /// The folder of the design's file; `web.root` is relative to it.
    pub folder: PathBuf,
    /// This server's identity towards other edges.
    pub identity: Identity,
    /// The site's certificate, on servers that answer over HTTPS.
    pub site_certificate: Option<KeyPair>,
    /// What is shown there beside it.
    pub site_extras: SiteExtras,
    /// Where the access log goes.
    pub access_log: Option<PathBuf>,
    /// The text of the design's maintenance page, if it has one.
    pub maintenance_page: Option<String>,
    /// The local database's socket, where there is one.
    pub database_socket: Option<PathBuf>,
    /// The application's password there.
    pub database_password: Option<Secret>,
}

/// Everything an edge process works from. It holds private keys: never log it or write it to a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EdgePlan {
    /// Host names the site answers to, the canonical one first.
    pub hosts: Vec<String>,
    /// Plain HTTP is redirected instead of served.
    pub redirect_to_https: bool,
    /// What HTTPS answers with.
    pub site_certificate: Option<KeyPair>,
    /// Certificates beside that one, and what clients must show.
    #[serde(default, skip_serializing_if = "SiteExtras::is_empty")]
    pub site_extras: SiteExtras,
    /// Clients may choose HTTP/2 there.
    pub http2: bool,
    /// What the hop between edges is encrypted with; `None`: it is plain.
    pub identity: Option<Identity>,
    /// Addresses a plain hop is accepted from.
    pub hop_from: Vec<IpAddr>,
    /// Networks of forwarders, whose connections from the world begin with a PROXY header.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proxy_protocol_from: Vec<IpNet>,
    /// Addresses that name servers check the fronts from.
    pub checked_from: Vec<IpAddr>,
    /// Folder of static files, on web servers.
    pub root: Option<PathBuf>,
    /// Where users' requests go, on balancers.
    pub balancer: Option<PoolPlan>,
    /// Where all other requests go.
    pub local: Option<PoolPlan>,
    /// How users stay where they were answered first, on front servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky: Option<StickyPlan>,
    /// What clients may do, on front servers.
    pub limits: Option<Limits>,
    /// Front servers of the design, which share those.
    #[serde(default)]
    pub fronts: u32,
    /// Files it may have open, where that is not what the system says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files_max: Option<u32>,
    /// How slow one may be.
    #[serde(default, skip_serializing_if = "MinRate::is_default")]
    pub min_rate: MinRate,
    /// What happens to header fields, on front servers.
    #[serde(default, skip_serializing_if = "Headers::is_empty")]
    pub headers: Headers,
    /// Requests that are sent elsewhere, on front servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redirects: Vec<Redirect>,
    /// Pools beside the balancer's, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pools: BTreeMap<String, PoolPlan>,
    /// Which users' requests go to them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// What browsers are told to remember of HTTPS, on front servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hsts: Option<Hsts>,
    /// The application speaks HTTP/2, so requests may be calls of gRPC, which have a rhythm of their own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub grpc: bool,
    /// Whether users are turned away for a while.
    #[serde(default, skip_serializing_if = "MaintenancePlan::is_default")]
    pub maintenance: MaintenancePlan,
    /// Where the relay leads until somebody says who the primary is.
    pub relay: Option<RelayTarget>,
    /// Where it may lead then.
    #[serde(default, skip_serializing_if = "DatabaseWays::is_default")]
    pub database: DatabaseWays,
    /// Where the access log goes.
    pub access_log: Option<PathBuf>,
    /// What stands there.
    #[serde(default, skip_serializing_if = "AccessLog::is_default")]
    pub log: AccessLog,
}

/// A cookie that says where a user was answered. What signs it follows from [`EdgePlan::site_certificate`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StickyPlan {
    /// Its name.
    pub cookie: String,
    /// What it can name: every server, and instances as each server calls its own.
    pub stations: Vec<String>,
}

/// Maintenance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaintenancePlan {
    /// What an operator said; `None`: the site is open.
    pub order: Option<Maintenance>,
    /// The design's own page.
    pub page: Option<String>,
    /// Networks that reach the site all the same.
    pub allow: Vec<IpNet>,
}

impl MaintenancePlan {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Backends that do the same job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolPlan {
    /// In the order of the file.
    pub backends: Vec<BackendPlan>,
    /// How each is checked.
    pub check: HealthCheck,
    /// How the next one is chosen.
    pub algorithm: Algorithm,
    /// The header or cookie that the algorithm goes by.
    pub hash_on: Option<String>,
    /// Time in which one that came back gets more and more of its share, in milliseconds.
    pub slow_start_ms: u32,
    /// Failures in a row of requests themselves that leave one out for a time; 0: none do.
    pub max_fails: u32,
    /// Percentage of requests failing that leaves one out for a time; 0: none does.
    #[serde(default)]
    pub error_rate_percent: u8,
    /// Time after which an answer that has not begun counts as failed for that, in milliseconds; 0: none does.
    #[serde(default)]
    pub slow_after_ms: u32,
    /// Of 502, 503 and 504, the statuses with which an answer is thrown away while another one can be asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retry_statuses: Vec<u16>,
    /// Time a request waits while all that could take it are full, in milliseconds; 0: it is refused at once.
    pub queue_timeout_ms: u32,
    /// Requests that wait at one time.
    pub queue_max: u32,
    /// Percentage of active ones of which fewer being up means that checks are not believed; 0: they always are.
    pub panic_percent: u8,
    /// What an operator said of them.
    pub settings: Vec<BackendSetting>,
}

impl PoolPlan {
    /// Round robin over `backends`, with no more said.
    pub fn new(backends: Vec<BackendPlan>, check: HealthCheck) -> Self {
        Self::of(backends, &Balancing::new(check))
    }

    /// Over `backends` as `balancing` says.
    pub fn of(backends: Vec<BackendPlan>, balancing: &Balancing) -> Self {
        Self {
            backends,
            check: balancing.health.clone(),
            algorithm: balancing.algorithm,
            hash_on: balancing.hash_on.clone(),
            slow_start_ms: balancing.slow_start_ms,
            max_fails: balancing.max_fails,
            error_rate_percent: balancing.error_rate_percent,
            slow_after_ms: balancing.slow_after_ms,
            retry_statuses: balancing.retry_statuses.clone(),
            queue_timeout_ms: balancing.queue_timeout_ms,
            queue_max: balancing.queue_max,
            panic_percent: balancing.panic_percent,
            settings: Vec::new(),
        }
    }
}

/// Something requests can be sent to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendPlan {
    /// The server, or the instance: `srv2`, `app-1`.
    pub name: String,
    /// How it is reached.
    pub target: Target,
    /// Its share.
    pub weight: u16,
    /// Passive.
    pub backup: bool,
    /// Requests it may have in flight; 0: any number. A change of it is no other backend.
    pub max_connections: u32,
    /// How connections to it begin, if it is an instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Requests go over HTTP/2: always to an instance, and to another edge if that agrees. A wish to switch protocols
    /// goes over HTTP/1.1.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub http2: bool,
    /// It is asked by gRPC how it is, not by a path.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub grpc_check: bool,
}

impl BackendPlan {
    /// A backend of weight 1 with no more said.
    pub fn new(name: impl Into<String>, target: Target) -> Self {
        let (weight, backup, max_connections) = (1, false, 0);
        let (proxy_protocol, http2, grpc_check) = (None, false, false);
        Self { name: name.into(), target, weight, backup, max_connections, proxy_protocol, http2, grpc_check }
    }

    /// Whether what is known of the one holds for the other.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        *self == Self { max_connections: self.max_connections, ..other.clone() }
    }
}

/// How a backend is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// It is this very server: its local pool, without a hop.
    ThisServer,
    /// An instance of the application on this server.
    Instance(SocketAddr),
    /// Something that Triad does not run, in plain HTTP/1.1: nothing of what edges tell each other is believed of it.
    Origin(SocketAddr),
    /// Another server's edge, unencrypted.
    Plain(SocketAddr),
    /// Another server's edge, over mutual TLS.
    MutualTls {
        /// Where to connect.
        address: SocketAddr,
        /// The name its certificate must carry.
        server_name: String,
    },
}

impl Target {
    /// Whether another edge answers there.
    pub(crate) fn is_edge(&self) -> bool {
        matches!(self, Target::Plain(_) | Target::MutualTls { .. })
    }
}

/// The sockets `server`'s edge needs.
pub fn listeners(design: &Design, server: &ServerName) -> Vec<ListenerSpec> {
    let mut specs = Vec::new();
    let mut listen = |name: &str, address: IpAddr, port: u16| {
        specs.push(ListenerSpec { name: name.to_owned(), address: SocketAddr::new(address, port) });
    };
    if design.fronts().contains(&server) {
        for address in design.server(server).into_iter().flat_map(|server| &server.public) {
            listen(ListenerSpec::HTTP, *address, HTTP);
            if design.tls.is_some() {
                listen(ListenerSpec::HTTPS, *address, HTTPS);
            }
        }
    }
    if !hop_senders(design, server).is_empty()
        && let Some(address) = private(design, server)
    {
        listen(ListenerSpec::HOP, address, HOP);
    }
    if design.database.is_some() && design.carries(server, Role::App) {
        listen(ListenerSpec::RELAY, Ipv4Addr::LOCALHOST.into(), DATABASE);
        listen(ListenerSpec::READ_RELAY, Ipv4Addr::LOCALHOST.into(), DATABASE_READ);
    }
    specs
}

impl EdgePlan {
    /// What `server`'s edge should be.
    pub fn of(design: &Design, server: &ServerName, inputs: EdgeInputs) -> Self {
        let encrypted = design.tls.is_some();
        let is_front = design.fronts().contains(&server);
        let is_balancer = design.carries(server, Role::Balancer);
        let database = DatabaseWays::of(design, server, inputs.database_socket, inputs.database_password);
        let root = design.web.as_ref().filter(|web| web.servers.contains(server)).and_then(|web| web.root.as_ref());
        Self {
            hosts: design.site.hosts.clone(),
            redirect_to_https: encrypted,
            hop_from: hop_senders(design, server).into_iter().filter_map(|from| private(design, from)).collect(),
            proxy_protocol_from: forwarders(design, server),
            checked_from: checkers(design),
            root: root.map(|root| inputs.folder.join(root)),
            balancer: balancer_pool(design, server),
            local: local_pool(design, server),
            sticky: sticky(design, server),
            limits: design.limits.clone().filter(|_| is_front),
            fronts: u32::try_from(design.fronts().len()).unwrap_or(u32::MAX),
            files_max: None,
            min_rate: MinRate::default(),
            headers: if is_front { design.headers.clone() } else { Headers::default() },
            redirects: if is_front { design.redirects.clone() } else { Vec::new() },
            pools: pools(design, server),
            routes: if is_balancer { design.routes.clone() } else { Vec::new() },
            hsts: design.tls.as_ref().filter(|_| is_front).and_then(|tls| tls.hsts),
            maintenance: if is_front { maintenance(design, inputs.maintenance_page) } else { Default::default() },
            grpc: speaks_http2(design),
            relay: database.to_primary(design),
            database,
            site_certificate: inputs.site_certificate.filter(|_| encrypted),
            site_extras: inputs.site_extras,
            http2: design.tls.as_ref().is_some_and(|tls| tls.http2),
            identity: encrypted.then_some(inputs.identity),
            access_log: inputs.access_log,
            log: design.log.clone(),
        }
    }
}

impl EdgePlan {
    /// The pools that users' requests are balanced over, with their names: the balancer's first.
    pub fn balanced(&self) -> impl Iterator<Item = (&str, &PoolPlan)> {
        let balancer = self.balancer.iter().map(|pool| (BALANCER, pool));
        balancer.chain(self.pools.iter().map(|(name, pool)| (name.as_str(), pool)))
    }

    /// The same, to be changed.
    pub fn balanced_mut(&mut self) -> impl Iterator<Item = (&str, &mut PoolPlan)> {
        let balancer = self.balancer.iter_mut().map(|pool| (BALANCER, pool));
        balancer.chain(self.pools.iter_mut().map(|(name, pool)| (name.as_str(), pool)))
    }
}

/// The servers whose edges send requests to `server`'s.
fn hop_senders<'a>(design: &'a Design, server: &ServerName) -> Vec<&'a ServerName> {
    let names = design.servers.iter().map(|from| &from.name);
    names.filter(|from| design.next_hops(from).contains(&server)).collect()
}

/// Who passes users' connections on to `server`.
fn forwarders(design: &Design, server: &ServerName) -> Vec<IpNet> {
    let balancer = design.balancer.as_ref().filter(|balancer| balancer.servers.contains(server));
    balancer.map(|balancer| balancer.proxy_protocol_from.clone()).unwrap_or_default()
}

/// The public addresses of the servers that answer DNS: their agents look whether fronts are alive.
fn checkers(design: &Design) -> Vec<IpAddr> {
    let name_servers = design.carriers(Role::Dns).into_iter().filter_map(|name| design.server(name));
    name_servers.flat_map(|server| server.public.iter().copied()).collect()
}

fn sticky(design: &Design, server: &ServerName) -> Option<StickyPlan> {
    let balancer = design.balancer.as_ref().filter(|balancer| balancer.servers.contains(server))?;
    let servers = design.servers.iter().map(|server| server.name.to_string());
    let instances = design.app.iter().flat_map(|app| 1..=app.instances).map(instance_name);
    let stations = || servers.chain(instances).collect();
    balancer.sticky_cookie.clone().map(|cookie| StickyPlan { cookie, stations: stations() })
}

fn instance_name(number: u16) -> String {
    format!("app-{number}")
}

/// While nobody says otherwise, the site is open.
fn maintenance(design: &Design, page: Option<String>) -> MaintenancePlan {
    MaintenancePlan { order: None, page, allow: design.site.maintenance_allow.clone() }
}

fn private(design: &Design, server: &ServerName) -> Option<IpAddr> {
    design.server(server)?.private
}

fn balancer_pool(design: &Design, server: &ServerName) -> Option<PoolPlan> {
    let balancer = design.balancer.as_ref().filter(|balancer| balancer.servers.contains(server))?;
    let backends = balancer.backends.iter().filter_map(|backend| {
        let Backend { server: name, weight, backup, max_connections } = backend;
        let (weight, backup, max_connections) = (*weight, *backup, *max_connections);
        Some(BackendPlan { weight, backup, max_connections, ..way_to(design, server, name)? })
    });
    Some(PoolPlan::of(backends.collect(), &balancer.balancing))
}

/// On balancers, the pools that routes lead to.
fn pools(design: &Design, server: &ServerName) -> BTreeMap<String, PoolPlan> {
    let pools = design.pools.iter().filter(|_| design.carries(server, Role::Balancer));
    pools.map(|pool| (pool.name.clone(), routed_pool(design, server, pool))).collect()
}

fn routed_pool(design: &Design, server: &ServerName, pool: &Pool) -> PoolPlan {
    let backends = pool.backends.iter().filter_map(|backend| {
        let PoolBackend { name, address, weight, backup, max_connections } = backend;
        let (weight, backup, max_connections) = (*weight, *backup, *max_connections);
        let plan = match address {
            Some(address) => BackendPlan::new(name.to_string(), Target::Origin(*address)),
            None => way_to(design, server, name)?,
        };
        Some(BackendPlan { weight, backup, max_connections, ..plan })
    });
    PoolPlan::of(backends.collect(), &pool.balancing)
}

/// The way from one server's edge to another's, which may be the same.
fn way_to(design: &Design, from: &ServerName, to: &ServerName) -> Option<BackendPlan> {
    if from == to { Some(BackendPlan::new(to.to_string(), Target::ThisServer)) } else { hop(design, to) }
}

fn local_pool(design: &Design, server: &ServerName) -> Option<PoolPlan> {
    let app = design.app.as_ref()?;
    let balancer_check = design.balancer.as_ref().map(|balancer| &balancer.balancing.health);
    let check = HealthCheck::of_instances(app, balancer_check);
    let pool = |backends| {
        let pool = PoolPlan::new(backends, check);
        let Some(balancer) = &design.balancer else { return pool };
        let balancing = &balancer.balancing;
        PoolPlan {
            max_fails: balancing.max_fails,
            error_rate_percent: balancing.error_rate_percent,
            slow_after_ms: balancing.slow_after_ms,
            queue_timeout_ms: balancing.queue_timeout_ms,
            queue_max: balancing.queue_max,
            ..pool
        }
    };
    if design.carries(server, Role::App) {
        let instance = |number: u16| {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, INSTANCE_FIRST + number - 1));
            let max_connections = app.max_connections;
            let instance = BackendPlan::new(instance_name(number), Target::Instance(address));
            let (http2, grpc_check) = (speaks_http2(design), app.is_checked_by_grpc());
            BackendPlan { max_connections, proxy_protocol: app.proxy_protocol, http2, grpc_check, ..instance }
        };
        return Some(pool((1..=app.instances).map(instance).collect()));
    }
    if !design.carries(server, Role::Web) {
        return None;
    }
    let backends = app.servers.iter().filter_map(|name| hop(design, name));
    Some(pool(backends.collect()))
}

/// Another server's edge; `None` without a private address, which a design of several servers has.
fn hop(design: &Design, to: &ServerName) -> Option<BackendPlan> {
    let address = SocketAddr::new(private(design, to)?, HOP);
    let target = match design.tls {
        Some(_) => Target::MutualTls { address, server_name: internal_name(to) },
        None => Target::Plain(address),
    };
    let http2 = design.tls.as_ref().is_some_and(|tls| tls.hop_http2);
    Some(BackendPlan { http2, ..BackendPlan::new(to.to_string(), target) })
}

fn speaks_http2(design: &Design) -> bool {
    design.app.as_ref().is_some_and(|app| app.protocol == AppProtocol::Http2)
}
