//! Clients of ill will, in the client's namespace: what they are started as, and what is known of what they did.
//!
//! They come from the client's first address; the load has another one then, so that limits tell them apart.

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use triad_lab::{Lab, client};
use triad_model::{Design, HTTP, HTTPS};

use crate::fault::run_script;
use crate::flood::{FloodPlan, Flooded};
use crate::scenario::{Fault, SlowPart};

/// The load's address beside an attack: TEST-NET-1 (RFC 5737), as the client's own.
pub(crate) const LOAD_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 11);
/// An attack that nobody stops ends after this, in seconds: no scenario is longer.
const ATTACK_S_MAX: u64 = 600;
/// Slow clients are started so many a second: it is their slowness that is drilled, not their handshakes.
const SLOW_STARTS_PER_S: u32 = 25;
/// Starting and stopping take no longer.
const LIMIT: Duration = Duration::from_secs(10);
/// What is kept of an attack's own words, at most.
const WORDS_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// One that is under way.
pub(crate) struct Attack {
    child: Child,
    /// Reads all the time, so that it never waits for a reader.
    words: JoinHandle<std::io::Result<Vec<u8>>>,
    /// In the client's namespace.
    pid: u32,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Slow,
    Flood,
}

/// Gives the client the load's address, for as long as the lab lasts.
pub(crate) async fn add_load_address(lab: &Lab) -> anyhow::Result<()> {
    run_script(lab, &client(), &format!("ip address replace {LOAD_ADDRESS}/32 dev public")).await
}

impl Attack {
    pub async fn start(fault: &Fault, lab: &Lab, design: &Design, executable: &Path) -> anyhow::Result<Self> {
        let (scheme, port) = if design.tls.is_some() { ("https", HTTPS) } else { ("http", HTTP) };
        let host = &design.site.hosts[0];
        let (kind, script, arguments): (_, String, Vec<OsString>) = match fault {
            Fault::SlowClients { count, part } => {
                (Kind::Slow, slow_script(&format!("{scheme}://{host}"), *count, *part), Vec::new())
            }
            Fault::Flood(flood) => {
                let plan = FloodPlan { host: host.clone(), port, flood: *flood, duration_ms: ATTACK_S_MAX * 1_000 };
                let plan = serde_json::to_string(&plan).context("a plan that is no JSON")?;
                let arguments = [executable.into(), crate::FLOOD_COMMAND.into(), "--plan".into(), plan.into()];
                (Kind::Flood, "exec \"$@\"".to_owned(), arguments.to_vec())
            }
            other => unreachable!("{other:?} is no attack"),
        };
        let script = format!("ulimit -n $(ulimit -Hn); echo $$; {script}");
        let mut argv: Vec<OsString> = ["sh", "-c", &script, "sh"].map(Into::into).to_vec();
        argv.extend(arguments);
        let mut command = tokio::process::Command::from(lab.command(&client(), &argv).await?);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).process_group(0);
        let mut child = command.kill_on_drop(true).spawn().context("cannot start the attack")?;
        let mut words = BufReader::new(child.stdout.take().context("a child without its standard output")?);
        let mut line = String::new();
        timeout(LIMIT, words.read_line(&mut line)).await.context("the attack does not begin")??;
        let pid = line.trim().parse().with_context(|| format!("the attack ended at once: {line}"))?;
        Ok(Self { child, words: tokio::spawn(read_words(words)), pid, kind })
    }

    /// Ends it: what it did, as a clause.
    pub async fn stop(mut self, lab: &Lab) -> anyhow::Result<String> {
        run_script(lab, &client(), &format!("kill -TERM {}", self.pid)).await?;
        let said = timeout(LIMIT, self.words).await.context("the attack does not end")???;
        timeout(LIMIT, self.child.wait()).await.context("the attack does not end")??;
        let said = String::from_utf8_lossy(&said);
        match self.kind {
            Kind::Slow => slow_words(&said),
            Kind::Flood => flood_words(&said),
        }
    }
}

/// All that is said, of which the first part is kept.
async fn read_words(mut words: BufReader<ChildStdout>) -> std::io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    (&mut words).take(WORDS_BYTES_MAX).read_to_end(&mut kept).await?;
    tokio::io::copy(&mut words, &mut tokio::io::sink()).await?;
    Ok(kept)
}

/// Runs slowhttptest again when it ends, which it does when all of its connections have been closed.
fn slow_script(site: &str, count: u32, part: SlowPart) -> String {
    let how = match part {
        SlowPart::Headers => format!("-H -i 2 -x 24 -u {site}/"),
        SlowPart::Body => format!("-B -i 2 -x 10 -s 8192 -u {site}/entries"),
        SlowPart::Read => format!("-X -w 10 -y 20 -n 2 -z 5 -k 3 -u {site}/style.css"),
    };
    format!(
        "trap 'kill $slow; exit' TERM
         end=$(($(date +%s) + {ATTACK_S_MAX}))
         while [ $(date +%s) -lt $end ]; do
             stdbuf -oL slowhttptest {how} -c {count} -r {SLOW_STARTS_PER_S} -l {ATTACK_S_MAX} &
             slow=$!; wait $slow; sleep 0.2
         done"
    )
}

/// What slowhttptest said now and then, every 5 s, of its connections.
fn slow_words(said: &str) -> anyhow::Result<String> {
    let most = |word: &str| said.lines().filter_map(|line| number_after(line, word)).max().unwrap_or(0);
    let (connected, closed) = (most("connected:"), most("closed:"));
    if connected == 0 && closed == 0 {
        bail!("the slow clients were never connected: {}", said.trim());
    }
    Ok(format!("at most {connected} connected and {closed} closed when looked at"))
}

/// The number in `line` after `word`, both coloured for a terminal.
fn number_after(line: &str, word: &str) -> Option<u64> {
    let (_, rest) = line.split_once(word)?;
    let number = rest.rsplit(['m', ' ']).find(|part| part.starts_with(|c: char| c.is_ascii_digit()))?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn flood_words(said: &str) -> anyhow::Result<String> {
    let flooded: Flooded = serde_json::from_str(said.trim()).with_context(|| format!("no word of a flood: {said}"))?;
    if flooded.opened == 0 {
        bail!("the flood opened no connection");
    }
    let Flooded { opened, failed, closed, open_max } = flooded;
    Ok(format!("{opened} opened, {failed} failed, {closed} closed by the site, at most {open_max} open"))
}

#[cfg(test)]
mod tests {
    use super::{flood_words, slow_words};

    #[test]
    fn what_slow_clients_say_is_understood() {
        let said = "\u{1b}[1;32mconnected:   \u{1b}[1;32m        0\n\u{1b}[1;32mclosed:      \u{1b}[1;32m  0\n\
                    \u{1b}[1;32mconnected:   \u{1b}[1;32m        197\n\u{1b}[1;32mclosed:      \u{1b}[1;32m  3\u{1b}[0m\n";
        assert_eq!(slow_words(said).expect("words"), "at most 197 connected and 3 closed when looked at");
        assert!(slow_words("connected: 0\nclosed: 0\n").is_err(), "an attack that nobody felt proves nothing");
    }

    #[test]
    fn a_flood_that_opened_nothing_is_none() {
        let said = |opened| format!("{{\"opened\": {opened}, \"failed\": 2, \"closed\": 3, \"open_max\": 4}}\n");
        assert_eq!(flood_words(&said(9)).expect("words"), "9 opened, 2 failed, 3 closed by the site, at most 4 open");
        assert!(flood_words(&said(0)).is_err());
    }
}
