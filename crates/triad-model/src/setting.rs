use std::fmt;

use serde::{Deserialize, Serialize};

/// What an operator told the balancers about a backend; it holds until another word, or a restart of the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendSetting {
    /// The backend: a server's name.
    pub backend: String,
    /// Whether it gets requests.
    pub mode: BackendMode,
    /// Its weight in place of the file's, from 0 (no new requests) to [`crate::Backend::WEIGHT_MAX`].
    pub weight: Option<u16>,
}

/// Whether a backend gets requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendMode {
    /// While it is up.
    #[default]
    Ready,
    /// No new ones; those it has are finished. It is checked further.
    Drain,
    /// None, and it is not checked.
    Maintenance,
}

impl BackendMode {
    /// As it is written and printed.
    pub fn as_str(self) -> &'static str {
        match self {
            BackendMode::Ready => "ready",
            BackendMode::Drain => "drain",
            BackendMode::Maintenance => "maintenance",
        }
    }
}

impl fmt::Display for BackendMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What an operator told the front servers: users are answered that the site is closed for a while. It holds until
/// another word, through restarts too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maintenance {
    /// What users are told, in plain text.
    pub message: Option<String>,
}

/// Why a text cannot be a [`Maintenance::message`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message is 1 to {} bytes of text on one line", Maintenance::MESSAGE_BYTES_MAX)]
pub struct InvalidMessage;

impl Maintenance {
    /// Longest message.
    pub const MESSAGE_BYTES_MAX: usize = 500;
    /// Largest page of the team's own: it is held in memory, and goes to the edge with its plan.
    pub const PAGE_BYTES_MAX: u64 = 256 * 1024;

    /// Checks `message`.
    pub fn new(message: Option<String>) -> Result<Self, InvalidMessage> {
        let fits = |text: &str| {
            !text.trim().is_empty() && text.len() <= Self::MESSAGE_BYTES_MAX && !text.contains(char::is_control)
        };
        if message.as_deref().is_none_or(fits) { Ok(Self { message }) } else { Err(InvalidMessage) }
    }
}
