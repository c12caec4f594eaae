use std::process::ExitCode;

use clap::Args;
use triad_api::TakenUp;

use super::OwnAgent;
use crate::print;

/// Take this server's triad.toml into use, and have it count as the newest
///
/// The agent reads the file and the certificates again, as after SIGHUP, and what came of it is printed. What can change
/// without a restart does; a file that is wrong, or asks for more, changes nothing. Where servers can agree (a database with
/// a replica, three servers), each file that is taken into use is a generation of the design, and SIGHUP refuses one that
/// another has replaced, so that a server that missed a change does not undo it. To go back to an older file on purpose, put
/// it in place on every server and say this on each. Exit code 0 when it is in use, 1 when everything is as it was.
#[derive(Args)]
pub struct Apply {
    #[command(flatten)]
    agent: OwnAgent,
}

impl Apply {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let TakenUp { server, generation } = runtime.block_on(triad_api::apply(&self.agent.door()))?;
        print::out(&match generation {
            Some(generation) => format!("{server}: the file is in use; it is generation {generation} of the design\n"),
            None => format!("{server}: the file is in use\n"),
        });
        Ok(ExitCode::from(print::DONE))
    }
}
