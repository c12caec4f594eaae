//! What commands say to the holder, and the holder to the inits: one JSON line each way, then the connection ends.
//! Sizes and times are bounded on both sides.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;
use triad_model::ServerName;

/// Longest request or reply.
const LINE_BYTES_MAX: u64 = 256 * 1024;
/// Whoever connects says what it wants within this.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);
/// Every request is answered within this; starting a member takes longest.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// What the holder can be asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum HolderRequest {
    /// Who runs.
    Status,
    /// Kill a member's init.
    Kill { member: ServerName },
    /// Start a member that was killed.
    Start { member: ServerName },
    /// Pull or plug a member's cables.
    Link { member: ServerName, state: LinkState },
    /// Drain all members and end.
    Down,
}

/// The holder's answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum HolderReply {
    /// It is so now (`Down`: it has begun).
    Done,
    /// It is not, and this is why.
    Refused { why: String },
    /// The answer to [`HolderRequest::Status`].
    Status(HolderStatus),
}

/// What an init can be asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum InitRequest {
    /// The interfaces are there: configure them and start the service.
    Start,
    /// How the service is.
    Status,
}

/// An init's answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum InitReply {
    /// The service was started.
    Done,
    /// It was not, and this is why.
    Refused { why: String },
    /// The answer to [`InitRequest::Status`].
    Status(ServiceStatus),
}

/// What the holder knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderStatus {
    /// Whether the `up` that started it has succeeded; until then it ends with it.
    pub kept: bool,
    /// The design's servers in order, then the client.
    pub members: Vec<MemberStatus>,
}

/// A server's or the client's namespaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// Who.
    pub name: ServerName,
    /// Whether its init runs.
    pub running: bool,
    /// Whether its cables are plugged.
    pub link: LinkState,
}

/// Both network cables of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkState {
    /// Pulled.
    Down,
    /// Plugged.
    Up,
}

impl LinkState {
    /// As `ip` and people write it.
    pub fn as_str(self) -> &'static str {
        match self {
            LinkState::Down => "down",
            LinkState::Up => "up",
        }
    }
}

/// What an init knows of its agent (the client's: of the entrance).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Its process id inside the member while it runs.
    pub pid: Option<i32>,
    /// Times it was started again.
    pub restarts: u64,
    /// How it ended last.
    pub last_exit: Option<String>,
}

/// Asks who listens on `socket`.
pub(crate) async fn ask<Q: Serialize, A: DeserializeOwned>(socket: &Path, request: &Q) -> anyhow::Result<A> {
    let exchange = async {
        let mut stream = UnixStream::connect(socket).await?;
        write_line(&mut stream, request).await?;
        read_line(&mut stream).await
    };
    timeout(REPLY_TIMEOUT, exchange)
        .await
        .with_context(|| format!("no answer within {} s", REPLY_TIMEOUT.as_secs()))
        .flatten()
        .with_context(|| format!("asking {}", socket.display()))
}

/// Reads the request of whoever has connected.
pub(crate) async fn receive<Q: DeserializeOwned>(stream: &mut UnixStream) -> anyhow::Result<Q> {
    timeout(REQUEST_TIMEOUT, read_line(stream)).await.context("a connection without a request")?
}

/// Answers it. Whether the asker still listens is its own matter.
pub(crate) async fn reply<A: Serialize>(stream: &mut UnixStream, answer: &A) {
    if let Err(error) = timeout(REQUEST_TIMEOUT, write_line(stream, answer)).await.context("time is up").flatten() {
        tracing::debug!(%error, "nobody waited for the answer");
    }
}

async fn write_line<T: Serialize>(stream: &mut UnixStream, value: &T) -> anyhow::Result<()> {
    let mut line = serde_json::to_string(value).context("a message that is no JSON")?;
    line.push('\n');
    Ok(stream.write_all(line.as_bytes()).await?)
}

async fn read_line<T: DeserializeOwned>(stream: &mut UnixStream) -> anyhow::Result<T> {
    let mut line = String::new();
    BufReader::new(stream.take(LINE_BYTES_MAX)).read_line(&mut line).await?;
    if !line.ends_with('\n') {
        bail!("the connection ended in the middle of a message");
    }
    serde_json::from_str(&line).with_context(|| format!("not a message: {}", line.trim_end()))
}
