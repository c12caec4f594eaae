use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use triad_api::{DesignReport, ServerAnswer};
use triad_model::{ProcessReport, Role, ServerReport, State};

use crate::print;

/// Say what runs where, and how it is doing
///
/// Asks this server's agent, which asks all others. Exit code 0 when everything is healthy, 1 when something is not,
/// 3 when no agent runs here.
#[derive(Args)]
pub struct Status {
    /// Where the agent's sockets are
    #[arg(long, default_value = "/run/triad", value_name = "DIR")]
    run: PathBuf,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
}

impl Status {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        match runtime.block_on(triad_api::local_status(&self.run.join("agent.sock"))) {
            Ok(report) => show(&report, self.json),
            Err(error) => {
                eprintln!("triad: {error}");
                Ok(ExitCode::from(print::NOT_RUNNING))
            }
        }
    }
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

/// A block for each server: its roles, then its processes.
pub fn text(report: &DesignReport) -> String {
    let blocks: Vec<String> = report.servers.iter().map(server).collect();
    blocks.join("\n")
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
            format!("{:.1} QPS now, {:.1} over 1 min", rates.now, rates.one_minute)
        }
        _ => String::new(),
    }
}

fn life(process: &ProcessReport) -> String {
    let mut parts = Vec::new();
    if let Some(pid) = process.pid {
        parts.push(format!("pid {pid}"));
        parts.push(format!("{} s", process.uptime_s));
        parts.push(format!("{:.0} MB", process.resident_bytes as f64 / 1e6));
    }
    if process.restarts > 0 {
        parts.push(format!("restarted {} times", process.restarts));
    }
    parts.extend(process.last_exit.as_ref().map(|exit| format!("last {exit}")));
    parts.join(", ")
}
