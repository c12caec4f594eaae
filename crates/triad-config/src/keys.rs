//! The sections and keys of the file, in one table: what the reader accepts, the schema describes and the reference
//! documents is this and nothing else.

use triad_model::{BAN_S, BAN_S_MAX, Backend, Balancing, Code, INSTANCES_MAX, REDIRECT_STATUS, REDIRECT_STATUSES};

use crate::format::Format;

mod pools;

/// The longest wait for a slot: a balancer waits for another server's answer for 30 s, of which the application needs
/// some.
const QUEUE_TIMEOUT_MS_MAX: i64 = 20_000;
/// More requests in flight than any backend takes.
const MAX_CONNECTIONS_MAX: i64 = 1_000_000;

/// The shortest time between two checks of one backend, in milliseconds.
pub(crate) const CHECK_INTERVAL_MS_MIN: u32 = 50;

/// The file's format; `schema = 1` in the file.
pub(crate) const SCHEMA: i64 = 1;

/// A section or a key.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) presence: Presence,
    /// A value as TOML: what help lines tell the user to write.
    pub(crate) example: &'static str,
    /// What it means, for the schema and the reference.
    pub(crate) doc: &'static str,
}

/// What a key's value must be.
pub(crate) enum Kind {
    /// This integer and no other.
    Exactly(i64),
    /// One of these integers.
    OneOf(&'static [i64]),
    /// A list of some of these integers, none of them twice.
    SomeOf(&'static [i64]),
    /// An integer from `min` to `max`.
    Integer { min: i64, max: i64 },
    /// `true` or `false`.
    Flag,
    /// A string.
    Text(Format),
    /// One of `now`; those of `later` are known but not there yet.
    Choice { now: &'static [&'static str], later: &'static [&'static str] },
    /// A list of strings, none of them twice.
    List { of: Format, min: usize },
    /// A string, or a list of strings with at least one.
    OneOrMore(Format),
    /// A table with these keys.
    Table(&'static [Key]),
    /// A list of tables with these keys.
    Tables(&'static [Key]),
    /// A table of tables with these keys, under names of this form.
    Named { names: Format, keys: &'static [Key] },
    /// A table of strings under names of environment variables.
    Variables,
    /// A table of strings under names of header fields.
    Fields,
}

/// Whether a key must stand in the file, and what holds if it does not.
pub(crate) enum Presence {
    Required,
    Optional,
    Flag(bool),
    Integer(i64),
    Text(&'static str),
    EmptyList,
    /// A default that follows from other keys, in words.
    Derived(&'static str),
}

impl Presence {
    /// The default as TOML, or in words; `None` if there is none.
    pub(crate) fn default_text(&self) -> Option<String> {
        match self {
            Presence::Required | Presence::Optional => None,
            Presence::Flag(flag) => Some(flag.to_string()),
            Presence::Integer(integer) => Some(integer.to_string()),
            Presence::Text(text) => Some(format!("{text:?}")),
            Presence::EmptyList => Some("[]".to_owned()),
            Presence::Derived(words) => Some((*words).to_owned()),
        }
    }
}

const fn required(name: &'static str, kind: Kind, example: &'static str, doc: &'static str) -> Key {
    Key { name, kind, presence: Presence::Required, example, doc }
}

const fn optional(name: &'static str, kind: Kind, example: &'static str, doc: &'static str) -> Key {
    Key { name, kind, presence: Presence::Optional, example, doc }
}

const fn default(name: &'static str, kind: Kind, presence: Presence, example: &'static str, doc: &'static str) -> Key {
    Key { name, kind, presence, example, doc }
}

/// The whole file.
pub(crate) static ROOT: &[Key] = &[
    required("schema", Kind::Exactly(SCHEMA), "1", "The format of this file."),
    required("site", Kind::Table(SITE), "{ domain = \"foobar.com\" }", "What users call the site."),
    required(
        "servers",
        Kind::Named { names: Format::ServerName, keys: SERVER },
        "{ srv1 = { public = \"203.0.113.11\", private = \"10.77.0.11\" } }",
        "The servers, each once, under its name. Every one must carry a role.",
    ),
    optional("dns", Kind::Table(DNS), "{ servers = [\"srv1\"] }", "Name servers: authoritative DNS for the domain."),
    optional(
        "balancer",
        Kind::Table(BALANCER),
        "{ servers = [\"srv1\"] }",
        "The load balancer: spreads requests over the servers with `[web]` or `[app]`.",
    ),
    optional("web", Kind::Table(WEB), "{ servers = [\"srv2\"], root = \"public\" }", "The web server: static files."),
    optional(
        "app",
        Kind::Table(APP),
        "{ servers = [\"srv2\"], command = \"./foobar-app\" }",
        "The application server: runs the team's code.",
    ),
    optional(
        "database",
        Kind::Table(DATABASE),
        "{ primary = \"srv2\", replicas = [\"srv3\"] }",
        "MariaDB: one primary that takes writes, any number of replicas.",
    ),
    optional(
        "tls",
        Kind::Table(TLS),
        "{ certificate = \"internal\" }",
        "HTTPS for the site's hosts, and encryption between servers. Without this section, everything is plain.",
    ),
    optional(
        "limits",
        Kind::Table(LIMITS),
        "{ requests_per_s = 50 }",
        "What clients may do on each front server. One client is an IPv4 address or an IPv6 network of 64 bits: its \
         requests beyond the limit are answered 429, its connections closed. The keys with `site_` are for all clients \
         together. Checks and requests of the design's own servers are never refused.",
    ),
    optional(
        "headers",
        Kind::Table(HEADERS),
        "{ response = { set = { X-Frame-Options = \"DENY\" } } }",
        "Header fields of users' requests, as they go on to a backend, and of every answer to a user: of the \
         application, of static files, of pages of our own. Applied once, where users' requests arrive.",
    ),
    default(
        "redirects",
        Kind::Tables(REDIRECTS),
        Presence::EmptyList,
        "[{ from = \"foobar.com/*\", to = \"https://www.foobar.com/*\" }]",
        "Requests that are sent elsewhere, with their query. With `[tls]`, plain HTTP goes to HTTPS first.",
    ),
    default(
        "pools",
        Kind::Named { names: Format::PoolName, keys: pools::POOL },
        Presence::Derived("none"),
        "{ api = { backends = { srv2 = { weight = 5 }, srv3 = {} } } }",
        "Pools beside that of `[balancer]`, for requests that `[[routes]]` names: servers of the design, or things that \
         Triad does not run. Every balancer sends to them.",
    ),
    default(
        "routes",
        Kind::Tables(pools::ROUTES),
        Presence::EmptyList,
        "[{ match = \"/api/*\", pool = \"api\" }]",
        "Which users' requests go to which pool; what none is for goes where it goes without routes. Redirects come \
         first. For such a request a balancer looks at its own static files only where it is itself a backend of the \
         pool; a backend that is a server of the design looks at its own as ever. Answered 400 where it makes a \
         difference how the path is read: byte for byte, or with percent-encoded bytes decoded, `\\` as `/`, without \
         `;` and what follows it in a segment, several slashes as one, `.` and `..` taken away. So a route is a wall \
         between pools for servers that read paths in one of these ways; case and `/a` against `/a/` count as sent.",
    ),
    optional(
        "firewall",
        Kind::Table(FIREWALL),
        "{ ssh_from = [\"198.51.100.0/24\"] }",
        "A firewall on every server that admits what the design needs and drops the rest. Without this section, none.",
    ),
    optional(
        "monitor",
        Kind::Table(MONITOR),
        "{}",
        "A monitoring agent on every server, read as Prometheus metrics. Without this section, none.",
    ),
    optional(
        "log",
        Kind::Table(LOG),
        "{ format = \"combined\" }",
        "What each edge writes of each request: `log/edge/access.jsonl`, or `access.log`, under the state folder, \
         `/var/lib/triad`. A file of 16 MiB is put aside, four are kept; a file that somebody else moves away is opened \
         anew at once. A disk that is too slow costs lines, which are counted, and never requests.",
    ),
    optional("check", Kind::Table(CHECK), "{ allow = [] }", "What `triad check` is told about this design."),
];

static SITE: &[Key] = &[
    required(
        "domain",
        Kind::Text(Format::Domain),
        "\"foobar.com\"",
        "The domain, the apex of the DNS zone: lower case, at least two labels.",
    ),
    default(
        "hosts",
        Kind::List { of: Format::Host, min: 1 },
        Presence::Derived("`www.` and the domain, then the domain itself"),
        "[\"www.foobar.com\", \"foobar.com\"]",
        "Host names the site answers to, the canonical one first. Each is the domain or below it.",
    ),
    optional(
        "maintenance_page",
        Kind::Text(Format::Path),
        "\"maintenance.html\"",
        "HTML file, inside this file's folder, that users get with 503 while `triad maintenance on` holds; \
         `{message}` in it is replaced by the message. Up to 256 KiB. Without it, a page of ours.",
    ),
    default(
        "maintenance_allow",
        Kind::List { of: Format::Network, min: 0 },
        Presence::EmptyList,
        "[\"198.51.100.0/24\"]",
        "Networks that reach the site during maintenance: your own, so that the team can look.",
    ),
];

static SERVER: &[Key] = &[
    default(
        "public",
        Kind::OneOrMore(Format::Address),
        Presence::Derived("none: the server faces no stranger"),
        "\"203.0.113.11\"",
        "Addresses the world uses: one, or a list with IPv4 and IPv6. Name servers and those users' requests reach \
         first need one.",
    ),
    optional(
        "private",
        Kind::Text(Format::Address),
        "\"10.77.0.11\"",
        "The address the other servers use. Required when there is more than one server.",
    ),
];

static DNS: &[Key] = &[
    required(
        "servers",
        Kind::List { of: Format::ServerName, min: 1 },
        "[\"srv1\"]",
        "Servers that answer for the domain: the first is `ns1.` under it, and so on.",
    ),
    default(
        "ttl_s",
        Kind::Integer { min: 1, max: 86_400 },
        Presence::Integer(30),
        "30",
        "Time to live of the addresses, in seconds: how long a client may go on asking a dead server.",
    ),
];

/// How the next backend is chosen, as the file writes it.
const ALGORITHM: Kind = Kind::Choice {
    now: &["roundrobin", "leastconn", "random", "source", "uri", "header", "cookie", "first"],
    later: &[],
};
/// Who is active, in one word.
const MODE: Kind = Kind::Choice { now: &["active-active", "active-passive"], later: &[] };
const SLOW_START_MS: Kind = Kind::Integer { min: 0, max: 600_000 };
const MAX_FAILS: Kind = Kind::Integer { min: 0, max: 1_000 };
const QUEUE_TIMEOUT_MS: Kind = Kind::Integer { min: 0, max: QUEUE_TIMEOUT_MS_MAX };
const QUEUE_MAX: Kind = Kind::Integer { min: 1, max: 65_536 };
const PERCENT: Kind = Kind::Integer { min: 0, max: 100 };
const SLOW_AFTER_MS: Kind = Kind::Integer { min: 0, max: 30_000 };
const RETRY_STATUSES: Kind = Kind::SomeOf(&[502, 503, 504]);
const CHECK_TYPE: Kind = Kind::Choice { now: &["http", "tcp"], later: &[] };
const CHECK_INTERVAL_MS: Kind = Kind::Integer { min: CHECK_INTERVAL_MS_MIN as i64, max: 60_000 };
const CHECK_TIMEOUT_MS: Kind = Kind::Integer { min: 10, max: 60_000 };
const CHECKS_IN_A_ROW: Kind = Kind::Integer { min: 1, max: 100 };
const WEIGHT: Kind = Kind::Integer { min: 0, max: Backend::WEIGHT_MAX as i64 };
const MAX_CONNECTIONS: Kind = Kind::Integer { min: 0, max: MAX_CONNECTIONS_MAX };

static BALANCER: &[Key] = &[
    required(
        "servers",
        Kind::List { of: Format::ServerName, min: 1 },
        "[\"srv1\"]",
        "Servers that carry it. Several are active together, found through DNS.",
    ),
    default(
        "algorithm",
        ALGORITHM,
        Presence::Text("roundrobin"),
        "\"roundrobin\"",
        "How the next backend is chosen. `roundrobin`: by weight, spread evenly; `leastconn`: the fewest requests in \
         flight, by weight; `random`: the less loaded of two drawn by weight; `source`, `uri`, `header`, `cookie`: the \
         same client address, path and query, header or cookie goes to the same backend, unless that one has 16 or more \
         requests in flight and a quarter more than its part; `first`: the first backend of the file that is up and has \
         fewer requests in flight than its `max_connections`.",
    ),
    optional(
        "hash_on",
        Kind::Text(Format::Token),
        "\"X-User\"",
        "Name of the header or cookie that algorithm `header` or `cookie` goes by.",
    ),
    default(
        "mode",
        MODE,
        Presence::Text("active-active"),
        "\"active-passive\"",
        "In one word: `active-active` shares requests among all backends that are not passive; `active-passive` sends \
         all to the first of the file, and makes the others passive.",
    ),
    default(
        "slow_start_ms",
        SLOW_START_MS,
        Presence::Integer(0),
        "10000",
        "Time in which a backend that came back gets more and more of its share, in milliseconds; 0: all at once. With \
         `roundrobin`, `leastconn` and `random`.",
    ),
    default(
        "max_fails",
        MAX_FAILS,
        Presence::Integer(Balancing::MAX_FAILS as i64),
        "5",
        "Requests in a row that fail on a backend whose checks pass (no connection, no answer, or 502, 503 or 504), or \
         that many more than half of those that are answered meanwhile, until it is left out for 10 s, twice as long each time after that; it still has what nobody else takes, and is back \
         when who stands in for it fails as well. 0: only checks count.",
    ),
    default(
        "error_rate_percent",
        PERCENT,
        Presence::Integer(0),
        "20",
        "Percentage of a backend's requests in a window of 10 s, of at least 20, that leaves it out in the same way when \
         they fail: for backends that fail now and then, never in a row. 0: no rate does.",
    ),
    default(
        "slow_after_ms",
        SLOW_AFTER_MS,
        Presence::Integer(0),
        "2000",
        "Time after which an answer that has not begun counts as a failure for `error_rate_percent`, in milliseconds; of \
         requests without a body, which nobody's upload makes slow. 0: being slow is no failure.",
    ),
    default(
        "retry_statuses",
        RETRY_STATUSES,
        Presence::EmptyList,
        "[503]",
        "An answer with one of these statuses to a request that may be repeated (GET, PUT and the like; without a body, or \
         with a small one) is thrown away, and another backend is asked, three at most. When nobody else can have the \
         request, the last such answer is given. It holds for instances of the application on this very server, too; \
         another server passes such an answer on, and another backend is asked.",
    ),
    default(
        "queue_timeout_ms",
        QUEUE_TIMEOUT_MS,
        Presence::Integer(Balancing::QUEUE_TIMEOUT_MS as i64),
        "5000",
        "Time a request waits, first in, first out, while every backend that could take it has its `max_connections`, \
         in milliseconds; then it is answered 503. The same holds for instances of the application. Passive backends \
         do not come because the active ones are full. 0: 503 at once.",
    ),
    default(
        "queue_max",
        QUEUE_MAX,
        Presence::Integer(Balancing::QUEUE_MAX as i64),
        "1024",
        "Requests that wait at one time on each server; more are answered 503 at once.",
    ),
    default(
        "panic_percent",
        PERCENT,
        Presence::Integer(0),
        "50",
        "While fewer than so many per cent of the active backends are up by their checks, checks are not believed: \
         requests go to all active ones, but for those that are drained, in maintenance or of weight 0, and to passive \
         ones only when they have failed there. Envoy's panic threshold. 0: checks are always believed.",
    ),
    optional(
        "sticky_cookie",
        Kind::Text(Format::Token),
        "\"stay\"",
        "Name of a cookie that keeps a user at the server, and there at the instance of the application, that answered \
         first, for applications that keep sessions in memory. It is set with the first answer, and set anew by whoever \
         answers when that one is down, in maintenance or gone; a drained one and one of weight 0 keep the users they \
         have, and so does a passive one when an active one is back. While it has all it may (`max_connections`), they \
         wait for it. It ends with the browser's session, tells no names, cannot be forged, and no application sees it. \
         With `[tls]` only. Without this key, none.",
    ),
    default(
        "proxy_protocol_from",
        Kind::List { of: Format::Network, min: 0 },
        Presence::EmptyList,
        "[\"198.51.100.7\", \"192.0.2.0/24\"]",
        "Forwarders in front of the balancers: a provider's load balancer, another proxy. Each of their connections must \
         begin with a header of the PROXY protocol (version 1 or 2), before TLS, and the client it names counts for \
         limits, logs, hashes and `X-Forwarded-For`; one without it is closed. List nobody who does not send it, and \
         nobody you would not believe. Nobody else is listened to.",
    ),
    default(
        "backends",
        Kind::Named { names: Format::ServerName, keys: BACKEND },
        Presence::Derived("every server of `[web]`, else of `[app]`, with weight 1"),
        "{ srv2 = { weight = 5 }, srv3 = { backup = true } }",
        "Where requests go, under the servers' names. Weights 5 and 1 share requests 5 to 1.",
    ),
    default(
        "health",
        Kind::Table(HEALTH),
        Presence::Derived("the defaults of its keys"),
        "{ path = \"/up\", interval_ms = 500 }",
        "How backends are checked.",
    ),
];

static BACKEND: &[Key] = &[
    default(
        "weight",
        WEIGHT,
        Presence::Integer(1),
        "5",
        "Its share among the active backends. 0 makes it passive, as `backup = true` does.",
    ),
    default(
        "backup",
        Kind::Flag,
        Presence::Flag(false),
        "true",
        "Passive: gets requests only while no active backend is up.",
    ),
    default(
        "max_connections",
        MAX_CONNECTIONS,
        Presence::Integer(0),
        "100",
        "Requests of each balancer that it may have in flight, upgraded connections included, checks not; more wait \
         (`queue_timeout_ms`). 0: any number.",
    ),
];

static HEALTH: &[Key] = &[
    default(
        "type",
        CHECK_TYPE,
        Presence::Text("http"),
        "\"tcp\"",
        "What a check asks: `http`: a request that must be answered; `tcp`: a connection, with its TLS handshake where \
         servers speak TLS to each other. The same is asked of instances of the application.",
    ),
    default(
        "path",
        Kind::Text(Format::UrlPath),
        Presence::Derived("`app.health`, or `/` without `[app]`"),
        "\"/up\"",
        "Path that must answer.",
    ),
    default(
        "status",
        Kind::Text(Format::Statuses),
        Presence::Derived("`\"200-399\"`"),
        "\"200,204\"",
        "Statuses that pass, up to 16 of `200`, `2xx` and `200-399`, joined by commas. They hold for instances of the \
         application as well, where `path` is `app.health`; the same is true of `body`.",
    ),
    optional(
        "body",
        Kind::Text(Format::Excerpt),
        "\"all is well\"",
        "Text that must stand in the first 16 KiB of the answer's body; letters count as they are written.",
    ),
    default(
        "interval_ms",
        CHECK_INTERVAL_MS,
        Presence::Integer(500),
        "500",
        "Time between two checks of one backend, in milliseconds; each is up to a tenth shorter, so that many balancers \
         do not ask at one time.",
    ),
    default(
        "fast_interval_ms",
        CHECK_INTERVAL_MS,
        Presence::Derived("a fifth of `interval_ms`, at least 50"),
        "100",
        "The same from the first failure of a backend that is up, or success of one that is down, until `fall` or \
         `rise` has decided, in milliseconds.",
    ),
    default(
        "timeout_ms",
        CHECK_TIMEOUT_MS,
        Presence::Integer(500),
        "500",
        "Time after which a check has failed, in milliseconds.",
    ),
    default("rise", CHECKS_IN_A_ROW, Presence::Integer(2), "2", "Successes in a row that bring a backend back."),
    default("fall", CHECKS_IN_A_ROW, Presence::Integer(2), "2", "Failures in a row that take a backend out."),
];

static WEB: &[Key] = &[
    required(
        "servers",
        Kind::List { of: Format::ServerName, min: 1 },
        "[\"srv2\", \"srv3\"]",
        "Servers that carry it.",
    ),
    optional(
        "root",
        Kind::Text(Format::Folder),
        "\"public\"",
        "Folder of static files, below this file's folder. A request that names no file in it goes to the application.",
    ),
];

static APP: &[Key] = &[
    required("servers", Kind::List { of: Format::ServerName, min: 1 }, "[\"srv2\", \"srv3\"]", "Servers that run it."),
    optional(
        "build",
        Kind::Text(Format::Command),
        "\"make install\"",
        "Shell command that fills `directory`, run in this file's folder before a lab starts.",
    ),
    default(
        "directory",
        Kind::Text(Format::Path),
        Presence::Text("app"),
        "\"app\"",
        "Folder of the code, inside this file's folder. The command runs in it.",
    ),
    required(
        "command",
        Kind::Text(Format::Command),
        "\"./foobar-app\"",
        "What to run, through `sh -c`. It must listen on 127.0.0.1, port `$PORT`.",
    ),
    default(
        "instances",
        Kind::Integer { min: 1, max: INSTANCES_MAX as i64 },
        Presence::Integer(2),
        "2",
        "Processes on each server.",
    ),
    default(
        "max_connections",
        Kind::Integer { min: 0, max: MAX_CONNECTIONS_MAX },
        Presence::Integer(0),
        "1",
        "Requests that each process may have in flight, upgraded connections included; more wait \
         (`balancer.queue_timeout_ms`). For applications that take one or a few at a time; they must answer their \
         health checks beside them. 0: any number.",
    ),
    default(
        "health",
        Kind::Text(Format::AppHealth),
        Presence::Text("/up"),
        "\"/up\"",
        "Path that answers with a status below 400 when an instance can serve. For servers of gRPC and nothing else, \
         `\"grpc\"`: they are asked by `grpc.health.v1.Health/Check` about the whole server, and must say `SERVING`.",
    ),
    default(
        "protocol",
        Kind::Choice { now: &["http1", "http2"], later: &[] },
        Presence::Text("http1"),
        "\"http2\"",
        "What instances speak. `http2`: HTTP/2 without TLS, from the first byte on, as servers of gRPC do; requests that \
         ask to switch protocols, as for WebSockets, come over HTTP/1.1 all the same. Calls of gRPC may then be silent \
         for five minutes. Changing it needs a restart of the agents, which restarts the application as well.",
    ),
    default(
        "environment",
        Kind::Variables,
        Presence::Derived("empty"),
        "{ LOG_LEVEL = \"info\" }",
        "Variables for its environment, beside those Triad sets: `PORT`, `DATABASE_URL`, `DATABASE_READ_URL`, \
         `TRIAD_SERVER`, `TRIAD_INSTANCE`. Never secrets.",
    ),
    optional(
        "proxy_protocol",
        Kind::Choice { now: &["v1", "v2"], later: &[] },
        "\"v2\"",
        "Begins each connection to an instance with a header of the PROXY protocol that names the user, for applications \
         that take the address from there and not from `X-Forwarded-For`. It costs kept connections: one that is \
         announced for a user is no other's, so each request opens a new one and closes it. Health checks begin with \
         `LOCAL` (`v2`), which the application must accept, or name this server itself (`v1`). Changing it needs a \
         restart of the agents, which restarts the application as well.",
    ),
];

static DATABASE: &[Key] = &[
    required(
        "primary",
        Kind::Text(Format::ServerName),
        "\"srv2\"",
        "The server whose database takes writes: at first, where a replica can take over.",
    ),
    default(
        "replicas",
        Kind::List { of: Format::ServerName, min: 0 },
        Presence::EmptyList,
        "[\"srv3\"]",
        "Servers that hold a copy. In a design of three servers or more, one of them takes over by itself when the primary \
         dies.",
    ),
    default(
        "name",
        Kind::Text(Format::Schema),
        Presence::Derived("the domain's first label"),
        "\"foobar\"",
        "Name of the application's schema.",
    ),
    default(
        "user",
        Kind::Text(Format::Account),
        Presence::Derived("`name`"),
        "\"foobar\"",
        "The application's account. Triad makes its password.",
    ),
];

static TLS: &[Key] = &[
    required(
        "certificate",
        Kind::Choice { now: &["internal", "files"], later: &["acme"] },
        "\"internal\"",
        "Where the site's certificate comes from: `internal` is the design's own authority, which browsers must be \
         told to trust; `files` are `certificate_file` and `key_file`.",
    ),
    optional(
        "certificate_file",
        Kind::Text(Format::Path),
        "\"tls/foobar.com.pem\"",
        "PEM file with the certificate, then its intermediates, inside this file's folder. With `files` only.",
    ),
    optional(
        "key_file",
        Kind::Text(Format::Path),
        "\"tls/foobar.com.key\"",
        "PEM file with the certificate's private key, inside this file's folder. With `files` only.",
    ),
    optional(
        "ocsp_file",
        Kind::Text(Format::Path),
        "\"tls/foobar.com.ocsp\"",
        "File with the authority's OCSP response for the certificate, DER, which somebody fetches anew before it ends. \
         Shown to clients that ask (stapled) while it is good and fresh. With `files` only.",
    ),
    default(
        "certificates",
        Kind::Tables(CERTIFICATES),
        Presence::EmptyList,
        "[{ hosts = [\"shop.foobar.com\"], certificate_file = \"tls/shop.pem\", key_file = \"tls/shop.key\" }]",
        "Certificates of some hosts, shown to who asks for one of them (SNI). All other clients, and those that ask for \
         nothing, get `certificate`, which must be for the remaining hosts.",
    ),
    default(
        "client_certificates",
        Kind::Choice { now: &["off", "optional", "required"], later: &[] },
        Presence::Text("off"),
        "\"optional\"",
        "Whether clients are asked for a certificate that an authority of `client_ca_file` signed. Who shows a wrong one \
         is refused; with `required`, who shows none as well. The application gets it in the field `Client-Cert` \
         (RFC 9440), which nobody else can set.",
    ),
    optional(
        "client_ca_file",
        Kind::Text(Format::Path),
        "\"tls/clients.pem\"",
        "PEM file with the authorities that sign clients' certificates, inside this file's folder.",
    ),
    optional(
        "client_crl_file",
        Kind::Text(Format::Path),
        "\"tls/clients.crl\"",
        "PEM file with lists of revoked certificates (CRLs), one of each authority that signs clients' certificates; up \
         to 256 KiB.",
    ),
    default(
        "http2",
        Kind::Flag,
        Presence::Flag(true),
        "false",
        "Whether clients may choose HTTP/2. What they say in it is held to the rules of HTTP/1.1.",
    ),
    default(
        "hop_http2",
        Kind::Flag,
        Presence::Flag(false),
        "true",
        "Whether servers speak HTTP/2 to each other, which needs far fewer connections. Both ends of each connection \
         agree on it, so servers may be reloaded one after the other. gRPC crosses either way.",
    ),
    default(
        "hsts_max_age_s",
        Kind::Integer { min: 0, max: 63_072_000 },
        Presence::Integer(0),
        "300",
        "Sends `Strict-Transport-Security` with answers over HTTPS: for this many seconds browsers ask the site over \
         HTTPS only and let nobody past a certificate they do not trust. Begin with 300, and write 31536000 when all \
         is well: browsers remember it, and 0 only stops telling them. To take it back, write 1 for as long as the \
         longest time you had.",
    ),
    default(
        "hsts_include_subdomains",
        Kind::Flag,
        Presence::Flag(false),
        "true",
        "The same for all names below the host that was asked, whoever serves them. With `hsts_max_age_s` only.",
    ),
];

static CERTIFICATES: &[Key] = &[
    required(
        "hosts",
        Kind::List { of: Format::Host, min: 1 },
        "[\"shop.foobar.com\"]",
        "Hosts of the site that it is for. A host has one certificate.",
    ),
    required(
        "certificate_file",
        Kind::Text(Format::Path),
        "\"tls/shop.foobar.com.pem\"",
        "PEM file with the certificate, then its intermediates, inside this file's folder.",
    ),
    required(
        "key_file",
        Kind::Text(Format::Path),
        "\"tls/shop.foobar.com.key\"",
        "PEM file with the certificate's private key, inside this file's folder.",
    ),
    optional(
        "ocsp_file",
        Kind::Text(Format::Path),
        "\"tls/shop.foobar.com.ocsp\"",
        "File with the authority's OCSP response for it, DER.",
    ),
];

static FIREWALL: &[Key] = &[
    required(
        "ssh_from",
        Kind::List { of: Format::Network, min: 0 },
        "[\"198.51.100.0/24\"]",
        "Networks that may open SSH connections; a bare address is a network of one. `[]` closes SSH to everybody.",
    ),
    default(
        "ssh_port",
        Kind::Integer { min: 1, max: 65_535 },
        Presence::Integer(22),
        "22",
        "The port sshd listens on.",
    ),
];

static LIMITS: &[Key] = &[
    optional(
        "requests_per_s",
        Kind::Integer { min: 1, max: 1_000_000 },
        "50",
        "Requests a second in the long run, at all front servers together: they tell each other four times a second who \
         used much. A page with its pictures is many requests.",
    ),
    default(
        "burst",
        Kind::Integer { min: 1, max: 1_000_000 },
        Presence::Derived("twice `requests_per_s`"),
        "100",
        "Requests that may come at once.",
    ),
    optional(
        "connections",
        Kind::Integer { min: 1, max: 1_000_000 },
        "100",
        "Connections open at once, at all front servers together: they tell each other four times a second who has many. \
         Many users of one network may share an address.",
    ),
    default(
        "exempt",
        Kind::List { of: Format::Network, min: 0 },
        Presence::EmptyList,
        "[\"198.51.100.0/24\"]",
        "Networks that are not limited: your own, and whoever watches the site.",
    ),
    optional(
        "site_requests_per_s",
        Kind::Integer { min: 1, max: 1_000_000 },
        "2000",
        "Requests a second of all clients together that all front servers together pass on in the long run, over all \
         hosts: they tell each other four times a second. Each of several may always pass its equal part, and more where \
         the others need less. Those beyond it are answered 503 with Retry-After: what the servers behind can take is \
         answered well.",
    ),
    default(
        "site_burst",
        Kind::Integer { min: 1, max: 1_000_000 },
        Presence::Derived("as many as `site_requests_per_s`"),
        "4000",
        "Requests of all clients together that may come at once.",
    ),
    default(
        "site_connections",
        Kind::Integer { min: 1, max: 1_000_000 },
        Presence::Derived(
            "a quarter of the files that the edge may have open, which is 16384 unless the host allows less",
        ),
        "5000",
        "Connections of all clients together that one front server holds open, never more than half of the files \
         that its edge may have open. New ones beyond it are closed; those that are open are served.",
    ),
    optional(
        "ban_after",
        Kind::Integer { min: 1, max: 1_000_000 },
        "100",
        "Refusals of one client within a minute, 429 or 400, after which all front servers ban it as `triad ban` does. \
         Many users of one network may share an address. Without it, nobody is banned by itself.",
    ),
    default(
        "ban_s",
        Kind::Integer { min: 1, max: BAN_S_MAX as i64 },
        Presence::Integer(BAN_S as i64),
        "600",
        "For how long, in seconds.",
    ),
];

static HEADERS: &[Key] = &[
    default(
        "request",
        Kind::Table(HEADER_RULES),
        Presence::Derived("none"),
        "{ set = { X-Site = \"foobar\" }, remove = [\"X-Debug\"] }",
        "Fields of requests, as a backend gets them.",
    ),
    default(
        "response",
        Kind::Table(HEADER_RULES),
        Presence::Derived("none"),
        "{ set = { X-Frame-Options = \"DENY\" }, remove = [\"X-Powered-By\"] }",
        "Fields of answers, as a user gets them.",
    ),
    default(
        "forwarded",
        Kind::Choice { now: &["x", "both"], later: &["rfc7239"] },
        Presence::Text("x"),
        "\"both\"",
        "How the application is told who the client is, what came from strangers being dropped. `x`: \
         `X-Forwarded-For`, `-Proto` and `-Host`; `both`: the same in `Forwarded` as well (RFC 7239).",
    ),
    default(
        "trace",
        Kind::Choice { now: &["pass", "unsampled", "sampled"], later: &[] },
        Presence::Text("pass"),
        "\"sampled\"",
        "What becomes of traces (W3C Trace Context). One that a user's request is part of is passed on with its \
         `tracestate`, and a `traceparent` that cannot be understood is dropped; the access log has the `trace_id`. \
         `sampled` and `unsampled` begin one for requests without, under the request's id, and ask the application to \
         record it or not to: by default, OpenTelemetry's libraries record nothing of what is unsampled.",
    ),
];

static HEADER_RULES: &[Key] = &[
    default(
        "set",
        Kind::Fields,
        Presence::Derived("empty"),
        "{ X-Frame-Options = \"DENY\" }",
        "Fields that are there with this value, in place of any that are there already. Never secrets.",
    ),
    default(
        "add",
        Kind::Fields,
        Presence::Derived("empty"),
        "{ Link = \"</style.css>; rel=preload\" }",
        "Fields that are there beside those that are there already. Never secrets.",
    ),
    default(
        "remove",
        Kind::List { of: Format::FieldName, min: 0 },
        Presence::EmptyList,
        "[\"X-Powered-By\"]",
        "Fields that do not pass.",
    ),
];

static REDIRECTS: &[Key] = &[
    required(
        "from",
        Kind::Text(Format::RequestPattern),
        "\"/old/*\"",
        "Which requests: a path, byte for byte; with `/*` at its end, all that begin so. With a host of the site before \
         it, only those for that host: `foobar.com/*`. A whole path goes before a prefix, a longer prefix before a \
         shorter one, one with a host before one without.",
    ),
    required(
        "to",
        Kind::Text(Format::RedirectTarget),
        "\"/new/*\"",
        "Where to: a path on the same host, or a URL; `*` at its end is what `*` in `from` stands for.",
    ),
    default(
        "status",
        Kind::OneOf(REDIRECT_STATUSES),
        Presence::Integer(REDIRECT_STATUS),
        "301",
        "301 and 308 are for ever, and browsers remember them; 302, 303 and 307 for this time. 307 and 308 keep the \
         method, 303 makes it GET.",
    ),
];

static MONITOR: &[Key] = &[default(
    "metrics_from",
    Kind::List { of: Format::Network, min: 0 },
    Presence::EmptyList,
    "[\"198.51.100.0/24\"]",
    "Networks that may read the metrics, beside the design's own servers.",
)];

static LOG: &[Key] = &[
    default(
        "format",
        Kind::Choice { now: &["json", "combined"], later: &[] },
        Presence::Text("json"),
        "\"combined\"",
        "How a line looks. `json`: an object; `combined`: Apache's and nginx's format of that name, in UTC, without the \
         query, which `triad explain request --live` cannot follow a request through.",
    ),
    default(
        "fields",
        Kind::List { of: Format::LogField, min: 1 },
        Presence::Derived("all there are"),
        "[\"ts\", \"client\", \"method\", \"path\", \"status\", \"duration_ms\"]",
        "With `json`: which of `ts`, `request_id`, `trace_id`, `client`, `host`, `method`, `path`, `protocol`, `status`, \
         `bytes`, `duration_ms`, `first_byte_ms`, `queue_ms`, `backend`, `attempts`, `fault`, `user_agent` and \
         `referer` are written where they are known. `triad explain request --live` needs `request_id`, `status`, \
         `duration_ms` and `backend`.",
    ),
];

static CHECK: &[Key] = &[default(
    "allow",
    Kind::Tables(ALLOW),
    Presence::EmptyList,
    "[{ code = \"single-balancer\", reason = \"the provider fails its address over\" }]",
    "Findings that may stay. Each is shown with its reason and counts for nothing.",
)];

static ALLOW: &[Key] = &[
    required(
        "code",
        Kind::Choice { now: Code::NAMES, later: &[] },
        "\"single-balancer\"",
        "The finding, as `triad check` prints it; `triad explain` with the code says what it means.",
    ),
    required(
        "reason",
        Kind::Text(Format::Sentence),
        "\"the provider fails its address over\"",
        "Why it may stay, on one line, for whoever reads the next report.",
    ),
];

#[cfg(test)]
mod tests {
    use toml::de::DeValue;

    use super::{Key, Kind, ROOT};
    use crate::mistake::Mistakes;
    use crate::reader::Reader;

    /// What help lines tell users to write must itself be right.
    #[test]
    fn every_example_is_well_formed() {
        fn check(keys: &'static [Key]) {
            for key in keys {
                let example = DeValue::parse(key.example).expect(key.name);
                let mut mistakes = Mistakes::new(key.example);
                Reader::new(&mut mistakes, true).value(key, &example, 0..0, key.name);
                assert_eq!(mistakes.into_sorted(), [], "{}", key.name);
                if let Kind::Table(keys) | Kind::Tables(keys) | Kind::Named { keys, .. } = key.kind {
                    check(keys);
                }
            }
        }
        check(ROOT);
    }
}
