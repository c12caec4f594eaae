//! Authoritative DNS for the domain of a design.
//!
//! [`Zone`] says what the zone holds (`plan.rs`), [`Authority`] answers a query from it (`authority.rs`), and
//! [`NameServer`] does so on sockets (`serve.rs`). The design is the source of the zone on every name server, so
//! there is no zone transfer and no server is the main one.
//!
//! Invariants:
//! - What a stranger sends is parsed in [`Authority::answer`] alone: a pure function that never panics, whose answer
//!   is never longer than the transport and the client allow, and never an answer to an answer.
//! - There is always an address of the site to give: if every front server looks dead, all of them are answered.
//! - No lookup leaves the zone: the answers of a name server do not depend on another one.

#![forbid(unsafe_code)]

mod authority;
mod plan;
mod report;
mod serve;

pub use authority::{Answer, Authority, Code, InvalidZone, Transport};
pub use plan::{Data, Front, NAME_SERVER_TTL_S, NameServerHost, Record, Zone, listeners};
pub use serve::NameServer;
