//! `[pools.NAME]` and `[[routes]]`. What a pool does not say, `[balancer]` says.

use super::{
    ALGORITHM, CHECK_INTERVAL_MS, CHECK_TIMEOUT_MS, CHECK_TYPE, CHECKS_IN_A_ROW, Key, Kind, MAX_CONNECTIONS, MAX_FAILS,
    MODE, PERCENT, Presence, QUEUE_MAX, QUEUE_TIMEOUT_MS, RETRY_STATUSES, SLOW_AFTER_MS, SLOW_START_MS, WEIGHT,
    default, optional, required,
};
use crate::format::Format;

/// What holds where a pool does not say it.
const OF_BALANCER: Presence = Presence::Derived("that of `[balancer]`");

pub(super) static POOL: &[Key] = &[
    required(
        "backends",
        Kind::Named { names: Format::ServerName, keys: BACKEND },
        "{ srv2 = { weight = 5 }, blog1 = { address = \"10.77.0.20:8080\" } }",
        "Where its requests go: under a server's name, that server; under any other name, an `address`.",
    ),
    default("algorithm", ALGORITHM, OF_BALANCER, "\"leastconn\"", "As `balancer.algorithm`."),
    default("hash_on", Kind::Text(Format::Token), OF_BALANCER, "\"X-User\"", "As `balancer.hash_on`."),
    default("mode", MODE, OF_BALANCER, "\"active-passive\"", "As `balancer.mode`."),
    default("slow_start_ms", SLOW_START_MS, OF_BALANCER, "10000", "As `balancer.slow_start_ms`."),
    default("max_fails", MAX_FAILS, OF_BALANCER, "5", "As `balancer.max_fails`."),
    default("error_rate_percent", PERCENT, OF_BALANCER, "20", "As `balancer.error_rate_percent`."),
    default("slow_after_ms", SLOW_AFTER_MS, OF_BALANCER, "2000", "As `balancer.slow_after_ms`."),
    default("retry_statuses", RETRY_STATUSES, OF_BALANCER, "[503]", "As `balancer.retry_statuses`."),
    default("queue_timeout_ms", QUEUE_TIMEOUT_MS, OF_BALANCER, "5000", "As `balancer.queue_timeout_ms`."),
    default("queue_max", QUEUE_MAX, OF_BALANCER, "1024", "As `balancer.queue_max`, for this pool."),
    default("panic_percent", PERCENT, OF_BALANCER, "50", "As `balancer.panic_percent`."),
    default(
        "health",
        Kind::Table(HEALTH),
        OF_BALANCER,
        "{ path = \"/health\" }",
        "How its backends are checked; what is not said here is as under `balancer.health`.",
    ),
];

static BACKEND: &[Key] = &[
    optional(
        "address",
        Kind::Text(Format::Endpoint),
        "\"10.77.0.20:8080\"",
        "Where something listens that Triad does not run, for plain HTTP/1.1; it gets the user's `Host`, and \
         `X-Forwarded-*` as the application does. Not given for a server of the design.",
    ),
    default("weight", WEIGHT, Presence::Integer(1), "5", "As for a backend of `[balancer]`."),
    default("backup", Kind::Flag, Presence::Flag(false), "true", "As for a backend of `[balancer]`."),
    default("max_connections", MAX_CONNECTIONS, Presence::Integer(0), "100", "As for a backend of `[balancer]`."),
];

static HEALTH: &[Key] = &[
    default("type", CHECK_TYPE, OF_BALANCER, "\"tcp\"", "As `balancer.health.type`."),
    default("path", Kind::Text(Format::UrlPath), OF_BALANCER, "\"/health\"", "As `balancer.health.path`."),
    default("status", Kind::Text(Format::Statuses), OF_BALANCER, "\"200,204\"", "As `balancer.health.status`."),
    default("body", Kind::Text(Format::Excerpt), OF_BALANCER, "\"all is well\"", "As `balancer.health.body`."),
    default("interval_ms", CHECK_INTERVAL_MS, OF_BALANCER, "500", "As `balancer.health.interval_ms`."),
    default(
        "fast_interval_ms",
        CHECK_INTERVAL_MS,
        Presence::Derived("that of `[balancer]`; with an `interval_ms` of its own, a fifth of that, at least 50"),
        "100",
        "As `balancer.health.fast_interval_ms`.",
    ),
    default("timeout_ms", CHECK_TIMEOUT_MS, OF_BALANCER, "500", "As `balancer.health.timeout_ms`."),
    default("rise", CHECKS_IN_A_ROW, OF_BALANCER, "2", "As `balancer.health.rise`."),
    default("fall", CHECKS_IN_A_ROW, OF_BALANCER, "2", "As `balancer.health.fall`."),
];

pub(super) static ROUTES: &[Key] = &[
    required(
        "match",
        Kind::Text(Format::RequestPattern),
        "\"/api/*\"",
        "Which requests, as `from` of `[[redirects]]`: a path; with `/*` at its end, all that begin so, which `/api` \
         itself does not; with a host of the site before it, only those for that host. A whole path goes before a \
         prefix, a longer prefix before a shorter one, one with a host before one without.",
    ),
    required("pool", Kind::Text(Format::PoolName), "\"api\"", "Where they go: the name of one of `[pools]`."),
];
