//! What became of one request.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The guestbook's page, which needs the database.
    Reads,
    /// A new entry in the guestbook, with an id of its own.
    Writes,
    /// A static file.
    Files,
    /// All entries of the drill, in the order they were stored.
    Lists,
    /// A row of its own, inserted through the relay, without the page.
    Statements,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 5] = [Self::Reads, Self::Writes, Self::Files, Self::Lists, Self::Statements];

    /// As scenarios write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Reads => "reads",
            Kind::Writes => "writes",
            Kind::Files => "files",
            Kind::Lists => "lists",
            Kind::Statements => "statements",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a request ended, as its user saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The answer that was due: 200, or 303 for a write.
    Ok,
    /// Another status.
    Status(u16),
    /// The name gave no address.
    Unresolved,
    /// No address took a connection.
    Unconnected,
    /// The TLS handshake failed.
    Untrusted,
    /// The connection broke after the request was sent.
    Broken,
    /// No answer within the deadline, counted from when the request was due; it had been sent.
    TimedOut,
    /// The same, before it was sent.
    NeverSent,
    /// Too many others were under way, so it was not sent at all.
    Crowded,
    /// A statement got this error of MariaDB's.
    Sql(u16),
    /// Whoever sent it died with its server before it told of an answer.
    Unheard,
}

/// ER_OPTION_PREVENTS_STATEMENT: the database takes no writes, and nothing was done.
const READ_ONLY: u16 = 1290;

/// What a write's outcome says about the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was acknowledged: it must be there.
    Acknowledged,
    /// The request never left: it must not be there.
    Never,
    /// It may be there or not.
    Unknown,
}

impl Outcome {
    /// Whether the user got what was asked for.
    pub fn is_ok(self) -> bool {
        self == Outcome::Ok
    }

    /// What it says about a write. An error status is no promise that nothing was stored: the application's own
    /// 503 says that it is not certain, and a balancer cannot know.
    pub fn fate(self) -> Fate {
        match self {
            Outcome::Ok => Fate::Acknowledged,
            Outcome::Sql(READ_ONLY) => Fate::Never,
            Outcome::Status(_) | Outcome::Broken | Outcome::TimedOut | Outcome::Sql(_) | Outcome::Unheard => {
                Fate::Unknown
            }
            Outcome::Unresolved | Outcome::Unconnected | Outcome::Untrusted | Outcome::NeverSent | Outcome::Crowded => {
                Fate::Never
            }
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Outcome::Ok => "ok",
            Outcome::Status(code) => return f.pad(&format!("status {code}")),
            Outcome::Unresolved => "name not resolved",
            Outcome::Unconnected => "not connected",
            Outcome::Untrusted => "TLS handshake failed",
            Outcome::Broken => "connection broke",
            Outcome::TimedOut => "no answer in time",
            Outcome::NeverSent => "not sent in time",
            Outcome::Crowded => "too many under way",
            Outcome::Sql(number) => return f.pad(&format!("MariaDB's error {number}")),
            Outcome::Unheard => "its client died",
        })
    }
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// What it asked for.
    pub kind: Kind,
    /// Its number among those of its kind, from 1; a write's or statement's id is made from it.
    pub number: u32,
    /// When it was due, in microseconds since the load began.
    pub due_us: u64,
    /// From then to its end, in microseconds.
    pub took_us: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// The server whose instance answered a read.
    pub server: Option<String>,
    /// The numbers of the drill's writes that a list showed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seen: Vec<u32>,
}

impl Sample {
    /// When it ended, in microseconds since the load began.
    pub fn done_us(&self) -> u64 {
        self.due_us + self.took_us
    }
}
