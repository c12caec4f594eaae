//! The file form: what stands in the file, as close to it as possible, each value with its place. The defaults that
//! are constants are filled in; those that follow from other keys are left to `resolve`.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::PathBuf;

use toml::Spanned;
use triad_model::{Algorithm, AppProtocol, CheckKind, Code, ProxyProtocol, RedirectTarget, RequestPattern, Statuses};

use crate::table::{Field, Table};

/// The file.
pub(crate) struct File {
    /// Whether all that stands at the top was understood: only then is a section that is not there absent.
    pub(crate) has_all_sections: bool,
    pub(crate) site: Option<Site>,
    pub(crate) servers: Field<Vec<Server>>,
    pub(crate) dns: Option<Dns>,
    pub(crate) balancer: Option<Balancer>,
    pub(crate) web: Option<Web>,
    pub(crate) app: Option<App>,
    pub(crate) database: Option<Database>,
    pub(crate) tls: Option<Tls>,
    pub(crate) limits: Option<Limits>,
    pub(crate) headers: Option<Headers>,
    pub(crate) redirects: Vec<Redirect>,
    pub(crate) pools: Field<Vec<Pool>>,
    pub(crate) routes: Vec<Route>,
    pub(crate) firewall: Option<Firewall>,
    pub(crate) monitor: Option<Monitor>,
    pub(crate) log: Option<Log>,
    pub(crate) allowed: Vec<Allowed>,
}

/// `servers = [...]` of a section.
pub(crate) type Servers = Field<Vec<Spanned<String>>>;

/// `[site]`
pub(crate) struct Site {
    pub(crate) domain: Field<String>,
    pub(crate) hosts: Field<Vec<Spanned<String>>>,
    pub(crate) maintenance_page: Field<PathBuf>,
    pub(crate) maintenance_allow: Field<Vec<Spanned<String>>>,
}

/// `[servers.NAME]`
pub(crate) struct Server {
    pub(crate) name: Spanned<String>,
    pub(crate) public: Field<Vec<Spanned<IpAddr>>>,
    pub(crate) private: Field<IpAddr>,
}

/// `[dns]`
pub(crate) struct Dns {
    pub(crate) servers: Servers,
    pub(crate) ttl_s: u32,
}

/// `[balancer]`
pub(crate) struct Balancer {
    pub(crate) at: Range<usize>,
    pub(crate) servers: Servers,
    pub(crate) balancing: Balancing,
    pub(crate) sticky_cookie: Field<String>,
    pub(crate) proxy_protocol_from: Field<Vec<Spanned<String>>>,
    pub(crate) backends: Field<Vec<Backend>>,
}

/// What `[balancer]` and `[pools.NAME]` say alike.
pub(crate) struct Balancing {
    pub(crate) algorithm: Field<Algorithm>,
    pub(crate) hash_on: Field<String>,
    pub(crate) mode: Field<String>,
    pub(crate) slow_start_ms: u32,
    pub(crate) max_fails: u32,
    pub(crate) error_rate_percent: u8,
    pub(crate) slow_after_ms: Spanned<u32>,
    pub(crate) retry_statuses: Vec<u16>,
    pub(crate) queue_timeout_ms: u32,
    pub(crate) queue_max: u32,
    pub(crate) panic_percent: Spanned<u8>,
    pub(crate) health: HealthCheck,
}

/// `[pools.NAME]`
pub(crate) struct Pool {
    pub(crate) name: Spanned<String>,
    pub(crate) backends: Field<Vec<PoolBackend>>,
    pub(crate) balancing: Balancing,
}

/// `backends = { NAME = … }` of a pool
pub(crate) struct PoolBackend {
    pub(crate) backend: Backend,
    pub(crate) address: Field<SocketAddr>,
}

/// `[[routes]]`
pub(crate) struct Route {
    pub(crate) pattern: Field<RequestPattern>,
    pub(crate) pool: Field<String>,
}

/// `backends = { NAME = … }`
pub(crate) struct Backend {
    pub(crate) server: Spanned<String>,
    pub(crate) weight: u16,
    pub(crate) backup: bool,
    pub(crate) max_connections: u32,
}

impl Backend {
    /// Whether it gets requests only while no active backend is up.
    pub(crate) fn is_passive(&self) -> bool {
        self.backup || self.weight == 0
    }
}

/// `health = { … }`
pub(crate) struct HealthCheck {
    pub(crate) kind: Field<CheckKind>,
    pub(crate) path: Field<String>,
    pub(crate) status: Field<Statuses>,
    pub(crate) body: Field<String>,
    pub(crate) interval_ms: u32,
    /// 0 where it is not given, which no value is.
    pub(crate) fast_interval_ms: Spanned<u32>,
    pub(crate) timeout_ms: u32,
    pub(crate) rise: u32,
    pub(crate) fall: u32,
}

/// `[web]`
pub(crate) struct Web {
    pub(crate) at: Range<usize>,
    pub(crate) servers: Servers,
    pub(crate) root: Field<PathBuf>,
}

/// `[app]`
pub(crate) struct App {
    pub(crate) servers: Servers,
    pub(crate) build: Field<String>,
    pub(crate) directory: Field<PathBuf>,
    pub(crate) command: Field<String>,
    pub(crate) instances: u16,
    pub(crate) max_connections: u32,
    pub(crate) health: Field<String>,
    pub(crate) protocol: Field<AppProtocol>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) proxy_protocol: Field<ProxyProtocol>,
}

/// `[database]`
pub(crate) struct Database {
    pub(crate) at: Range<usize>,
    pub(crate) primary: Field<String>,
    pub(crate) replicas: Servers,
    pub(crate) name: Field<String>,
    pub(crate) user: Field<String>,
}

/// `[tls]`
pub(crate) struct Tls {
    pub(crate) at: Range<usize>,
    pub(crate) certificate: Field<String>,
    pub(crate) certificate_file: Field<PathBuf>,
    pub(crate) key_file: Field<PathBuf>,
    pub(crate) ocsp_file: Field<PathBuf>,
    pub(crate) certificates: Vec<NamedCertificate>,
    pub(crate) client_certificates: Field<String>,
    pub(crate) client_ca_file: Field<PathBuf>,
    pub(crate) client_crl_file: Field<PathBuf>,
    pub(crate) http2: bool,
    pub(crate) hop_http2: bool,
    pub(crate) hsts_max_age_s: u32,
    pub(crate) hsts_include_subdomains: Spanned<bool>,
}

impl Tls {
    /// What is done about clients' certificates, if anything is.
    pub(crate) fn asks_clients(&self) -> Option<&str> {
        self.client_certificates.value().map(String::as_str).filter(|how| *how != "off")
    }
}

/// An entry of `[[tls.certificates]]`
pub(crate) struct NamedCertificate {
    pub(crate) hosts: Field<Vec<Spanned<String>>>,
    pub(crate) certificate_file: Field<PathBuf>,
    pub(crate) key_file: Field<PathBuf>,
    pub(crate) ocsp_file: Field<PathBuf>,
}

/// `[limits]`
pub(crate) struct Limits {
    pub(crate) at: Range<usize>,
    /// 0 where it is not given, which no value is.
    pub(crate) requests_per_s: u32,
    pub(crate) burst: u32,
    pub(crate) connections: u32,
    pub(crate) site_requests_per_s: u32,
    pub(crate) site_burst: u32,
    pub(crate) site_connections: u32,
    pub(crate) ban_after: u32,
    pub(crate) ban_s: u32,
    pub(crate) exempt: Field<Vec<Spanned<String>>>,
}

/// `[headers]`
pub(crate) struct Headers {
    pub(crate) request: HeaderRules,
    pub(crate) response: HeaderRules,
    pub(crate) forwarded: Field<String>,
    pub(crate) trace: Field<String>,
}

/// `request = { … }` and `response = { … }` of `[headers]`
pub(crate) struct HeaderRules {
    pub(crate) set: Vec<(Spanned<String>, String)>,
    pub(crate) add: Vec<(Spanned<String>, String)>,
    pub(crate) remove: Field<Vec<Spanned<String>>>,
}

/// `[[redirects]]`
pub(crate) struct Redirect {
    pub(crate) from: Field<RequestPattern>,
    pub(crate) to: Field<RedirectTarget>,
    pub(crate) status: u16,
}

/// `[firewall]`
pub(crate) struct Firewall {
    pub(crate) ssh_from: Field<Vec<Spanned<String>>>,
    pub(crate) ssh_port: Spanned<u16>,
}

/// `[monitor]`
pub(crate) struct Monitor {
    pub(crate) metrics_from: Field<Vec<Spanned<String>>>,
}

/// `[log]`
pub(crate) struct Log {
    pub(crate) format: Field<String>,
    pub(crate) fields: Field<Vec<Spanned<String>>>,
}

/// An entry of `allow` of `[check]`
pub(crate) struct Allowed {
    pub(crate) at: Range<usize>,
    pub(crate) code: Field<Code>,
    pub(crate) reason: Field<String>,
}

impl File {
    /// Takes out of `root` what is well-formed.
    pub(crate) fn read(root: &Table<'_>) -> Self {
        Self {
            has_all_sections: root.is_understood(),
            site: root.section("site").map(|table| Site::read(&table)),
            servers: root.named("servers").map(|entries| entries.iter().map(Server::read).collect()),
            dns: root.section("dns").map(|table| Dns::read(&table)),
            balancer: root.section("balancer").map(|table| Balancer::read(&table)),
            web: root.section("web").map(|table| Web::read(&table)),
            app: root.section("app").map(|table| App::read(&table)),
            database: root.section("database").map(|table| Database::read(&table)),
            tls: root.section("tls").map(|table| Tls::read(&table)),
            limits: root.section("limits").map(|table| Limits::read(&table)),
            headers: root.section("headers").map(|table| Headers::read(&table)),
            redirects: root.tables("redirects").iter().map(Redirect::read).collect(),
            pools: root.named("pools").map(|entries| {
                let balancer = root.section_or_defaults("balancer");
                entries.iter().map(|entry| Pool::read(entry, &balancer)).collect()
            }),
            routes: root.tables("routes").iter().map(Route::read).collect(),
            firewall: root.section("firewall").map(|table| Firewall::read(&table)),
            monitor: root.section("monitor").map(|table| Monitor { metrics_from: table.list("metrics_from") }),
            log: root.section("log").map(|it| Log { format: it.parsed("format"), fields: it.list("fields") }),
            allowed: root.section_or_defaults("check").tables("allow").iter().map(Allowed::read).collect(),
        }
    }
}

impl Site {
    fn read(table: &Table<'_>) -> Self {
        Self {
            domain: table.parsed("domain"),
            hosts: table.list("hosts"),
            maintenance_page: table.parsed("maintenance_page"),
            maintenance_allow: table.list("maintenance_allow"),
        }
    }
}

impl Server {
    fn read((name, table): &(Spanned<String>, Table<'_>)) -> Self {
        Self { name: name.clone(), public: table.list("public"), private: table.parsed("private") }
    }
}

impl Dns {
    fn read(table: &Table<'_>) -> Self {
        Self { servers: table.list("servers"), ttl_s: table.integer("ttl_s") }
    }
}

impl Balancer {
    fn read(table: &Table<'_>) -> Self {
        Self {
            at: table.at(),
            servers: table.list("servers"),
            balancing: Balancing::read(table, table),
            sticky_cookie: table.parsed("sticky_cookie"),
            proxy_protocol_from: table.list("proxy_protocol_from"),
            backends: table.named("backends").map(|entries| entries.iter().map(Backend::read).collect()),
        }
    }
}

impl Balancing {
    /// Whether only the first backend is active.
    pub(crate) fn is_active_passive(&self) -> bool {
        self.mode.value().is_some_and(|mode| mode == "active-passive")
    }

    /// What `own` says, and where it does not, `other`.
    fn read(own: &Table<'_>, other: &Table<'_>) -> Self {
        let of = |name| if own.has(name) { own } else { other };
        let algorithm: Field<Algorithm> = own.here("algorithm", of("algorithm").parsed("algorithm"));
        // A name for hashes is not for an algorithm that hashes nothing by name.
        let takes_name = own.has("hash_on") || algorithm.value().is_none_or(|it| it.hashes_by_name());
        Self {
            hash_on: if takes_name { of("hash_on").parsed("hash_on") } else { Field::Absent },
            algorithm,
            mode: of("mode").parsed("mode"),
            slow_start_ms: of("slow_start_ms").integer("slow_start_ms"),
            max_fails: of("max_fails").integer("max_fails"),
            error_rate_percent: of("error_rate_percent").integer("error_rate_percent"),
            slow_after_ms: Spanned::new(own.place("slow_after_ms"), of("slow_after_ms").integer("slow_after_ms")),
            retry_statuses: of("retry_statuses").integers("retry_statuses"),
            queue_timeout_ms: of("queue_timeout_ms").integer("queue_timeout_ms"),
            queue_max: of("queue_max").integer("queue_max"),
            panic_percent: Spanned::new(own.place("panic_percent"), of("panic_percent").integer("panic_percent")),
            health: HealthCheck::read(&own.section_or_defaults("health"), &other.section_or_defaults("health")),
        }
    }
}

impl Pool {
    /// Where it stands, dotted.
    pub(crate) fn key(&self) -> String {
        format!("pools.{}", self.name.get_ref())
    }

    /// What it does not say, `balancer` says.
    fn read((name, table): &(Spanned<String>, Table<'_>), balancer: &Table<'_>) -> Self {
        Self {
            name: name.clone(),
            backends: table.named("backends").map(|entries| entries.iter().map(PoolBackend::read).collect()),
            balancing: Balancing::read(table, balancer),
        }
    }
}

impl PoolBackend {
    fn read(entry: &(Spanned<String>, Table<'_>)) -> Self {
        Self { backend: Backend::read(entry), address: entry.1.parsed("address") }
    }
}

impl Route {
    fn read(table: &Table<'_>) -> Self {
        Self { pattern: table.parsed("match"), pool: table.parsed("pool") }
    }
}

impl Backend {
    fn read((server, table): &(Spanned<String>, Table<'_>)) -> Self {
        Self {
            server: server.clone(),
            weight: table.integer("weight"),
            backup: table.flag("backup"),
            max_connections: table.integer("max_connections"),
        }
    }
}

impl HealthCheck {
    /// What `own` says, and where it does not, `other`.
    fn read(own: &Table<'_>, other: &Table<'_>) -> Self {
        let of = |name| if own.has(name) { own } else { other };
        let kind: Field<CheckKind> = own.here("type", of("type").parsed("type"));
        // What one asks of an answer is not for another that asks for a connection.
        let asks = |name| own.has(name) || kind.value() != Some(&CheckKind::Tcp);
        Self {
            path: if asks("path") { of("path").parsed("path") } else { Field::Absent },
            status: if asks("status") { of("status").parsed("status") } else { Field::Absent },
            body: if asks("body") { of("body").parsed("body") } else { Field::Absent },
            kind,
            interval_ms: of("interval_ms").integer("interval_ms"),
            fast_interval_ms: Spanned::new(
                own.place("fast_interval_ms"),
                if own.has("interval_ms") {
                    own.integer("fast_interval_ms")
                } else {
                    of("fast_interval_ms").integer("fast_interval_ms")
                },
            ),
            timeout_ms: of("timeout_ms").integer("timeout_ms"),
            rise: of("rise").integer("rise"),
            fall: of("fall").integer("fall"),
        }
    }
}

impl Web {
    fn read(table: &Table<'_>) -> Self {
        Self { at: table.at(), servers: table.list("servers"), root: table.parsed("root") }
    }
}

impl App {
    fn read(table: &Table<'_>) -> Self {
        Self {
            servers: table.list("servers"),
            build: table.parsed("build"),
            directory: table.parsed("directory"),
            command: table.parsed("command"),
            instances: table.integer("instances"),
            max_connections: table.integer("max_connections"),
            health: table.parsed("health"),
            protocol: table.parsed("protocol"),
            environment: table.variables("environment"),
            proxy_protocol: table.parsed("proxy_protocol"),
        }
    }
}

impl Database {
    fn read(table: &Table<'_>) -> Self {
        Self {
            at: table.at(),
            primary: table.parsed("primary"),
            replicas: table.list("replicas"),
            name: table.parsed("name"),
            user: table.parsed("user"),
        }
    }
}

impl Tls {
    fn read(table: &Table<'_>) -> Self {
        Self {
            at: table.at(),
            certificate: table.parsed("certificate"),
            certificate_file: table.parsed("certificate_file"),
            key_file: table.parsed("key_file"),
            ocsp_file: table.parsed("ocsp_file"),
            certificates: table.tables("certificates").iter().map(NamedCertificate::read).collect(),
            client_certificates: table.parsed("client_certificates"),
            client_ca_file: table.parsed("client_ca_file"),
            client_crl_file: table.parsed("client_crl_file"),
            http2: table.flag("http2"),
            hop_http2: table.flag("hop_http2"),
            hsts_max_age_s: table.integer("hsts_max_age_s"),
            hsts_include_subdomains: Spanned::new(
                table.place("hsts_include_subdomains"),
                table.flag("hsts_include_subdomains"),
            ),
        }
    }
}

impl NamedCertificate {
    fn read(table: &Table<'_>) -> Self {
        Self {
            hosts: table.list("hosts"),
            certificate_file: table.parsed("certificate_file"),
            key_file: table.parsed("key_file"),
            ocsp_file: table.parsed("ocsp_file"),
        }
    }
}

impl Limits {
    fn read(table: &Table<'_>) -> Self {
        Self {
            at: table.at(),
            requests_per_s: table.integer("requests_per_s"),
            burst: table.integer("burst"),
            connections: table.integer("connections"),
            site_requests_per_s: table.integer("site_requests_per_s"),
            site_burst: table.integer("site_burst"),
            site_connections: table.integer("site_connections"),
            ban_after: table.integer("ban_after"),
            ban_s: table.integer("ban_s"),
            exempt: table.list("exempt"),
        }
    }
}

impl Headers {
    fn read(table: &Table<'_>) -> Self {
        let rules = |name| HeaderRules::read(&table.section_or_defaults(name));
        let (forwarded, trace) = (table.parsed("forwarded"), table.parsed("trace"));
        Self { request: rules("request"), response: rules("response"), forwarded, trace }
    }
}

impl HeaderRules {
    fn read(table: &Table<'_>) -> Self {
        Self { set: table.fields("set"), add: table.fields("add"), remove: table.list("remove") }
    }
}

impl Redirect {
    fn read(table: &Table<'_>) -> Self {
        Self { from: table.parsed("from"), to: table.parsed("to"), status: table.integer("status") }
    }
}

impl Firewall {
    fn read(table: &Table<'_>) -> Self {
        let ssh_port = Spanned::new(table.place("ssh_port"), table.integer("ssh_port"));
        Self { ssh_from: table.list("ssh_from"), ssh_port }
    }
}

impl Allowed {
    fn read(table: &Table<'_>) -> Self {
        Self { at: table.at(), code: table.parsed("code"), reason: table.parsed("reason") }
    }
}
