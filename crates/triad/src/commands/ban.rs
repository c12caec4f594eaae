use std::process::ExitCode;

use clap::Args;
use triad_model::{BAN_S, BanRequest, IpNet};

use super::{AgentSocket, clients};
use crate::print;

/// Let clients in no more, on every front server at once
///
/// New connections of theirs are closed, open ones at their next request, which is answered 403. The ban ends by itself,
/// and holds through restarts; a front server that is down hears of it when it is back. Networks of limits.exempt and
/// the design's own servers cannot be banned. Exit code 0 when it holds everywhere, 1 when not.
#[derive(Args)]
pub struct Ban {
    /// An address, or a network: 192.0.2.7, 198.51.100.0/24, 2001:db8::1 (which bans its 64 bits of network)
    #[arg(value_name = "ADDRESS|NETWORK", value_parser = clients)]
    clients: IpNet,
    /// For how long: 90s, 15m, 1h, 7d; up to 365d
    #[arg(long = "for", value_name = "TIME", value_parser = seconds, default_value_t = Seconds(BAN_S))]
    time: Seconds,
    /// Why, for whoever reads `triad bans`: text on one line
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    agent: AgentSocket,
}

impl Ban {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let request = BanRequest { network: self.clients, for_s: self.time.0, reason: self.reason };
        request.check()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let answers = runtime.block_on(triad_api::ban(&self.agent.path()?, &request))?;
        Ok(print::answers(&answers, &format!("{} is banned for {}", request.network, self.time)))
    }
}

/// A time as it is written: a number and its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seconds(pub u64);

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (unit, seconds) =
            UNITS.into_iter().find(|(_, seconds)| self.0.is_multiple_of(*seconds)).unwrap_or(('s', 1));
        write!(f, "{}{unit}", self.0 / seconds)
    }
}

fn seconds(text: &str) -> Result<Seconds, String> {
    let wrong = || format!("{text:?} is no time: write a number and s, m, h or d: 90s, 15m, 1h, 7d");
    let split = UNITS.into_iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)));
    let (number, seconds) = split.ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(seconds).map(Seconds).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::{Seconds, seconds};

    #[test]
    fn times_are_read_and_written() {
        for (text, read) in [("90s", 90), ("15m", 900), ("1h", 3600), ("7d", 604_800)] {
            assert_eq!(seconds(text), Ok(Seconds(read)), "{text}");
            assert_eq!(Seconds(read).to_string(), text);
        }
        for text in ["", "h", "1", "-1h", "1.5h", "1w", "1hh", "1 h", "99999999999999999999d", "9999999999999999d"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
