use std::process::ExitCode;

use clap::{Args, Subcommand};
use triad_model::Maintenance as Order;

use super::AgentSocket;
use crate::print;

/// Turn users away for a while, or let them in again
///
/// Every server that users' requests arrive at answers them with 503, Retry-After and a page: site.maintenance_page, or
/// one of ours. Networks of site.maintenance_allow reach the site all the same; requests under way are finished. It
/// holds through restarts and reboots, until `triad maintenance off`; a server that is down hears of it from the others
/// when it is back. Exit code 0 when it is so everywhere, 1 when not.
#[derive(Args)]
pub struct Maintenance {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Turn users away
    On {
        /// What users are told: text on one line
        #[arg(long, value_name = "TEXT", value_parser = message)]
        message: Option<String>,
        #[command(flatten)]
        agent: AgentSocket,
    },
    /// Let users in again
    Off {
        #[command(flatten)]
        agent: AgentSocket,
    },
}

fn message(text: &str) -> Result<String, String> {
    Order::new(Some(text.to_owned())).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

impl Maintenance {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.action {
            Action::On { message, agent } => set(Some(&Order { message }), &agent),
            Action::Off { agent } => set(None, &agent),
        }
    }
}

fn set(order: Option<&Order>, agent: &AgentSocket) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answers = runtime.block_on(triad_api::set_maintenance(&agent.path()?, order))?;
    let now = if order.is_some() { "maintenance is on: users get 503" } else { "maintenance is off" };
    Ok(print::answers(&answers, now))
}
