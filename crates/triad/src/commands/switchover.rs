use std::process::ExitCode;

use clap::Args;
use triad_model::{ServerName, SwitchoverRequest};

use super::AgentSocket;
use crate::print;

/// Make another server the database's primary, without losing a write
///
/// New connections wait, writes are refused once those under way are committed, the other server applies what it lacks,
/// and takes over; the old primary becomes its replica. Statements on connections that are open meanwhile are refused with
/// MariaDB's error 1290, or their connection is cut; on a new connection they wait and then succeed. Refused when the other
/// server is not in sync, or behind. Exit code 0 when it is the primary, 1 when the old one goes on.
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
