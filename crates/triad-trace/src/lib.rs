//! One request, sent for real by a lab's client, or by one of the servers, and followed through those that had it.
//!
//! ```text
//! follow ─► trace-request, in the client's namespace ─► Trace     what the client saw: name, connections, answer
//!        └► the edges' access logs, by request id   ─► EdgeLine  what each server did with it
//! tell   ─► the steps that the design promises, each with what was seen of it
//! ```
//!
//! # Invariants
//! * [`tell`] is pure: what is said of a request can be said again from what was seen.
//! * The edges are read, not asked: nothing is sent but the request itself.
//! * Durations are measured where they happened; clocks of different servers are never compared.
//!
//! # Hidden command
//! The binary must give [`TRACE_COMMAND`] to [`trace_main`].

#![forbid(unsafe_code)]

mod client;
mod follow;
mod name;
mod seen;
mod tell;

pub use client::trace_main;
pub use follow::{Site, follow};
pub use seen::{Answer, EdgeLine, Exchange, Followed, Handshake, Lookup, Passed, ServedBy, Trace};
pub use tell::tell;

/// `triad trace-request --plan JSON`: see [`trace_main`].
pub const TRACE_COMMAND: &str = "trace-request";
