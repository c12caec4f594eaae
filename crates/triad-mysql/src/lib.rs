//! The client/server protocol of MariaDB without I/O, as much as a relay needs that stands between a client and its
//! server: bytes in, where the conversation stands out. A [`Session`] follows both directions; at rest, between two
//! statements and outside of a transaction, [`Session::restore`] says how to put another server's connection into the
//! same state, or why that cannot be done.
//!
//! Invariants: how bytes were cut into reads changes nothing. What is not understood makes a session [opaque]
//! (`Session::is_opaque`) for good: it is copied, and ends with its server. Nothing that a client could notice is lost in
//! a restored session: what cannot be restored is refused, and a statement that asks for what was before is refused, too.
//! Every list has a bound in [`limits`].
//!
//! Source: MariaDB's documentation, "Client/Server Protocol". Compression, TLS inside of it, `LOAD DATA LOCAL`, cursors,
//! `COM_CHANGE_USER` and replication make a session opaque or keep it from being restored.

#![forbid(unsafe_code)]

mod effect;
pub mod limits;
mod login;
mod packet;
mod restore;
mod session;
mod statements;

pub use packet::{HEAD_BYTES, Head};
pub use restore::{Restore, Said};
pub use session::{Refused, Session};

/// Who may be logged in again: the account of the relay's clients.
pub struct Account<'a> {
    /// Its name.
    pub user: &'a str,
    /// Its password.
    pub password: &'a str,
}
