use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Subcommand};
use triad_api::SettingAnswer;
use triad_model::{Backend as Limits, BackendMode, BackendSetting};

use super::AgentSocket;
use crate::print;

/// Take a backend out of the balancers, bring it back, or change its weight, while they run
///
/// No connection is touched: new requests go elsewhere at once, those under way are finished. It holds on every
/// balancer of the design until another word, or a restart of the agents; the file is not changed.
#[derive(Args)]
pub struct Backend {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Say what a backend shall be
    ///
    /// Exit code 0 when it is in force on every balancer, 1 when not on all.
    Set {
        /// The backend: its server's name, or what the file calls it, in every pool that has it; POOL/NAME for one
        /// pool, balancer/NAME for that of [balancer]
        backend: String,
        #[command(subcommand)]
        what: What,
        #[command(flatten)]
        agent: AgentSocket,
    },
    /// Show the balancers' backends, as `triad status balancer` does
    List {
        #[command(flatten)]
        agent: AgentSocket,
        /// Print them as JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Subcommand)]
enum What {
    /// As the file says
    Ready,
    /// No new requests; it is checked further
    Drain,
    /// No requests and no health checks
    Maintenance,
    /// Another weight than the file's; 0: no new requests
    Weight {
        /// From 0 to 256
        #[arg(value_parser = clap::value_parser!(u16).range(0..=i64::from(Limits::WEIGHT_MAX)))]
        weight: u16,
    },
}

impl What {
    fn setting(&self, backend: &str) -> BackendSetting {
        let (mode, weight) = match self {
            What::Ready => (BackendMode::Ready, None),
            What::Drain => (BackendMode::Drain, None),
            What::Maintenance => (BackendMode::Maintenance, None),
            What::Weight { weight } => (BackendMode::Ready, Some(*weight)),
        };
        BackendSetting { backend: backend.to_owned(), mode, weight }
    }
}

impl Backend {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.action {
            Action::Set { backend, what, agent } => set(&what.setting(&backend), &agent),
            Action::List { agent, json } => super::status::show_part(super::status::Part::Balancer, &agent, json),
        }
    }
}

fn set(setting: &BackendSetting, agent: &AgentSocket) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answers = runtime.block_on(triad_api::set_backend(&agent.path()?, setting))?;
    if answers.is_empty() {
        bail!("the design has no balancer");
    }
    for SettingAnswer { server, error } in &answers {
        match error {
            None => print::out(&format!("{server}: {} is {}\n", setting.backend, describe(setting))),
            Some(error) => eprintln!("{server}: {error}"),
        }
    }
    let everywhere = answers.iter().all(|answer| answer.error.is_none());
    Ok(ExitCode::from(if everywhere { print::DONE } else { print::FAILED }))
}

fn describe(setting: &BackendSetting) -> String {
    match setting.weight {
        Some(weight) => format!("{}, weight {weight}", setting.mode),
        None => setting.mode.to_string(),
    }
}
