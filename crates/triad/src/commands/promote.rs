use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Args;
use triad_model::{DatabaseRole, Promotion, State};

use super::OwnAgent;
use crate::print;

/// A replica applies what it has within this, or it is said how far it is.
const LIMIT: Duration = Duration::from_secs(60);
/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Make this server's database the primary by hand, where two servers cannot decide
///
/// With two servers nobody can tell a dead primary from one that is out of reach, so you do. Be sure that the old primary is
/// off, or end its agent; while that answers here, nothing is done. This server's database applies what it has received and
/// takes writes; what the old one acknowledged while no replica listened is not in it. When the old server is back it asks
/// this one, and follows it as a replica; if it has what this one lacks, it does not, and says so in `triad status`: look at
/// its data, move them away, and it is seeded again. Then write the new primary into triad.toml on both servers, and restart
/// the agents when it suits. Exit code 0 when it takes writes.
#[derive(Args)]
pub struct Promote {
    #[command(flatten)]
    agent: OwnAgent,
}

impl Promote {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let door = self.agent.door();
        let Promotion { primary, instead_of, .. } = runtime.block_on(triad_api::promote(&door))?;
        let began = Instant::now();
        loop {
            let report = runtime.block_on(triad_api::local_report(&door))?.database;
            let report = report.filter(|report| report.role == DatabaseRole::Primary);
            match report {
                Some(report) if matches!(report.state, State::Healthy | State::Degraded) => break,
                report if began.elapsed() > LIMIT => {
                    let detail =
                        report.map_or_else(|| "it does not say how far it is".to_owned(), |report| report.detail);
                    bail!("{primary} is to be the primary, and takes no writes yet: {detail}");
                }
                _ => std::thread::sleep(LOOK_EVERY),
            }
        }
        print::out(&format!(
            "{primary} is the primary, and takes writes; write primary = \"{primary}\" into triad.toml in place of \
             {instead_of}, on both servers\n"
        ));
        Ok(ExitCode::from(print::DONE))
    }
}
