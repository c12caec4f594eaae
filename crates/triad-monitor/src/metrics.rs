//! A server's report as Prometheus text; pure.

use triad_model::{
    BackendReport, DatabaseReport, DatabaseRole, DnsReport, EdgeReport, FailoverReport, FirewallReport,
    HeartbeatReport, LATENCY_BOUNDS_S, LatencyHistogram, PeerPresence, PoolReport, ProcessReport, ProcessState,
    RelayReport, RoleReport, ServerReport, SiteLatency, State, Verdict,
};

use crate::exposition::{Exposition, Kind};
use crate::host::HostReading;
use crate::host_metrics;

/// The page an agent serves under `/metrics`. The same input always gives the same text.
pub fn render(report: &ServerReport, host: Option<&HostReading>) -> String {
    let mut page = Exposition::default();
    agent(&mut page, report);
    roles(&mut page, &report.roles);
    processes(&mut page, &report.processes);
    if let Some(edge) = &report.edge {
        requests(&mut page, edge);
        connections(&mut page, edge);
        backends(&mut page, &edge.backends);
        pools(&mut page, &edge.pools);
    }
    if let Some(dns) = &report.dns {
        name_server(&mut page, dns);
    }
    if let Some(database) = &report.database {
        database_state(&mut page, database);
        database.failover.iter().for_each(|it| failover(&mut page, it));
        database_counters(&mut page, database);
    }
    if let Some(heartbeats) = &report.heartbeats {
        beats(&mut page, heartbeats);
    }
    if let Some(firewall) = &report.firewall {
        drops(&mut page, firewall);
    }
    if let Some(host) = host {
        host_metrics::host(&mut page, host);
    }
    page.finish()
}

fn beats(page: &mut Exposition, report: &HeartbeatReport) {
    let mut family = page.gauge("triad_peer_silent", "Whether the server was heard and no longer is.");
    for peer in &report.peers {
        family.count(&[("peer", peer.server.as_str())], u64::from(peer.presence == PeerPresence::Silent));
    }
    let mut family = page.gauge("triad_heartbeat_age_seconds", "Time since the server was heard last.");
    for (peer, age_ms) in report.peers.iter().filter_map(|peer| Some((peer, peer.heard_ms_ago?))) {
        family.number(&[("peer", peer.server.as_str())], age_ms as f64 / 1000.0);
    }
    let mut family = page.counter("triad_heartbeats_received_total", "Heartbeats of the server that arrived.");
    for peer in &report.peers {
        family.count(&[("peer", peer.server.as_str())], peer.received);
    }
    let mut family = page.counter("triad_heartbeats_lost_total", "Heartbeats of the server that did not arrive.");
    for peer in &report.peers {
        family.count(&[("peer", peer.server.as_str())], peer.lost);
    }
    let mut family = page.counter("triad_heartbeats_refused_total", "Datagrams that were no heartbeat to be believed.");
    for (reason, count) in &report.refused {
        family.count(&[("reason", reason)], *count);
    }
    page.gauge("triad_heartbeat_late_seconds_max", "The longest that this host kept its own heartbeats waiting.")
        .number(&[], report.late_ms_max as f64 / 1000.0);
}

fn agent(page: &mut Exposition, report: &ServerReport) {
    page.gauge("triad_build_info", "A constant 1 with the agent's version.")
        .count(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.gauge("triad_agent_uptime_seconds", "Time since the agent started.").count(&[], report.uptime_s);
    if let Some(days) = report.certificate_days_left {
        page.gauge("triad_certificate_days_left", "Days until the first of the server's certificates ends.")
            .number(&[], days as f64);
    }
}

fn roles(page: &mut Exposition, roles: &[RoleReport]) {
    let mut family = page.gauge("triad_role_state", "0 healthy, 1 starting, 2 degraded, 3 down.");
    for role in roles {
        family.count(&[("role", &role.role)], state_number(role.state));
    }
}

fn state_number(state: State) -> u64 {
    match state {
        State::Healthy => 0,
        State::Starting => 1,
        State::Degraded => 2,
        State::Down => 3,
    }
}

fn processes(page: &mut Exposition, processes: &[ProcessReport]) {
    // One that was replaced has the name of the one in its place; two samples with the same labels are an error.
    let (draining, processes): (Vec<&ProcessReport>, Vec<_>) =
        processes.iter().partition(|process| process.draining_s.is_some());
    let mut family = page.gauge("triad_process_up", "Whether the process runs and answers.");
    for process in &processes {
        family.count(&[("process", &process.name)], u64::from(process.state == ProcessState::Running));
    }
    let mut family = page.counter("triad_process_restarts_total", "Times the process was started again.");
    for process in &processes {
        family.count(&[("process", &process.name)], process.restarts);
    }
    let mut family = page.counter("triad_process_upgrades_total", "Times the process was replaced while it served.");
    for process in &processes {
        family.count(&[("process", &process.name)], process.upgrades);
    }
    let mut family = page.gauge("triad_process_draining", "Processes that were replaced and have not finished yet.");
    for process in &processes {
        let same = draining.iter().filter(|other| other.name == process.name);
        family.count(&[("process", &process.name)], same.count() as u64);
    }
    let mut family = page.gauge("triad_process_resident_bytes", "Resident memory of the process.");
    for process in &processes {
        family.count(&[("process", &process.name)], process.resident_bytes);
    }
}

fn requests(page: &mut Exposition, edge: &EdgeReport) {
    let mut family = page.counter("triad_http_requests_total", "Requests answered.");
    for request in &edge.requests {
        let code = request.code.to_string();
        let labels =
            [("site", &*request.site), ("code", &code), ("method", &request.method), ("cache", &request.cache)];
        family.count(&labels, request.count);
    }
    let help = "Time from a request's head to the last byte of its answer.";
    let mut family = page.family("triad_http_request_duration_seconds", Kind::Histogram, help);
    for SiteLatency { site, latency } in &edge.site_latency {
        family.histogram(&[("site", site)], &LATENCY_BOUNDS_S, &latency.buckets, latency.sum_s);
    }
    if edge.site_latency.is_empty() {
        // An edge without requests, or one of before.
        family.histogram(&[], &LATENCY_BOUNDS_S, &edge.latency.buckets, edge.latency.sum_s);
    }
    page.gauge("triad_http_requests_in_flight", "Requests being answered.").count(&[], edge.in_flight);
    page.gauge("triad_http_switched_connections", "Connections that switched protocols, as WebSockets do.")
        .count(&[], edge.switched);
}

fn connections(page: &mut Exposition, edge: &EdgeReport) {
    page.gauge("triad_maintenance", "Whether users are turned away for maintenance.")
        .count(&[], edge.maintenance.is_some().into());
    page.gauge("triad_http_connections", "Client connections open.").count(&[], edge.connections);
    page.counter("triad_http_connections_refused_total", "Client connections closed at once.")
        .count(&[], edge.connections_refused);
    page.gauge("triad_bans", "Networks whose clients are banned.").count(&[], edge.bans);
    page.gauge("triad_http_connections_max", "Client connections that are held open at the most.")
        .count(&[], edge.connections_max);
    let mut family =
        page.counter("triad_refused_total", "Connections closed, and requests answered 403, 429 or 503, at the door.");
    for (what, why, count) in edge.refusals.rows() {
        family.count(&[("what", what), ("why", why)], count);
    }
    page.counter("triad_tls_handshake_failures_total", "TLS handshakes that failed.")
        .count(&[], edge.handshake_failures);
    page.counter("triad_retries_total", "Times a request was sent to another backend.").count(&[], edge.retries);
    page.counter("triad_retries_refused_total", "Requests not sent again because too many were.")
        .count(&[], edge.retries_refused);
    page.counter(
        "triad_proxy_headers_refused_total",
        "Connections of forwarders closed because they did not begin with a PROXY header.",
    )
    .count(&[], edge.proxy_headers_refused);
    page.counter("triad_access_log_dropped_total", "Lines of the access log dropped because the disk was too slow.")
        .count(&[], edge.log_dropped);
    relays(page, edge);
}

/// The database relay, by what its connections are for.
fn relays(page: &mut Exposition, edge: &EdgeReport) {
    let each = [("write", edge.relay), ("read", edge.read_relay)];
    let mut family = |kind, name, help, count: fn(RelayReport) -> u64| {
        let mut family = page.family(name, kind, help);
        for (purpose, relay) in each {
            family.count(&[("for", purpose)], count(relay));
        }
    };
    let (gauge, counter) = (Kind::Gauge, Kind::Counter);
    let help = "Connections open through the database relay.";
    family(gauge, "triad_database_relay_connections", help, |relay| relay.open);
    let help = "Connections that wait for a database that takes them.";
    family(gauge, "triad_database_relay_held", help, |relay| relay.held);
    let help = "Connections that had to wait for a database that takes them.";
    family(counter, "triad_database_relay_held_total", help, |relay| relay.held_total);
    let help = "Connections cut because their database was no longer the one to ask.";
    family(counter, "triad_database_relay_cut_total", help, |relay| relay.cut);
    let help = "Connections carried over to another database, between two statements.";
    family(counter, "triad_database_relay_carried_total", help, |relay| relay.carried);
    let help = "Connections the database relay could not pass on.";
    family(counter, "triad_database_relay_failures_total", help, |relay| relay.failures);
}

fn backends(page: &mut Exposition, backends: &[BackendReport]) {
    let mut family = page.gauge("triad_backend_up", "Whether the backend may get traffic.");
    for backend in backends {
        family.count(&backend_labels(backend), u64::from(backend.verdict == Verdict::Up));
    }
    let mut family = page.counter("triad_backend_requests_total", "Requests sent to the backend.");
    for backend in backends {
        family.count(&backend_labels(backend), backend.requests);
    }
    let mut family = page.counter("triad_backend_failures_total", "Requests the backend failed.");
    for backend in backends {
        family.count(&backend_labels(backend), backend.failures);
    }
    let mut family = page.counter("triad_backend_retries_total", "Requests it got because another one failed them.");
    for backend in backends {
        family.count(&backend_labels(backend), backend.retries);
    }
    let help = "Time until the backend's answers began.";
    let mut family = page.family("triad_backend_first_byte_seconds", Kind::Histogram, help);
    for backend in backends {
        let LatencyHistogram { buckets, sum_s } = &backend.first_byte;
        family.histogram(&backend_labels(backend), &LATENCY_BOUNDS_S, buckets, *sum_s);
    }
    let mut family = page.gauge("triad_backend_in_flight", "Requests the backend is answering.");
    for backend in backends {
        family.count(&backend_labels(backend), backend.in_flight);
    }
}

fn pools(page: &mut Exposition, pools: &[PoolReport]) {
    let mut family = page.gauge("triad_pool_waiting", "Requests that wait until a backend has room.");
    for pool in pools {
        family.count(&[("pool", &pool.pool)], pool.waiting);
    }
    let help = "Requests given up because all backends were busy: after the longest wait, or at once.";
    let mut family = page.counter("triad_pool_given_up_total", help);
    for pool in pools {
        family.count(&[("pool", &pool.pool), ("why", "timeout")], pool.timed_out);
        family.count(&[("pool", &pool.pool), ("why", "overflow")], pool.overflowed);
    }
    let help = "Whether so few backends are up that requests go to all of them.";
    let mut family = page.gauge("triad_pool_panic", help);
    for pool in pools {
        family.count(&[("pool", &pool.pool)], u64::from(pool.panic));
    }
}

fn backend_labels(backend: &BackendReport) -> [(&str, &str); 2] {
    [("pool", &backend.pool), ("backend", &backend.name)]
}

fn name_server(page: &mut Exposition, dns: &DnsReport) {
    let mut family = page.counter("triad_dns_queries_total", "Queries received.");
    family.count(&[("transport", "udp")], dns.udp);
    family.count(&[("transport", "tcp")], dns.tcp);
    let mut family = page.counter("triad_dns_answers_total", "Answers sent.");
    for (rcode, count) in &dns.answers {
        family.count(&[("rcode", rcode)], *count);
    }
    page.counter("triad_dns_dropped_total", "Packets that were no query and got no answer.").count(&[], dns.dropped);
    let help = "Servers whose addresses are left out of answers because they look dead.";
    page.gauge("triad_dns_left_out_servers", help).count(&[], dns.left_out.len() as u64);
}

fn database_state(page: &mut Exposition, database: &DatabaseReport) {
    let is_up = matches!(database.state, State::Healthy | State::Degraded);
    page.gauge("mysql_up", "Whether the MySQL server is up.").count(&[], u64::from(is_up));
    let is_primary = database.role == DatabaseRole::Primary;
    page.gauge("triad_database_primary", "Whether this server's database takes writes.")
        .count(&[], u64::from(is_primary));
    if is_primary {
        page.gauge("triad_database_semi_sync", "Whether a commit waits for a replica's acknowledgement.")
            .count(&[], u64::from(database.semi_sync));
        page.gauge("triad_database_replicas_connected", "Replicas that acknowledge commits.")
            .count(&[], database.replicas_connected);
    }
    // While replication does not run there is no lag, and no sample: zero would read as "up to date".
    if let Some(lag_s) = database.lag_s {
        page.gauge("mysql_slave_status_seconds_behind_master", "Seconds the replica is behind its primary.")
            .count(&[], lag_s);
    }
}

/// Who is the primary, by what the servers agreed on.
fn failover(page: &mut Exposition, failover: &FailoverReport) {
    let mut gauge = |name: &str, help: &str, value: u64| page.gauge(name, help).count(&[], value);
    gauge("triad_database_epoch", "Grows with every new primary.", failover.epoch);
    gauge("triad_database_record_version", "Grows with every change of primary or in-sync set.", failover.version);
    let help = "Servers that have every acknowledged write, together.";
    gauge("triad_database_in_sync_servers", help, failover.in_sync.len() as u64);
    let help = "Whether a majority vouched for that within the last second.";
    gauge("triad_database_record_confirmed", help, u64::from(failover.confirmed));
    if let Some(position) = failover.position {
        gauge("triad_database_position", "Sequence number of the last transaction written or received.", position);
    }
    if let Some(behind) = failover.behind {
        gauge("triad_database_behind_transactions", "Transactions of the primary not applied yet.", behind);
    }
    if let Some(last) = &failover.last {
        let help = "How long the last failover to this server took, by step, since the primary looked dead to it.";
        let mut family = page.gauge("triad_database_failover_seconds", help);
        let steps = [
            ("agreed", last.agreed_ms),
            ("fenced", last.fenced_ms),
            ("drained", last.drained_ms),
            ("claimed", last.claimed_ms),
            ("opened", last.opened_ms),
        ];
        steps.into_iter().for_each(|(step, ms)| family.number(&[("until", step)], ms as f64 / 1000.0));
    }
}

/// `SHOW GLOBAL STATUS` mixes counters and gauges and does not say which is which; mysqld_exporter calls them untyped.
fn database_counters(page: &mut Exposition, database: &DatabaseReport) {
    for (variable, value) in &database.counters {
        let name = format!("mysql_global_status_{}", metric_name(variable));
        page.family(&name, Kind::Untyped, "Generic metric from SHOW GLOBAL STATUS.").count(&[], *value);
    }
}

/// What may stand in a metric's name, the rest replaced.
fn metric_name(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect()
}

fn drops(page: &mut Exposition, firewall: &FirewallReport) {
    let mut family = page.counter("triad_firewall_dropped_packets_total", "Packets the firewall dropped.");
    for (reason, packets, _) in &firewall.drops {
        family.count(&[("reason", reason)], *packets);
    }
    let mut family = page.counter("triad_firewall_dropped_bytes_total", "Bytes in the packets the firewall dropped.");
    for (reason, _, bytes) in &firewall.drops {
        family.count(&[("reason", reason)], *bytes);
    }
}
