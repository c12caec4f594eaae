use std::process::ExitCode;

use clap::Args;
use triad_api::Upgraded;

use super::OwnAgent;
use crate::print;

/// Replace this server's edge by the binary that is installed now, without touching a connection
///
/// The agent starts a second edge from the file it was itself started from, on the same sockets. Once that serves, the
/// old one takes nothing new and finishes what it has: a kept connection gets 10 s for another request, downloads,
/// WebSockets and connections to the database 10 min. Exit code 0 when it is replaced; 1 when the new one did not serve,
/// and the old one goes on as if nothing had been. Only this server's edge is replaced; the agent itself, the name server
/// and the application stay as they are until the agent is restarted.
#[derive(Args)]
pub struct Upgrade {
    #[command(flatten)]
    agent: OwnAgent,
}

impl Upgrade {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let Upgraded { server, old_pid, new_pid } = runtime.block_on(triad_api::upgrade(&self.agent.door()))?;
        let pid = |pid: Option<u32>| pid.map_or("none".to_owned(), |pid| pid.to_string());
        print::out(&format!(
            "{server}: the edge is replaced, pid {} by {}; `triad status` shows while the old one drains\n",
            pid(old_pid),
            pid(new_pid)
        ));
        Ok(ExitCode::from(print::DONE))
    }
}
