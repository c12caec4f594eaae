use std::process::ExitCode;

use clap::Args;
use triad_model::IpNet;

use super::{AgentSocket, clients};
use crate::print;

/// End a ban, on every front server at once
///
/// Exit code 0 when it has ended everywhere, 1 when not.
#[derive(Args)]
pub struct Unban {
    /// As `triad bans` shows it
    #[arg(value_name = "ADDRESS|NETWORK", value_parser = clients)]
    clients: IpNet,
    #[command(flatten)]
    agent: AgentSocket,
}

impl Unban {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let answers = runtime.block_on(triad_api::unban(&self.agent.path()?, self.clients))?;
        Ok(print::answers(&answers, &format!("{} is not banned any more", self.clients)))
    }
}
