//! What agents and commands say to each other: JSON over HTTP, on two doors.
//!
//! * The *local* door is a Unix socket in the agent's run directory, open to root alone: `triad status`, the lab.
//! * The *peers'* door is the server's private address, port [`triad_model::AGENT`], over mutual TLS: only servers of
//!   the same design get in, so nothing a stranger sends is ever parsed.
//!
//! [`Agent`] is what stands behind both; [`serve`](mod@serve) opens them and [`client`] knocks.

#![forbid(unsafe_code)]

pub mod client;
pub mod serve;

use serde::{Deserialize, Serialize};
use triad_model::{BackendSetting, ServerName, ServerReport, State};

pub use client::{ApiError, Peer, access_lines, authority, local_report, local_status, set_backend};

/// What an agent can be asked.
pub trait Agent: Clone + Send + Sync + 'static {
    /// The state of its own server.
    fn report(&self) -> ServerReport;

    /// The state of every server of the design, asked now.
    fn status(&self) -> impl Future<Output = DesignReport> + Send;

    /// Its server's metrics, as Prometheus text.
    fn metrics(&self) -> String;

    /// Takes what an operator says of a backend, if its server balances: whether it does.
    fn set_backend(&self, setting: BackendSetting) -> impl Future<Output = Result<bool, String>> + Send;

    /// Says it to every server of the design that balances.
    fn set_backend_everywhere(&self, setting: BackendSetting) -> impl Future<Output = Vec<SettingAnswer>> + Send;

    /// Lines of its edge's access log with the request id `id`, as they are.
    fn access_lines(&self, id: &str) -> impl Future<Output = Vec<String>> + Send;

    /// The same of any server of the design, or why they cannot be had.
    fn access_lines_of(&self, server: &str, id: &str) -> impl Future<Output = Result<Vec<String>, String>> + Send;

    /// The certificate of the design's authority, PEM.
    fn authority(&self) -> String;

    /// A copy of its running database, for a replica to begin with (an `xbstream` archive), or why there is none.
    fn backup(&self) -> impl Future<Output = Result<axum::body::Body, String>> + Send;
}

/// What became of a setting on one server that balances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingAnswer {
    /// The server.
    pub server: ServerName,
    /// Why it is not in force there; `None` if it is.
    pub error: Option<String>,
}

/// The state of every server of a design, as one agent sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DesignReport {
    /// In the order of the file.
    pub servers: Vec<ServerAnswer>,
}

impl DesignReport {
    /// Healthy where all servers are; a server that does not answer counts as down, and the design as degraded as
    /// long as any other answers.
    pub fn state(&self) -> State {
        let states =
            self.servers.iter().map(|answer| answer.report.as_ref().map_or(State::Down, |report| report.state));
        if states.clone().all(|state| state == State::Healthy) {
            State::Healthy
        } else if states.clone().all(|state| state == State::Down) {
            State::Down
        } else {
            State::Degraded
        }
    }
}

/// One server's answer, or why there is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerAnswer {
    /// The server that was asked.
    pub server: ServerName,
    /// What its agent said.
    pub report: Option<ServerReport>,
    /// Why it said nothing.
    pub error: Option<String>,
}

impl ServerAnswer {
    /// What came of asking `server`.
    pub fn new(server: ServerName, outcome: Result<ServerReport, ApiError>) -> Self {
        match outcome {
            Ok(report) => Self { server, report: Some(report), error: None },
            Err(error) => Self { server, report: None, error: Some(error.to_string()) },
        }
    }
}
