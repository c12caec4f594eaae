//! The vocabulary of Triad: what a design says, which traffic it needs, and what running servers report.
//!
//! Everything here is data and pure functions. Nothing reads a file, a clock or a socket, so every other crate can
//! depend on this one and tests need no set-up.

#![forbid(unsafe_code)]

mod check;
mod database_route;
mod design;
mod failover;
mod finding;
mod flow;
mod headers;
mod health;
mod log;
mod orders;
mod pattern;
mod ports;
mod process;
mod promotion;
mod redirect;
mod report;
mod route;
mod secret;
mod setting;
mod times;
mod usage;
mod voters;

pub use check::{CheckKind, HealthCheck, InvalidStatuses, Statuses};
pub use database_route::DatabaseRoute;
pub use design::{
    Algorithm, App, AppProtocol, Backend, Balancer, Balancing, Certificate, ClientCertificates, Database, Design, Dns,
    Firewall, Hsts, InvalidServerName, Limits, Monitor, NamedCertificate, ProxyProtocol, Role, Server, ServerName,
    Site, Tls, Web,
};
pub use failover::{FailoverReport, FailoverTimes, Switchover, SwitchoverRequest};
pub use finding::{Allowed, Code, Finding, Severity, UnknownCode};
pub use flow::{Flow, Origin, Protocol, flows};
pub use headers::{
    HEADER_RULES_BYTES_MAX, HEADER_RULES_MAX, HEADER_VALUE_BYTES_MAX, HeaderRules, Headers, Trace, is_header_value,
    reserved_header,
};
pub use health::{CHECK_USER_AGENT, Health, Reading, Verdict};
pub use log::{AccessLog, LogField, LogFormat};
pub use orders::{
    BAN_REASON_BYTES_MAX, BAN_S, BAN_S_MAX, BANS_MAX, Ban, BanRequest, BanWord, InvalidBan, Orders, Said,
    client_network,
};
pub use pattern::{InvalidPattern, RequestPattern};
pub use ports::*;
pub use process::{ProcessSpec, ServiceUser};
pub use promotion::Promotion;
pub use redirect::{
    Endless, REDIRECT_STATUS, REDIRECT_STATUSES, REDIRECTS_MAX, Redirect, RedirectTarget, endless_redirects,
    redirect_for,
};
pub use report::{
    BackendReport, DatabaseReport, DatabaseRole, DnsReport, EdgeReport, FirewallReport, HeartbeatReport,
    LATENCY_BOUNDS_S, LatencyHistogram, PeerPresence, PeerReport, PoolReport, ProcessReport, ProcessState, Rates,
    Refusals, RelayReport, RequestCount, RoleReport, ServerReport, SiteLatency, State,
};
pub use route::{
    Ambiguous, POOL_NAMES_TAKEN, POOLS_MAX, Pool, PoolBackend, ROUTES_MAX, Route, all_readings, route_for,
};
pub use secret::Secret;
pub use setting::{BackendMode, BackendSetting, InvalidMessage, Maintenance};
pub use times::*;
pub use usage::{
    HELD_CONNECTIONS_MAX, HELD_VALID_MS, Heard, Held, Noticed, SITE_REQUESTS_MAX, USAGE_CLIENTS_MAX,
    USAGE_REQUESTS_MAX, UsageNews, Used, is_client,
};
pub use voters::VOTERS;

pub use ipnet::IpNet;
