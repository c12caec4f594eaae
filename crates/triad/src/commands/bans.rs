use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use triad_api::SettingAnswer;
use triad_model::Ban;

use super::AgentSocket;
use super::ban::Seconds;
use crate::print;

/// Show who is banned, and until when
///
/// Exit code 0 when every front server answered, 1 when not.
#[derive(Args)]
pub struct Bans {
    #[command(flatten)]
    agent: AgentSocket,
    /// Print them as JSON
    #[arg(long)]
    json: bool,
}

impl Bans {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let report = runtime.block_on(triad_api::bans(&self.agent.path()?))?;
        if self.json {
            print::json(&report)?;
        } else {
            let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
            print::out(&table(&report.bans, now_ms));
        }
        for SettingAnswer { server, error } in &report.silent {
            eprintln!("{server}: {}", error.as_deref().unwrap_or_default());
        }
        Ok(ExitCode::from(if report.silent.is_empty() { print::DONE } else { print::FAILED }))
    }
}

fn table(bans: &[Ban], now_ms: u64) -> String {
    if bans.is_empty() {
        return "nobody is banned\n".to_owned();
    }
    let mut rows = vec![["CLIENTS", "ENDS IN", "SAID TO", "REASON"].map(str::to_owned).to_vec()];
    rows.extend(bans.iter().map(|ban| {
        let ends_in = rounded(ban.until_ms.saturating_sub(now_ms).div_ceil(1000)).to_string();
        let reason = match (&ban.reason, ban.automatic) {
            (Some(reason), _) => reason.clone(),
            (None, true) => "by itself (limits.ban_after)".to_owned(),
            (None, false) => "-".to_owned(),
        };
        vec![ban.network.to_string(), ends_in, ban.by.to_string(), reason]
    }));
    print::table(&rows)
}

/// To the next whole minute, hour or day of what is long.
fn rounded(seconds: u64) -> Seconds {
    let step = match seconds {
        0..=120 => 1,
        121..=7200 => 60,
        7201..=172_800 => 3600,
        _ => 86_400,
    };
    Seconds(seconds.div_ceil(step) * step)
}

#[cfg(test)]
mod tests {
    use triad_model::{Ban, ServerName};

    use super::table;

    #[test]
    fn it_says_who_until_when_and_why() {
        let ban = |network: &str, until_ms, reason: Option<&str>, automatic| Ban {
            network: network.parse().expect("a network"),
            until_ms,
            since_ms: 0,
            by: ServerName::new("lb1").expect("a name"),
            reason: reason.map(str::to_owned),
            automatic,
        };
        let bans = [
            ban("192.0.2.7/32", 90_000, None, false),
            ban("198.51.100.0/24", 3_599_001, Some("scrapes /search"), false),
            ban("2001:db8::/64", 172_801_000, None, true),
        ];
        let text = "CLIENTS          ENDS IN  SAID TO  REASON\n\
                    192.0.2.7/32     90s      lb1      -\n\
                    198.51.100.0/24  1h       lb1      scrapes /search\n\
                    2001:db8::/64    3d       lb1      by itself (limits.ban_after)\n";
        assert_eq!(table(&bans, 0), text);
        assert_eq!(table(&[], 0), "nobody is banned\n");
    }
}
