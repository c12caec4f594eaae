use std::process::ExitCode;

use clap::Args;
use triad_model::{ServerName, SwitchoverRequest};

use super::AgentSocket;
use crate::print;

/// Make another server the database's primary, without losing a write
///
/// Statements that begin wait, those under way have 0.3 s to finish, the other server applies what it lacks, and takes over;
/// the old primary becomes its replica. Open connections are carried over with their settings and prepared statements. Cut
/// are those in a transaction that takes longer, and those that hold what no other server can have: user variables, temporary
/// tables, locks by name. Refused when the other server is not in sync, or behind. Exit code 0 when it is the primary, 1
/// when the old one goes on.
#[derive(Args)]
pub struct Switchover {
    /// The server that is to be the primary; left out: one that has everything
    #[arg(value_name = "SERVER", value_parser = |text: &str| ServerName::new(text))]
    to: Option<ServerName>,
    /// Only say which it would be, or what keeps it from it
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    agent: AgentSocket,
}

impl Switchover {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let request = SwitchoverRequest { to: self.to, dry_run: self.dry_run };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let done = runtime.block_on(triad_api::switchover(&self.agent.path()?, &request))?;
        let triad_model::Switchover { from, to, held_ms } = done;
        print::out(&match held_ms {
            Some(held_ms) => format!("{to} is the primary, {from} its replica; writes were held for {held_ms} ms\n"),
            None => format!("{to} would take over from {from}; nothing is changed\n"),
        });
        Ok(ExitCode::from(print::DONE))
    }
}
