//! The agent: one process per server, as root, small. It opens the sockets, loads the firewall, runs every role's
//! processes and keeps them running, and tells commands and other agents what it sees. It parses nothing that a
//! stranger sends: what faces strangers are its children, without privileges.
//!
//! This crate alone sees every service. The order of things:
//!
//! * [`run`] reads secrets, opens every socket (a taken port stops it before anything is changed), loads the firewall,
//!   then starts etcd if this server votes, database, application, edge and name server, and serves until it is told to end;
//! * `change` takes a changed file, or an operator's word, into use, or changes nothing; `maintenance` keeps one of them;
//! * [`supervisor`] is the life of one child process, [`service`] that of a child of ours that works from a plan, and
//!   of the next one that replaces it: `generations` decides, `ledger` adds up what they counted, `binary` is what runs;
//! * [`child`] is the inside of those children;
//! * `failover` does what is decided of who is the primary, on this server's own database;
//! * `promotion` is an operator's word of who is the primary, where servers cannot decide that;
//! * `heartbeats` asks other servers for their keys and tells the edge which of them are silent;
//! * `coordination` is what servers agree on, and this server's etcd; `applied` which design they go by, `recovery` what
//!   is done when the voters lost it all;
//! * [`report`] makes what is observed into what is told.
//!
//! Invariant: the agent is one thread. Children are tied to it by the kernel, and nothing here needs a lock for longer
//! than a copy.

#![forbid(unsafe_code)]

mod agent;
mod api;
mod applied;
mod backoff;
mod binary;
mod change;
pub mod child;
mod coordination;
mod database;
mod doors;
mod failover;
mod files;
mod fronts;
mod generations;
mod heartbeats;
mod ledger;
mod logfile;
mod maintenance;
mod orders;
mod promotion;
mod recovery;
mod renewal;
mod report;
pub mod secrets;
pub mod service;
mod setup;
mod sockets;
pub mod supervisor;
mod users;
mod watch_fronts;

pub use agent::run;
pub use applied::digest;
pub use doors::LOCAL_DOOR;
pub use recovery::forget;
pub use setup::{Options, Reread};
