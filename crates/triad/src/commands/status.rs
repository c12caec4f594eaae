use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;
use triad_api::{ApiError, DesignReport, Maintained, ServerAnswer};
use triad_model::{
    BackendReport, DatabaseReport, EdgeReport, PoolReport, ProcessReport, Role, ServerName, ServerReport, State,
    Verdict,
};

use super::AgentSocket;
use crate::print;

/// Say what runs where, and how it is doing
///
/// Asks this server's agent, which asks all others. Exit code 0 when everything is healthy, 1 when something is not,
/// 3 when no agent runs here.
#[derive(Args)]
pub struct Status {
    /// Only this, as a table
    #[arg(value_enum)]
    part: Option<Part>,
    #[command(flatten)]
    agent: AgentSocket,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
}

/// What can be shown alone.
#[derive(Clone, Copy, ValueEnum)]
pub enum Part {
    /// The balancers' backends: requests a second, times until answers begin (P50 and P99 of the last half to whole
    /// minute), what they failed (FAILED) and what they got because another one had (RETRIED)
    Balancer,
    /// The database's servers: who is the primary, who has every acknowledged write (IN SYNC), how far each is, what it
    /// does and why, and how long the last failover took
    Database,
}

impl Status {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        if let Some(part) = self.part {
            return show_part(part, &self.agent, self.json);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        match runtime.block_on(triad_api::local_status(&self.agent.path()?)) {
            Ok(report) => show(&report, self.json),
            Err(error) => Ok(not_running(&error)),
        }
    }
}

fn not_running(error: &ApiError) -> ExitCode {
    eprintln!("triad: {error}");
    ExitCode::from(print::NOT_RUNNING)
}

/// The pool that is not shown: what a server's edge itself passes requests to.
const LOCAL: &str = "local";
/// The pool of [balancer].
const BALANCER: &str = "balancer";
/// Rates are taken over this.
const RATE_TIME: Duration = Duration::from_secs(1);

/// Prints one part, and gives the exit code that goes with it.
pub fn show_part(part: Part, agent: &AgentSocket, as_json: bool) -> anyhow::Result<ExitCode> {
    match part {
        Part::Balancer => show_balancers(agent, as_json),
        Part::Database => show_databases(agent, as_json),
    }
}

fn show_databases(agent: &AgentSocket, as_json: bool) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = match runtime.block_on(triad_api::local_status(&agent.path()?)) {
        Ok(report) => report,
        Err(error) => return Ok(not_running(&error)),
    };
    let rows: Vec<(&ServerName, &DatabaseReport)> = super::databases::of(&report).collect();
    match as_json {
        true => print::json(&rows)?,
        false => print::out(&super::databases::text(&rows)),
    }
    let all_healthy = rows.iter().all(|(_, database)| database.state == State::Healthy);
    Ok(ExitCode::from(if all_healthy { print::DONE } else { print::FAILED }))
}

fn show_balancers(agent: &AgentSocket, as_json: bool) -> anyhow::Result<ExitCode> {
    let socket = agent.path()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let reports = runtime.block_on(async {
        let first = triad_api::local_status(&socket).await?;
        tokio::time::sleep(RATE_TIME).await;
        Ok((first, triad_api::local_status(&socket).await?))
    });
    let (first, second) = match reports {
        Ok(reports) => reports,
        Err(error) => return Ok(not_running(&error)),
    };
    let rows = backends(&first, &second);
    let all_up = rows.iter().all(|row| row.backend.verdict == Verdict::Up && !row.backend.left_out);
    if as_json {
        print::json(&rows)?;
    } else {
        print::out(&backend_table(&rows));
        print::out(&notes(&rows));
    }
    Ok(ExitCode::from(if all_up { print::DONE } else { print::FAILED }))
}

/// A backend as one balancer sees it.
#[derive(Serialize)]
struct Row {
    balancer: ServerName,
    #[serde(flatten)]
    backend: BackendReport,
    /// Requests sent to it a second.
    qps: f64,
    /// Who waits there, and whether checks are believed; agents of before say nothing of it.
    queue: Option<PoolReport>,
}

/// What balancers say of their backends in `second`, with rates since `first`.
fn backends(first: &DesignReport, second: &DesignReport) -> Vec<Row> {
    let mut rows = Vec::new();
    for (balancer, edge) in balancers(second) {
        for backend in edge.backends.iter().filter(|backend| backend.pool != LOCAL) {
            let queue = edge.pools.iter().find(|pool| pool.pool == backend.pool);
            let since = requests(first, balancer, backend).unwrap_or(backend.requests);
            let qps = backend.requests.saturating_sub(since) as f64 / RATE_TIME.as_secs_f64();
            rows.push(Row { balancer: balancer.clone(), backend: backend.clone(), qps, queue: queue.cloned() });
        }
    }
    rows
}

/// Requests that `balancer` had sent to `backend` at the time of `report`.
fn requests(report: &DesignReport, balancer: &ServerName, backend: &BackendReport) -> Option<u64> {
    let (_, edge) = balancers(report).find(|(server, _)| *server == balancer)?;
    edge.backends.iter().find(|it| it.pool == backend.pool && it.name == backend.name).map(|it| it.requests)
}

/// The edges of `report`, with their servers.
fn balancers(report: &DesignReport) -> impl Iterator<Item = (&ServerName, &EdgeReport)> {
    report.servers.iter().filter_map(|answer| Some((&answer.server, answer.report.as_ref()?.edge.as_ref()?)))
}

/// What there is to say of a balancer beside its backends; nothing where all is as usual.
fn notes(rows: &[Row]) -> String {
    let mut pools: Vec<(&ServerName, &PoolReport)> =
        rows.iter().filter_map(|row| Some((&row.balancer, row.queue.as_ref()?))).collect();
    pools.dedup_by_key(|(balancer, pool)| (*balancer, &pool.pool));
    let mut text = String::new();
    for (balancer, pool) in pools {
        let balancer = match pool.pool.as_str() {
            BALANCER => balancer.to_string(),
            name => format!("{balancer}, pool {name}"),
        };
        if pool.panic {
            text += &format!("{balancer} is in panic: so few backends are up that requests go to all active ones\n");
        }
        if pool.waiting + pool.timed_out + pool.overflowed > 0 {
            let PoolReport { waiting, timed_out, overflowed, .. } = pool;
            text += &format!(
                "{balancer}: {waiting} requests wait for a backend with room; given up: {timed_out} after \
                 queue_timeout_ms, {overflowed} at once\n"
            );
        }
    }
    text
}

/// Times are until the answer begins, in the last half to whole minute.
const HEADING: [&str; 14] = [
    "BALANCER",
    "POOL",
    "BACKEND",
    "STATE",
    "MODE",
    "WEIGHT",
    "IN FLIGHT",
    "QPS",
    "P50 MS",
    "P99 MS",
    "REQUESTS",
    "FAILED",
    "RETRIED",
    "WHY",
];

fn backend_table(rows: &[Row]) -> String {
    let mut table = vec![HEADING.map(str::to_owned).to_vec()];
    let time = |time_ms: Option<f64>| time_ms.map_or_else(|| "-".to_owned(), |time_ms| format!("{time_ms:.1}"));
    table.extend(rows.iter().map(|Row { balancer, backend, qps, .. }| {
        let state = match (backend.verdict, backend.left_out) {
            (Verdict::Down, _) => "down",
            (Verdict::Up, true) => "left out",
            (Verdict::Up, false) => "up",
        };
        let in_flight = match backend.max_connections {
            0 => backend.in_flight.to_string(),
            max => format!("{} of {max}", backend.in_flight),
        };
        let weight = if backend.backup { format!("{} (passive)", backend.weight) } else { backend.weight.to_string() };
        vec![
            balancer.to_string(),
            backend.pool.clone(),
            backend.name.clone(),
            state.to_owned(),
            backend.mode.to_string(),
            weight,
            in_flight,
            format!("{qps:.1}"),
            time(backend.first_byte_p50_ms),
            time(backend.first_byte_p99_ms),
            backend.requests.to_string(),
            backend.failures.to_string(),
            backend.retries.to_string(),
            backend.why.clone(),
        ]
    }));
    print::table(&table)
}

/// Prints `report` and gives the exit code that goes with it.
pub fn show(report: &DesignReport, as_json: bool) -> anyhow::Result<ExitCode> {
    if as_json {
        print::json(report)?;
    } else {
        print::out(&text(report));
    }
    Ok(ExitCode::from(match report.state() {
        State::Healthy => print::DONE,
        State::Starting | State::Degraded => print::FAILED,
        State::Down => print::NOT_RUNNING,
    }))
}

/// Whether users are turned away, if they are; then a block for each server: its roles, then its processes.
pub fn text(report: &DesignReport) -> String {
    let blocks: Vec<String> = maintenance(report).into_iter().chain(report.servers.iter().map(server)).collect();
    blocks.join("\n")
}

/// What cannot be missed while any server turns users away.
fn maintenance(report: &DesignReport) -> Option<String> {
    let Maintained { closed, open, message } = report.maintenance()?;
    let names = |names: &[&ServerName]| names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
    let message = message.map(|message| format!(", who are told: {message}")).unwrap_or_default();
    let mut text = format!(
        "*** MAINTENANCE IS ON: {} answers users with 503{message}\n*** `triad maintenance off` lets them in again\n",
        names(&closed)
    );
    if !open.is_empty() {
        text += &format!("*** NOT on {}, where users reach the site; it hears of it from the others\n", names(&open));
    }
    Some(text)
}

fn server(answer: &ServerAnswer) -> String {
    let Some(report) = &answer.report else {
        let reason = answer.error.as_deref().unwrap_or("it does not answer");
        return format!("{}  down  {reason}\n", answer.server);
    };
    let mut rows = vec![head(report)];
    rows.extend(report.roles.iter().map(|role| row(&role.role, role.state.as_str(), role.detail.clone())));
    rows.extend(report.processes.iter().map(|process| row(&process.name, process.state.as_str(), life(process))));
    print::table(&rows)
}

fn row(name: &str, state: &str, detail: String) -> Vec<String> {
    vec![format!("  {name}"), state.to_owned(), detail]
}

fn head(report: &ServerReport) -> Vec<String> {
    vec![report.server.to_string(), report.state.as_str().to_owned(), traffic(report)]
}

/// Requests a second, where the server meets users' requests.
fn traffic(report: &ServerReport) -> String {
    let meets = |role: &str| role == Role::Balancer.as_str() || role == Role::Web.as_str();
    match report.rates {
        Some(rates) if report.roles.iter().any(|role| meets(&role.role)) => {
            let refused = report.edge.as_ref().map(refused).unwrap_or_default();
            format!("{:.1} QPS now, {:.1} over 1 min{refused}", rates.now, rates.one_minute)
        }
        _ => String::new(),
    }
}

/// Who is banned, and what was refused at the door since the agent started, if anybody or anything.
fn refused(edge: &EdgeReport) -> String {
    let mut text = String::new();
    if edge.bans > 0 {
        text += &format!("; {} banned", edge.bans);
    }
    let count = |what: &str| edge.refusals.rows().iter().filter(|row| row.0 == what).map(|row| row.2).sum::<u64>();
    for what in ["connection", "request"].into_iter().filter(|what| count(what) > 0) {
        text += &format!("; {} {what}s refused", count(what));
    }
    text
}

fn life(process: &ProcessReport) -> String {
    let mut parts = Vec::new();
    if let Some(pid) = process.pid {
        parts.push(format!("pid {pid}"));
        parts.push(format!("{} s", process.uptime_s));
        parts.push(format!("{:.0} MB", process.resident_bytes as f64 / 1e6));
    }
    parts.extend(process.draining_s.map(|draining_s| format!("replaced, draining for {draining_s} s")));
    if process.upgrades > 0 {
        parts.push(format!("upgraded {} times", process.upgrades));
    }
    if process.restarts > 0 {
        parts.push(format!("restarted {} times", process.restarts));
    }
    parts.extend(process.last_exit.as_ref().map(|exit| format!("last {exit}")));
    parts.join(", ")
}
