//! From what the agent observes to the report it gives: pure, so that every wording has a test.

use triad_model::{
    BackendReport, DatabaseReport, Design, DnsReport, EdgeReport, FirewallReport, HeartbeatReport, POOL_NAMES_TAKEN,
    PeerPresence, PeerReport, PoolBackend, ProcessReport, ProcessState, Rates, Role, RoleReport, ServerName,
    ServerReport, State, Verdict,
};

/// What the agent sees at one moment.
pub struct Observed {
    /// Its child processes.
    pub processes: Vec<ProcessReport>,
    /// What the edge said last.
    pub edge: Option<EdgeReport>,
    /// What the name server said last.
    pub dns: Option<DnsReport>,
    /// What the database showed last.
    pub database: Option<DatabaseReport>,
    /// The firewall's counters; `None` where the design has no firewall.
    pub firewall: Option<Result<FirewallReport, String>>,
    /// Requests a second.
    pub rates: Option<Rates>,
    /// How agreeing with the other servers goes; `None` where there is nothing to agree on.
    pub coordination: Option<(State, String)>,
    /// What is heard of the other servers; `None` where there are none.
    pub heartbeats: Option<HeartbeatReport>,
    /// Days until the first certificate ends.
    pub certificate_days_left: Option<i64>,
    /// What is wrong with those that users are shown, each a clause, and how that is.
    pub certificate_faults: Vec<(State, String)>,
    /// Seconds since the agent started.
    pub uptime_s: u64,
}

/// The report of `server`.
pub fn report(design: &Design, server: &ServerName, observed: Observed) -> ServerReport {
    let mut roles: Vec<RoleReport> =
        design.roles(server).into_iter().map(|role| role_report(design, role, &observed)).collect();
    roles.extend(observed.firewall.as_ref().map(firewall));
    roles.extend(observed.heartbeats.as_ref().map(heartbeats));
    let coordination = observed.coordination.clone();
    roles.extend(coordination.map(|(state, detail)| RoleReport { role: "coordination".to_owned(), state, detail }));
    let state = roles.iter().map(|role| role.state).max().unwrap_or(State::Healthy);
    ServerReport {
        server: server.clone(),
        state,
        roles,
        processes: observed.processes,
        rates: observed.rates,
        edge: observed.edge,
        dns: observed.dns,
        database: observed.database,
        firewall: observed.firewall.and_then(Result::ok),
        heartbeats: observed.heartbeats,
        certificate_days_left: observed.certificate_days_left,
        uptime_s: observed.uptime_s,
    }
}

fn role_report(design: &Design, role: Role, observed: &Observed) -> RoleReport {
    let (state, detail) = match role {
        Role::Dns => dns(design, observed),
        Role::Balancer => balancer(design, observed),
        Role::Web => web(design, observed),
        Role::App => app(observed),
        Role::Database => database(observed),
    };
    let is_front = role == design.front_role();
    let (state, detail) = match observed.certificate_faults.iter().max_by_key(|(state, _)| *state).filter(|_| is_front)
    {
        Some((fault_state, fault)) => (state.max(*fault_state), format!("{detail}; {fault}")),
        None => (state, detail),
    };
    let is_closed = observed.edge.as_ref().is_some_and(|edge| edge.maintenance.is_some());
    match is_closed && is_front {
        true => RoleReport::new(role, state.max(State::Degraded), format!("MAINTENANCE: users get 503; {detail}")),
        false => RoleReport::new(role, state, detail),
    }
}

fn dns(design: &Design, observed: &Observed) -> (State, String) {
    let Some(report) = &observed.dns else { return process_down(observed, "dns") };
    let domain = &design.site.domain;
    if report.left_out.is_empty() {
        return (State::Healthy, format!("answers for {domain}"));
    }
    let names: Vec<&str> = report.left_out.iter().map(ServerName::as_str).collect();
    (State::Healthy, format!("answers for {domain}, leaves out {}", names.join(", ")))
}

fn balancer(design: &Design, observed: &Observed) -> (State, String) {
    let (mut state, mut detail) = backends(observed, "balancer", "backends");
    for (name, why) in routed(observed) {
        // Only what routes take fails. How that is which Triad does not run is told, and is nobody's state here.
        let is_down = |it: &&BackendReport| it.pool == name && it.verdict == Verdict::Down && is_ours(design, it);
        if observed.edge.iter().flat_map(|edge| &edge.backends).any(|it| is_down(&it)) {
            state = state.max(State::Degraded);
        }
        detail += &format!("; pool {name}: {why}");
    }
    let mut pools = observed.edge.iter().flat_map(|edge| &edge.pools);
    match pools.any(|pool| pool.pool == "balancer" && pool.panic) {
        true => (state, format!("{detail}; in panic: requests go to all active ones")),
        false => (state, detail),
    }
}

/// Whether a backend of a balancer is a server of the design.
fn is_ours(design: &Design, backend: &BackendReport) -> bool {
    let is_it = |it: &&PoolBackend| it.name.as_str() == backend.name;
    let outside = design.pool(&backend.pool).and_then(|pool| pool.backends.iter().find(is_it)?.address);
    outside.is_none()
}

/// The pools that routes lead to and that are not well, and why.
fn routed(observed: &Observed) -> Vec<(&str, String)> {
    let backends_of = |name| (name, backends(observed, name, "backends"));
    let mut names: Vec<&str> =
        observed.edge.iter().flat_map(|edge| &edge.pools).map(|pool| pool.pool.as_str()).collect();
    names.retain(|name| !POOL_NAMES_TAKEN.contains(name));
    let ill = names.into_iter().map(backends_of).filter(|(_, (state, _))| *state != State::Healthy);
    ill.map(|(name, (_, why))| (name, why)).collect()
}

fn app(observed: &Observed) -> (State, String) {
    let (state, detail) = backends(observed, "local", "instances");
    let waiting = observed
        .processes
        .iter()
        .find(|process| process.state == ProcessState::Waiting && process.name.starts_with("app-"));
    let (state, detail) = match (state, waiting.and_then(|process| Some((&process.name, process.last_exit.as_ref()?))))
    {
        (State::Degraded | State::Down, Some((name, exit))) => (state, format!("{detail}; {name} {exit}")),
        _ => (state, detail),
    };
    with_held(observed, state, detail)
}

/// Says so while connections to the database wait for one that takes them.
fn with_held(observed: &Observed, state: State, detail: String) -> (State, String) {
    let held = observed.edge.as_ref().map_or(0, |edge| edge.relay.held + edge.read_relay.held);
    match held {
        0 => (state, detail),
        held => (state.max(State::Degraded), format!("{detail}; connections that wait for a database: {held}")),
    }
}

fn web(design: &Design, observed: &Observed) -> (State, String) {
    if observed.edge.is_none() {
        return process_down(observed, "edge");
    }
    match design.web.as_ref().and_then(|web| web.root.as_ref()) {
        Some(root) => (State::Healthy, format!("serves {}", root.display())),
        None => (State::Healthy, "passes everything to the application".to_owned()),
    }
}

fn database(observed: &Observed) -> (State, String) {
    match &observed.database {
        Some(report) => (report.state, report.detail.clone()),
        None => process_down(observed, "mariadbd"),
    }
}

fn firewall(outcome: &Result<FirewallReport, String>) -> RoleReport {
    let (state, detail) = match outcome {
        Ok(report) => {
            let packets: u64 = report.drops.iter().map(|(_, packets, _)| packets).sum();
            (State::Healthy, format!("default drop, {packets} packets dropped"))
        }
        Err(reason) => (State::Degraded, reason.clone()),
    };
    RoleReport { role: "firewall".to_owned(), state, detail }
}

/// Healthy while every other server is heard. Who else hears one that is not tells a dead server from a cut cable.
fn heartbeats(report: &HeartbeatReport) -> RoleReport {
    let names = |presence| {
        let peers = report.peers.iter().filter(move |peer| peer.presence == presence);
        peers.map(|peer| peer.server.as_str()).collect::<Vec<_>>()
    };
    let (alive, unknown) = (names(PeerPresence::Alive), names(PeerPresence::Unknown));
    let mut parts = Vec::new();
    if !alive.is_empty() {
        parts.push(format!("hears {}", alive.join(", ")));
    }
    let silent = report.peers.iter().filter(|peer| peer.presence == PeerPresence::Silent);
    parts.extend(silent.clone().map(|peer| silence(report, peer)));
    if !unknown.is_empty() {
        parts.push(format!("has not heard {} yet", unknown.join(", ")));
    }
    let state = match (silent.count(), unknown.len()) {
        (0, 0) => State::Healthy,
        (0, _) => State::Starting,
        _ => State::Degraded,
    };
    RoleReport { role: "heartbeat".to_owned(), state, detail: parts.join("; ") }
}

fn silence(report: &HeartbeatReport, peer: &PeerReport) -> String {
    let silent_s = peer.heard_ms_ago.unwrap_or_default() as f64 / 1000.0;
    let witnesses = report
        .peers
        .iter()
        .filter(|other| other.presence == PeerPresence::Alive && other.hears.contains(&peer.server))
        .map(|other| other.server.as_str());
    let witnesses: Vec<&str> = witnesses.collect();
    match witnesses.is_empty() {
        true => format!("{} silent for {silent_s:.1} s", peer.server),
        false => format!("{} silent for {silent_s:.1} s, but heard by {}", peer.server, witnesses.join(", ")),
    }
}

/// The state of a pool: healthy while all of it is up, down while none is.
fn backends(observed: &Observed, pool: &str, noun: &str) -> (State, String) {
    let Some(edge) = &observed.edge else { return process_down(observed, "edge") };
    let members: Vec<&BackendReport> = edge.backends.iter().filter(|backend| backend.pool == pool).collect();
    let up = members.iter().filter(|backend| backend.verdict == Verdict::Up).count();
    let down = members.iter().find(|backend| backend.verdict == Verdict::Down);
    let detail = format!("{up} of {} {noun} up", members.len());
    match down {
        None => (State::Healthy, detail),
        Some(down) => {
            let state = if up == 0 { State::Down } else { State::Degraded };
            (state, format!("{detail}; {}: {}", down.name, down.why))
        }
    }
}

fn process_down(observed: &Observed, name: &str) -> (State, String) {
    let process = observed.processes.iter().find(|process| process.name == name);
    match process {
        Some(ProcessReport { state: ProcessState::Waiting, last_exit: Some(exit), .. }) => {
            (State::Down, format!("{name} {exit}"))
        }
        _ => (State::Starting, format!("{name} is starting")),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use triad_model::{
        App, BackendReport, Balancing, Design, Dns, DnsReport, EdgeReport, FirewallReport, HealthCheck,
        HeartbeatReport, PeerPresence, PeerReport, Pool, PoolBackend, PoolReport, ProcessReport, ProcessState, Server,
        ServerName, Site, State, Verdict, Web,
    };

    use super::{Observed, report};

    fn name(text: &str) -> ServerName {
        ServerName::new(text).unwrap()
    }

    /// One server that answers DNS, serves files and runs the application.
    pub(crate) fn design() -> Design {
        let srv1 = || vec![name("srv1")];
        Design {
            site: Site {
                domain: "foobar.com".to_owned(),
                hosts: vec!["www.foobar.com".to_owned()],
                maintenance_page: None,
                maintenance_allow: Vec::new(),
            },
            servers: vec![Server { name: name("srv1"), public: Vec::new(), private: None }],
            dns: Some(Dns { servers: srv1(), ttl_s: 30 }),
            balancer: None,
            web: Some(Web { servers: srv1(), root: Some("public".into()) }),
            app: Some(App {
                servers: srv1(),
                build: None,
                directory: "app".into(),
                command: "./app".to_owned(),
                instances: 2,
                max_connections: 0,
                health: "/up".to_owned(),
                environment: Default::default(),
                proxy_protocol: None,
                protocol: Default::default(),
            }),
            database: None,
            tls: None,
            firewall: None,
            monitor: None,
            limits: None,
            headers: Default::default(),
            redirects: Vec::new(),
            log: Default::default(),
            pools: Vec::new(),
            routes: Vec::new(),
            check: Vec::new(),
        }
    }

    fn instance(number: u32, verdict: Verdict) -> BackendReport {
        BackendReport {
            mode: triad_model::BackendMode::Ready,
            left_out: false,
            pool: "local".to_owned(),
            name: format!("app-{number}"),
            verdict,
            why: "connection refused".to_owned(),
            weight: 1,
            backup: false,
            requests: 0,
            failures: 0,
            retries: 0,
            first_byte: Default::default(),
            first_byte_p50_ms: None,
            first_byte_p99_ms: None,
            in_flight: 0,
            max_connections: 0,
        }
    }

    fn process(name: &str, state: ProcessState, last_exit: Option<&str>) -> ProcessReport {
        let last_exit = last_exit.map(str::to_owned);
        ProcessReport {
            name: name.to_owned(),
            state,
            pid: None,
            restarts: 1,
            uptime_s: 0,
            resident_bytes: 0,
            last_exit,
            draining_s: None,
            upgrades: 0,
        }
    }

    fn observed(edge: Option<EdgeReport>) -> Observed {
        Observed {
            processes: Vec::new(),
            edge,
            dns: Some(DnsReport::default()),
            database: None,
            firewall: None,
            rates: None,
            coordination: None,
            heartbeats: None,
            certificate_days_left: None,
            certificate_faults: Vec::new(),
            uptime_s: 0,
        }
    }

    fn edge(backends: Vec<BackendReport>) -> Option<EdgeReport> {
        Some(EdgeReport { backends, ..EdgeReport::default() })
    }

    /// `state` of the server, then a line a role.
    fn told(observed: Observed) -> String {
        let report = report(&design(), &name("srv1"), observed);
        let roles = report.roles.iter().map(|role| format!("\n{} {}: {}", role.role, role.state, role.detail));
        format!("{}{}", report.state, roles.collect::<String>())
    }

    #[test]
    fn all_well() {
        let up = edge(vec![instance(1, Verdict::Up), instance(2, Verdict::Up)]);
        let text = "healthy\ndns healthy: answers for foobar.com\nweb healthy: serves public\napp healthy: 2 of 2 instances up";
        assert_eq!(told(observed(up)), text);
    }

    #[test]
    fn maintenance_is_said_where_users_arrive_and_is_not_healthy() {
        let mut closed = edge(vec![instance(1, Verdict::Up)]);
        closed.as_mut().unwrap().maintenance = Some(triad_model::Maintenance::default());
        let text = "degraded\ndns healthy: answers for foobar.com\nweb degraded: MAINTENANCE: users get 503; serves public\n\
                    app healthy: 1 of 1 instances up";
        assert_eq!(told(observed(closed)), text);
    }

    #[test]
    fn a_certificate_that_ended_is_said_where_users_arrive() {
        let fault = |state, what: &str| (state, format!("tls.certificate_file: the certificate {what}"));
        let ended = vec![fault(State::Degraded, "ended on 2026-01-01"), fault(State::Healthy, "is old")];
        let told = told(Observed { certificate_faults: ended, ..observed(edge(vec![instance(1, Verdict::Up)])) });
        let text = "degraded\ndns healthy: answers for foobar.com\nweb degraded: serves public; tls.certificate_file: the \
                    certificate ended on 2026-01-01\napp healthy: 1 of 1 instances up";
        assert_eq!(told, text);
    }

    #[test]
    fn an_instance_that_crashes_degrades_and_says_why() {
        let half = edge(vec![instance(1, Verdict::Up), instance(2, Verdict::Down)]);
        let crashed = process("app-2", ProcessState::Waiting, Some("ended with exit code 1"));
        let told = told(Observed { processes: vec![crashed], ..observed(half) });
        let detail = "1 of 2 instances up; app-2: connection refused; app-2 ended with exit code 1";
        assert!(told.starts_with("degraded\n") && told.ends_with(&format!("app degraded: {detail}")), "{told}");
    }

    #[test]
    fn connections_that_wait_for_a_database_are_said_and_are_not_healthy() {
        let mut waiting = edge(vec![instance(1, Verdict::Up)]);
        waiting.as_mut().unwrap().relay.held = 3;
        let told = told(observed(waiting));
        assert!(told.ends_with("app degraded: 1 of 1 instances up; connections that wait for a database: 3"), "{told}");
    }

    #[test]
    fn no_instance_is_down_and_no_edge_is_starting_or_down() {
        let none = edge(vec![instance(1, Verdict::Down), instance(2, Verdict::Down)]);
        assert!(told(observed(none)).starts_with("down\n"));
        let starting = told(observed(None));
        assert!(
            starting.starts_with("starting\n") && starting.contains("web starting: edge is starting"),
            "{starting}"
        );
        let crashed = process("edge", ProcessState::Waiting, Some("was ended by SIGSEGV"));
        let crashed = told(Observed { processes: vec![crashed], ..observed(None) });
        assert!(crashed.starts_with("down\n") && crashed.contains("web down: edge was ended by SIGSEGV"), "{crashed}");
    }

    #[test]
    fn a_balancer_in_panic_says_so() {
        let srv2 = BackendReport { pool: "balancer".to_owned(), name: "srv2".to_owned(), ..instance(1, Verdict::Down) };
        let told = |panic| {
            let pool = "balancer".to_owned();
            let pools = vec![PoolReport { pool, panic, waiting: 0, timed_out: 0, overflowed: 0 }];
            let edge = EdgeReport { backends: vec![srv2.clone()], pools, ..EdgeReport::default() };
            super::balancer(&design(), &observed(Some(edge))).1
        };
        let down = "0 of 1 backends up; srv2: connection refused";
        assert_eq!(told(false), down);
        assert_eq!(told(true), format!("{down}; in panic: requests go to all active ones"));
    }

    #[test]
    fn a_silent_server_is_named_with_those_who_hear_it() {
        let peer = |server, presence, ms, hears: &[&str]| PeerReport {
            server: name(server),
            presence,
            heard_ms_ago: ms,
            received: 1,
            lost: 0,
            hears: hears.iter().map(|it| name(it)).collect(),
        };
        let told = |peers| {
            let role = super::heartbeats(&HeartbeatReport { peers, ..HeartbeatReport::default() });
            format!("{}: {}", role.state, role.detail)
        };
        let srv2 = |hears| peer("srv2", PeerPresence::Alive, Some(40), hears);
        let silent = || peer("srv3", PeerPresence::Silent, Some(3_240), &["srv2"]);
        assert_eq!(told(vec![srv2(&[]), peer("srv3", PeerPresence::Alive, Some(0), &[])]), "healthy: hears srv2, srv3");
        assert_eq!(told(vec![srv2(&[]), silent()]), "degraded: hears srv2; srv3 silent for 3.2 s");
        let cut = "degraded: hears srv2; srv3 silent for 3.2 s, but heard by srv2";
        assert_eq!(told(vec![srv2(&["srv3"]), silent()]), cut);
        let unknown = peer("srv3", PeerPresence::Unknown, None, &[]);
        assert_eq!(told(vec![srv2(&["srv3"]), unknown]), "starting: hears srv2; has not heard srv3 yet");
    }

    #[test]
    fn a_pool_that_routes_lead_to_degrades_the_balancer_and_is_named() {
        let member = |pool: &str, name: &str, verdict| BackendReport {
            pool: pool.to_owned(),
            name: name.to_owned(),
            ..instance(1, verdict)
        };
        let pool =
            |pool: &str| PoolReport { pool: pool.to_owned(), panic: false, waiting: 0, timed_out: 0, overflowed: 0 };
        let told = |design: &Design, verdict| {
            let backends = vec![member("balancer", "srv2", Verdict::Up), member("blog", "blog1", verdict)];
            let edge = EdgeReport { backends, pools: vec![pool("balancer"), pool("blog")], ..EdgeReport::default() };
            super::balancer(design, &observed(Some(edge)))
        };
        let ours = design();
        assert_eq!(told(&ours, Verdict::Up), (State::Healthy, "1 of 1 backends up".to_owned()));
        let down = "1 of 1 backends up; pool blog: 0 of 1 backends up; blog1: connection refused";
        assert_eq!(told(&ours, Verdict::Down), (State::Degraded, down.to_owned()));
        let health = HealthCheck::new("/up", 500, 500);
        let (name, address) = (name("blog1"), Some(([10, 77, 0, 20], 80).into()));
        let backends = vec![PoolBackend { name, address, weight: 1, backup: false, max_connections: 0 }];
        let pools = vec![Pool { name: "blog".to_owned(), backends, balancing: Balancing::new(health) }];
        let outside = Design { pools, ..ours };
        assert_eq!(told(&outside, Verdict::Down), (State::Healthy, down.to_owned()), "it is not Triad's");
    }

    #[test]
    fn dns_names_whom_it_leaves_out_and_a_firewall_that_cannot_be_read_degrades() {
        let up = || edge(vec![instance(1, Verdict::Up)]);
        let dns = DnsReport { left_out: vec![name("lb2")], ..DnsReport::default() };
        let without = told(Observed { dns: Some(dns), ..observed(up()) });
        assert!(without.contains("dns healthy: answers for foobar.com, leaves out lb2"), "{without}");
        let drops = FirewallReport { drops: vec![("default".to_owned(), 3, 180), ("invalid".to_owned(), 1, 40)] };
        let read = told(Observed { firewall: Some(Ok(drops)), ..observed(up()) });
        assert!(read.ends_with("firewall healthy: default drop, 4 packets dropped"), "{read}");
        let lost = told(Observed { firewall: Some(Err("no table".to_owned())), ..observed(up()) });
        assert!(lost.starts_with("degraded\n") && lost.ends_with("firewall degraded: no table"), "{lost}");
        assert_eq!(State::Degraded.max(State::Down), State::Down);
    }
}
