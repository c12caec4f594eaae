//! Sends the request in the client's namespace, then looks for it in the edges' logs.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::{Instant, sleep};
use triad_lab::{Lab, client};
use triad_model::{Design, ServerName};

use crate::TRACE_COMMAND;
use crate::client::Plan;
use crate::seen::{EdgeLine, Exchange, Followed, Trace};

/// Where an edge's access log is, in its server's state folder, and where the one before is put.
const LOGS: [&str; 2] = ["log/edge/access.jsonl", "log/edge/access.jsonl.1"];
/// An edge gathers lines for some milliseconds before it writes; a line that is not there by now does not come.
const LOG_LIMIT: Duration = Duration::from_secs(2);
/// Pause between two looks into a log.
const LOG_POLL: Duration = Duration::from_millis(20);
/// More edges than any way has.
const EDGES_MAX: usize = 8;

/// Sends a request for `url` to the site that `lab` runs, with `executable` as its client, and reads what the edges
/// that had it wrote of it. A request that fails is followed as far as it came.
///
/// # Errors
/// If the lab does not run, or the client or a log cannot be run or read.
pub async fn follow(lab: &Lab, design: &Design, url: &str, executable: &Path) -> anyhow::Result<Followed> {
    let trace = send(lab, design, url, executable).await?;
    let mut edges = Vec::new();
    for exchange in &trace.exchanges {
        edges.extend(lines(lab, design, exchange).await?);
    }
    Ok(Followed { trace, edges })
}

async fn send(lab: &Lab, design: &Design, url: &str, executable: &Path) -> anyhow::Result<Trace> {
    let authority = design.tls.is_some().then(|| lab.path().join("authority.pem"));
    let plan = serde_json::to_string(&Plan { url: url.to_owned(), authority })?;
    let argv: [OsString; 4] = [executable.into(), TRACE_COMMAND.into(), "--plan".into(), plan.into()];
    let mut command = tokio::process::Command::from(lab.command(&client(), &argv).await?);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.context("cannot start the client")?;
    if !output.status.success() {
        bail!("the client failed, {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("the client's trace cannot be read")
}

/// The front server that `address` belongs to.
pub(crate) fn front(design: &Design, address: IpAddr) -> Option<&ServerName> {
    design.servers.iter().find(|server| server.public.contains(&address)).map(|server| &server.name)
}

/// What each edge wrote of `exchange`, from the front server on; ends where an edge wrote nothing.
async fn lines(lab: &Lab, design: &Design, exchange: &Exchange) -> anyhow::Result<Vec<EdgeLine>> {
    let id = exchange.answer.as_ref().and_then(|answer| answer.request_id.as_deref());
    let (Some(id), Some(address)) = (id, exchange.address) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    let mut next = front(design, address).cloned();
    while let Some(server) = next.take().filter(|_| found.len() < EDGES_MAX) {
        let Some(line) = line(lab, &server, id).await? else { break };
        let backend = line.backend.as_deref();
        next = design.servers.iter().map(|it| &it.name).find(|name| backend == Some(name.as_str())).cloned();
        // A server that is its own backend passes the request to nobody.
        next = next.filter(|next| *next != server);
        found.push(EdgeLine { server: Some(server), ..line });
    }
    Ok(found)
}

/// The line of request `id` in the log of `server`'s edge.
async fn line(lab: &Lab, server: &ServerName, id: &str) -> anyhow::Result<Option<EdgeLine>> {
    let state = lab.state(server);
    let paths: Vec<String> = LOGS.iter().map(|log| state.join(log).display().to_string()).collect();
    let mut argv = vec!["grep", "--no-messages", "--no-filename", "--fixed-strings", "--", id];
    argv.extend(paths.iter().map(String::as_str));
    let limit = Instant::now() + LOG_LIMIT;
    loop {
        // As that server's root: an ordinary user's lab has files of accounts that the user cannot read for.
        let output = lab.exec_output(server, &argv).await?;
        let text = String::from_utf8_lossy(&output.stdout);
        let mut lines = text.lines().filter_map(|line| serde_json::from_str::<EdgeLine>(line).ok());
        if let Some(line) = lines.rfind(|line| line.request_id == id) {
            return Ok(Some(line));
        }
        if Instant::now() > limit {
            return Ok(None);
        }
        sleep(LOG_POLL).await;
    }
}
