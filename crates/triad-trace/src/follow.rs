//! Sends the request in the client's namespace, then looks for it in the edges' logs.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::{Instant, sleep};
use triad_lab::{Lab, client};
use triad_model::{Certificate, Design, ServerName};

use crate::TRACE_COMMAND;
use crate::client::Plan;
use crate::seen::{EdgeLine, Exchange, Followed, Trace};

/// Where an edge's access log is, in its server's state folder, and where the one before is put.
const LOGS: [&str; 2] = ["log/edge/access.jsonl", "log/edge/access.jsonl.1"];
/// An edge gathers lines for some milliseconds before it writes; a line that is not there by now does not come.
const LOG_LIMIT: Duration = Duration::from_secs(2);
/// Pause between two looks into a log.
const LOG_POLL: Duration = Duration::from_millis(20);
/// Authorities that this host trusts, where a certificate is somebody else's.
const HOST_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
/// More edges than any way has.
const EDGES_MAX: usize = 8;

/// Where the site runs.
#[derive(Clone, Copy, Debug)]
pub enum Site<'a> {
    /// In a lab: its client sends the request.
    Lab(&'a Lab),
    /// On servers, of which this host is one: it sends the request itself, and its agent, behind this socket, asks
    /// the others.
    Servers(&'a Path),
}

/// Sends a request for `url` to `site`, with `executable` as its client, and reads what the edges that had it wrote of
/// it. A request that fails is followed as far as it came.
///
/// # Errors
/// If the lab or the agent does not run, or the client or a log cannot be run or read.
pub async fn follow(site: Site<'_>, design: &Design, url: &str, executable: &Path) -> anyhow::Result<Followed> {
    let trace = send(site, design, url, executable).await?;
    let mut edges = Vec::new();
    // Where logs hide requests, there is nothing to wait for.
    for exchange in trace.exchanges.iter().filter(|_| design.log.hides_requests().is_none()) {
        edges.extend(lines(site, design, exchange).await?);
    }
    Ok(Followed { trace, edges })
}

async fn send(site: Site<'_>, design: &Design, url: &str, executable: &Path) -> anyhow::Result<Trace> {
    let authority = match (&design.tls, site) {
        (None, _) => None,
        (Some(_), Site::Lab(lab)) => {
            let path = lab.path().join("authority.pem");
            Some(std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?)
        }
        (Some(tls), Site::Servers(socket)) => Some(match &tls.certificate {
            Certificate::Internal => triad_api::authority(socket).await?,
            Certificate::Files { .. } => {
                std::fs::read_to_string(HOST_BUNDLE).with_context(|| format!("cannot read {HOST_BUNDLE}"))?
            }
        }),
    };
    let plan = serde_json::to_string(&Plan { url: url.to_owned(), authority })?;
    let argv: [OsString; 4] = [executable.into(), TRACE_COMMAND.into(), "--plan".into(), plan.into()];
    let mut command = match site {
        Site::Lab(lab) => tokio::process::Command::from(lab.command(&client(), &argv).await?),
        Site::Servers(_) => {
            let mut command = tokio::process::Command::new(&argv[0]);
            command.args(&argv[1..]);
            command
        }
    };
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
async fn lines(site: Site<'_>, design: &Design, exchange: &Exchange) -> anyhow::Result<Vec<EdgeLine>> {
    let id = exchange.answer.as_ref().and_then(|answer| answer.request_id.as_deref());
    let (Some(id), Some(address)) = (id, exchange.address) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    let mut next = front(design, address).cloned();
    while let Some(server) = next.take().filter(|_| found.len() < EDGES_MAX) {
        let Some(line) = line(site, &server, id).await? else { break };
        let backend = line.backend.as_deref();
        next = design.servers.iter().map(|it| &it.name).find(|name| backend == Some(name.as_str())).cloned();
        // A server that is its own backend passes the request to nobody.
        next = next.filter(|next| *next != server);
        found.push(EdgeLine { server: Some(server), ..line });
    }
    Ok(found)
}

/// The line of request `id` in the log of `server`'s edge.
async fn line(site: Site<'_>, server: &ServerName, id: &str) -> anyhow::Result<Option<EdgeLine>> {
    let limit = Instant::now() + LOG_LIMIT;
    loop {
        let text = match site {
            Site::Lab(lab) => in_lab(lab, server, id).await?,
            Site::Servers(socket) => triad_api::access_lines(socket, server, id).await?,
        };
        let mut lines = text.iter().filter_map(|line| serde_json::from_str::<EdgeLine>(line).ok());
        if let Some(line) = lines.rfind(|line| line.request_id == id) {
            return Ok(Some(line));
        }
        if Instant::now() > limit {
            return Ok(None);
        }
        sleep(LOG_POLL).await;
    }
}

/// As that server's root: an ordinary user's lab has files of accounts that the user cannot read for.
async fn in_lab(lab: &Lab, server: &ServerName, id: &str) -> anyhow::Result<Vec<String>> {
    let state = lab.state(server);
    let paths: Vec<String> = LOGS.iter().map(|log| state.join(log).display().to_string()).collect();
    let mut argv = vec!["grep", "--no-messages", "--no-filename", "--fixed-strings", "--", id];
    argv.extend(paths.iter().map(String::as_str));
    let output = lab.exec_output(server, &argv).await?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}
