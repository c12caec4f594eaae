//! Why a message is not taken.

use std::fmt;

/// Why a message is not taken. After one, nothing more on the connection can be understood: answer it and close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Status to answer a client with. What a backend sent is always 502.
    pub status: u16,
    /// What is wrong, as strangers may read it: a part of the message, no text of it.
    pub clause: &'static str,
}

impl Refusal {
    pub(crate) const fn bad(clause: &'static str) -> Self {
        Self { status: 400, clause }
    }

    pub(crate) const fn new(status: u16, clause: &'static str) -> Self {
        Self { status, clause }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.clause)
    }
}

impl std::error::Error for Refusal {}
