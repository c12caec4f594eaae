//! Reports and readings to render.

use triad_model::{
    BackendReport, DatabaseReport, DatabaseRole, DnsReport, EdgeReport, FirewallReport, HeartbeatReport,
    LatencyHistogram, PeerPresence, PeerReport, PoolReport, ProcessReport, ProcessState, Rates, Refusals, RequestCount,
    Role, RoleReport, ServerName, ServerReport, State, Verdict,
};
use triad_monitor::{Conntrack, Filesystem, HostReading, Interface, Memory, PacketCounts};

/// A server that carries nothing.
pub fn idle() -> ServerReport {
    ServerReport {
        server: name("srv9"),
        state: State::Healthy,
        roles: vec![],
        processes: vec![],
        rates: None,
        edge: None,
        dns: None,
        database: None,
        firewall: None,
        heartbeats: None,
        certificate_days_left: None,
        uptime_s: 3,
    }
}

/// A server that carries everything.
pub fn busy() -> ServerReport {
    ServerReport {
        server: name("srv1"),
        state: State::Degraded,
        roles: vec![
            RoleReport::new(Role::Dns, State::Healthy, "answers"),
            RoleReport::new(Role::Balancer, State::Degraded, "1 of 2 backends is up"),
            RoleReport::new(Role::Web, State::Starting, "waits for its edge"),
            RoleReport::new(Role::Database, State::Down, "the disk is full"),
        ],
        processes: vec![
            ProcessReport { upgrades: 3, ..process("edge", ProcessState::Running, 0) },
            ProcessReport { draining_s: Some(8), ..process("edge", ProcessState::Running, 1) },
            process("app-1", ProcessState::Waiting, 4),
        ],
        rates: Some(Rates { now: 12.0, one_minute: 10.5 }),
        edge: Some(edge()),
        dns: Some(DnsReport {
            answers: vec![("NOERROR".to_owned(), 90), ("NXDOMAIN".to_owned(), 7)],
            udp: 95,
            tcp: 2,
            dropped: 1,
            left_out: vec![name("srv3")],
        }),
        database: Some(DatabaseReport {
            role: DatabaseRole::Primary,
            state: State::Healthy,
            detail: "takes writes".to_owned(),
            gtid: "0-1-42".to_owned(),
            semi_sync: true,
            replicas_connected: 1,
            lag_s: None,
            counters: vec![("questions".to_owned(), 1234), ("threads_connected".to_owned(), 8)],
            failover: None,
        }),
        firewall: Some(FirewallReport { drops: vec![("invalid".to_owned(), 3, 120), ("default".to_owned(), 9, 540)] }),
        heartbeats: Some(HeartbeatReport {
            peers: vec![
                peer("srv2", PeerPresence::Alive, Some(40)),
                peer("srv3", PeerPresence::Silent, Some(61_250)),
                peer("srv4", PeerPresence::Unknown, None),
            ],
            refused: vec![("forged".to_owned(), 2), ("old".to_owned(), 1)],
            late_ms_max: 31,
        }),
        certificate_days_left: Some(-1),
        uptime_s: 86_400,
    }
}

fn peer(server: &str, presence: PeerPresence, heard_ms_ago: Option<u64>) -> PeerReport {
    let (received, lost) = if heard_ms_ago.is_some() { (1_000, 3) } else { (0, 0) };
    PeerReport { server: name(server), presence, heard_ms_ago, received, lost, hears: vec![] }
}

/// A server that holds a copy of the database; `lag_s` as in its report.
pub fn replica(lag_s: Option<u64>) -> ServerReport {
    let database = DatabaseReport {
        role: DatabaseRole::Replica,
        state: if lag_s.is_some() { State::Healthy } else { State::Down },
        detail: String::new(),
        gtid: "0-1-40".to_owned(),
        semi_sync: false,
        replicas_connected: 0,
        lag_s,
        counters: vec![],
        failover: None,
    };
    ServerReport { database: Some(database), ..idle() }
}

/// An edge that saw nothing but durations.
pub fn edge_with_latency(buckets: Vec<u64>, sum_s: f64) -> EdgeReport {
    EdgeReport { latency: LatencyHistogram { buckets, sum_s }, ..EdgeReport::default() }
}

fn edge() -> EdgeReport {
    EdgeReport {
        requests: vec![request(200, "GET", 140), request(502, "POST", 2)],
        in_flight: 3,
        connections: 17,
        connections_max: 16_384,
        bans: 2,
        refusals: Refusals { connections_full: 1, requests_client: 3, requests_banned: 4, ..Refusals::default() },
        handshake_failures: 5,
        retries: 7,
        retries_refused: 1,
        proxy_headers_refused: 6,
        log_dropped: 0,
        backends: vec![backend("srv2", Verdict::Up), backend("srv3", Verdict::Down)],
        pools: vec![pool()],
        relay_connections: 4,
        relay_failures: 1,
        relay: triad_model::RelayReport { open: 3, held: 1, held_total: 8, cut: 5, carried: 2, failures: 1 },
        read_relay: triad_model::RelayReport { open: 1, ..Default::default() },
        site_latency: vec![triad_model::SiteLatency {
            site: "www.foobar.com".to_owned(),
            latency: triad_model::LatencyHistogram { buckets: vec![4, 0, 1], sum_s: 0.25 },
        }],
        ..edge_with_latency(vec![10, 20, 30, 40, 20, 10, 5, 3, 2, 1, 0, 0, 0, 1], 3.25)
    }
}

fn request(code: u16, method: &str, count: u64) -> RequestCount {
    RequestCount { site: "www.foobar.com".to_owned(), code, method: method.to_owned(), cache: "none".to_owned(), count }
}

fn backend(server: &str, verdict: Verdict) -> BackendReport {
    BackendReport {
        mode: triad_model::BackendMode::Ready,
        left_out: false,
        pool: "balancer".to_owned(),
        name: server.to_owned(),
        verdict,
        why: "GET /up".to_owned(),
        weight: 1,
        backup: false,
        requests: 71,
        failures: 2,
        retries: 0,
        first_byte: triad_model::LatencyHistogram {
            buckets: vec![3, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
            sum_s: 12.5,
        },
        first_byte_p50_ms: None,
        first_byte_p99_ms: None,
        in_flight: 1,
        max_connections: 0,
    }
}

fn pool() -> PoolReport {
    PoolReport { pool: "balancer".to_owned(), panic: true, waiting: 4, timed_out: 9, overflowed: 2 }
}

fn process(text: &str, state: ProcessState, restarts: u64) -> ProcessReport {
    ProcessReport {
        name: text.to_owned(),
        state,
        pid: Some(4711),
        restarts,
        uptime_s: 60,
        resident_bytes: 12_582_912,
        last_exit: None,
        draining_s: None,
        upgrades: 0,
    }
}

/// A small host.
pub fn reading() -> HostReading {
    HostReading {
        cpus_s: vec![[12.34, 0.0, 5.5, 1000.25, 1.0, 0.0, 0.75, 0.01], [11.0, 0.5, 4.5, 1001.0, 0.25, 0.0, 0.5, 0.02]],
        memory: Memory {
            total_bytes: 4_126_076_928,
            free_bytes: 2_000_000_000,
            available_bytes: 3_000_000_000,
            buffers_bytes: 100_000_000,
            cached_bytes: 900_000_000,
            swap_total_bytes: 0,
            swap_free_bytes: 0,
        },
        load: [0.07, 0.5, 1.0],
        filesystem: Filesystem {
            mount_point: "/var".into(),
            device: "/dev/vda2".to_owned(),
            kind: "ext4".to_owned(),
            size_bytes: 40_000_000_000,
            free_bytes: 12_000_000_000,
            available_bytes: 10_000_000_000,
        },
        interfaces: vec![
            Interface {
                name: "eth0".to_owned(),
                received: PacketCounts { bytes: 1_000_000, packets: 2000, errors: 0, dropped: 3 },
                sent: PacketCounts { bytes: 5_000_000, packets: 4000, errors: 1, dropped: 0 },
            },
            Interface { name: "lo".to_owned(), received: PacketCounts::default(), sent: PacketCounts::default() },
        ],
        boot_time_s: 1_760_000_000,
        conntrack: Some(Conntrack { entries: 120, limit: 65_536 }),
    }
}

fn name(text: &str) -> ServerName {
    ServerName::new(text).expect("a name of this file")
}
