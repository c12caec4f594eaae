//! From what the agent observes to the report it gives: pure, so that every wording has a test.

use triad_model::{
    BackendReport, DatabaseReport, Design, DnsReport, EdgeReport, FirewallReport, ProcessReport, ProcessState, Rates,
    Role, RoleReport, ServerName, ServerReport, State, Verdict,
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
    /// Days until the first certificate ends.
    pub certificate_days_left: Option<i64>,
    /// Seconds since the agent started.
    pub uptime_s: u64,
}

/// The report of `server`.
pub fn report(design: &Design, server: &ServerName, observed: Observed) -> ServerReport {
    let mut roles: Vec<RoleReport> =
        design.roles(server).into_iter().map(|role| role_report(design, role, &observed)).collect();
    roles.extend(observed.firewall.as_ref().map(firewall));
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
        certificate_days_left: observed.certificate_days_left,
        uptime_s: observed.uptime_s,
    }
}

fn role_report(design: &Design, role: Role, observed: &Observed) -> RoleReport {
    let (state, detail) = match role {
        Role::Dns => dns(design, observed),
        Role::Balancer => balancer(observed),
        Role::Web => web(design, observed),
        Role::App => app(observed),
        Role::Database => database(observed),
    };
    RoleReport::new(role, state, detail)
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

fn balancer(observed: &Observed) -> (State, String) {
    backends(observed, "balancer", "backends")
}

fn app(observed: &Observed) -> (State, String) {
    let (state, detail) = backends(observed, "local", "instances");
    let waiting = observed
        .processes
        .iter()
        .find(|process| process.state == ProcessState::Waiting && process.name.starts_with("app-"));
    match (state, waiting.and_then(|process| Some((&process.name, process.last_exit.as_ref()?)))) {
        (State::Degraded | State::Down, Some((name, exit))) => (state, format!("{detail}; {name} {exit}")),
        _ => (state, detail),
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
