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
