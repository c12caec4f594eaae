//! What an agent and a child of ours say to each other: JSON lines on a Unix socket that is the child's standard
//! input. The agent speaks [`Order`]s; the child answers with [`Notice`]s.
//!
//! The child is the one that strangers talk to, so the agent takes nothing from it but these types, each line bounded.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as StdUnixStream;

use anyhow::Context;
use futures_util::{SinkExt, StreamExt};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;
use tokio_util::codec::{Framed, LinesCodec};
use triad_model::{Ban, DatabaseRoute, Noticed, ServerName, UsageNews};

/// Longest line either side accepts; a plan with a chain of certificates is a few kilobytes.
const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Agent to child.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order<P> {
    /// Work from this plan.
    Plan(P),
    /// These servers look dead, and no others: leave them out of answers, send them no requests.
    LeaveOut(Vec<ServerName>),
    /// These servers live, and the way to them is cut, and to no others.
    CutOff(Vec<ServerName>),
    /// Let these clients in no more, and all others.
    Ban(Vec<Ban>),
    /// This is what clients do at another front server.
    Hear(UsageNews),
    /// This is where the database takes what.
    Database(DatabaseRoute),
    /// Another process serves the same sockets: take nothing new, finish what runs, and end.
    Retire,
}

/// Child to agent.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice<R> {
    /// The plan is in force.
    InForce,
    /// The plan cannot be used; the one before stays.
    Refused(String),
    /// What clients did lately.
    Noticed(Noticed),
    /// What was counted so far; about once a second.
    Report(R),
}

/// One end.
pub struct Channel {
    lines: Framed<UnixStream, LinesCodec>,
}

impl Channel {
    /// Takes up `stream`, on a runtime.
    pub fn new(stream: StdUnixStream) -> std::io::Result<Self> {
        stream.set_nonblocking(true)?;
        let stream = UnixStream::from_std(stream)?;
        Ok(Self { lines: Framed::new(stream, LinesCodec::new_with_max_length(LINE_BYTES_MAX)) })
    }

    /// The child's end: its standard input.
    pub fn from_stdin() -> anyhow::Result<Self> {
        let stdin = std::io::stdin().as_fd().try_clone_to_owned().context("standard input is closed")?;
        Self::new(StdUnixStream::from(stdin)).context("standard input is not the agent's socket")
    }

    /// Says `message`.
    pub async fn send(&mut self, message: &impl Serialize) -> anyhow::Result<()> {
        self.lines.send(serde_json::to_string(message)?).await.context("the other end is gone")
    }

    /// The next message; `None` when the other end is gone. Cancelling it loses nothing.
    pub async fn receive<T: DeserializeOwned>(&mut self) -> anyhow::Result<Option<T>> {
        match self.lines.next().await {
            None => Ok(None),
            Some(line) => Ok(Some(serde_json::from_str(&line?).context("a message cannot be understood")?)),
        }
    }
}
