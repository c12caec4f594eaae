//! The leader of the voters' etcd, which is asked and told by etcd's own client.

use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;
use tokio::time::{Instant, sleep, timeout};
use triad_lab::Lab;
use triad_model::{Design, ETCD, ServerName};

use super::{SCRIPT_LIMIT, state_directory};

/// By when the voters agree on the leader they were told.
const LIMIT: Duration = Duration::from_secs(5);
/// Pause between two looks.
const POLL: Duration = Duration::from_millis(50);

/// How one etcd is, as `etcdctl endpoint status --write-out=json` says.
#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Endpoint")]
    endpoint: String,
    #[serde(rename = "Status")]
    status: Status,
}

#[derive(Deserialize)]
struct Status {
    header: Header,
    leader: u64,
}

#[derive(Deserialize)]
struct Header {
    member_id: u64,
}

/// Has the etcd of `server` lead.
pub(super) async fn lead(lab: &Lab, design: &Design, server: &ServerName) -> anyhow::Result<()> {
    let deadline = Instant::now() + LIMIT;
    let wanted = endpoint(design, server)?;
    loop {
        let answers = status(lab, design, server).await?;
        let own = answers.iter().find(|answer| answer.endpoint == wanted).map(|answer| answer.status.header.member_id);
        let own = own.with_context(|| format!("the etcd of {server} does not answer"))?;
        let leader = answers.iter().find(|answer| answer.status.leader == answer.status.header.member_id);
        if leader.is_some_and(|leader| leader.status.header.member_id == own) {
            return Ok(());
        }
        if let Some(leader) = leader {
            // Refused while another change is under way; then the next look shows it.
            let _ = etcdctl(lab, server, &leader.endpoint, &["move-leader", &format!("{own:x}")]).await?;
        }
        if Instant::now() >= deadline {
            bail!("the etcd of {server} does not lead after {} s", LIMIT.as_secs());
        }
        sleep(POLL).await;
    }
}

fn endpoint(design: &Design, server: &ServerName) -> anyhow::Result<String> {
    let private = design.server(server).and_then(|server| server.private);
    Ok(format!("https://{}", std::net::SocketAddr::new(private.context("no voter")?, ETCD)))
}

/// Of those voters that answer.
async fn status(lab: &Lab, design: &Design, server: &ServerName) -> anyhow::Result<Vec<Answer>> {
    let all: Vec<String> =
        design.voters().into_iter().map(|voter| endpoint(design, voter)).collect::<anyhow::Result<_>>()?;
    let text = etcdctl(lab, server, &all.join(","), &["endpoint", "status", "--write-out=json"]).await?;
    serde_json::from_str(text.trim()).with_context(|| format!("no answer of etcdctl: {text}"))
}

/// What etcd's client says on `server`, with that server's identity.
async fn etcdctl(lab: &Lab, server: &ServerName, endpoints: &str, words: &[&str]) -> anyhow::Result<String> {
    let folder = state_directory(lab, server).join("etcd");
    let file = |option: &str, name: &str| format!("{option}={}", folder.join(name).display());
    let options = [
        format!("--endpoints={endpoints}"),
        file("--cacert", "authority.pem"),
        file("--cert", "server.pem"),
        file("--key", "server.key"),
        "--command-timeout=1s".to_owned(),
    ];
    // Its version 3.4 speaks the third interface only if it is told.
    let mut argv = vec!["env", "ETCDCTL_API=3", "etcdctl"];
    argv.extend(options.iter().map(String::as_str));
    argv.extend(words);
    let output = timeout(SCRIPT_LIMIT, lab.exec_output(server, &argv)).await.context("etcdctl does not end")??;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
