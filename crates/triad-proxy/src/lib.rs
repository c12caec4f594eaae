//! The edge: listeners, routing, balancing, health checks, connections to backends, and the relay to the database.
//!
//! One request's way, file by file: `accept` takes the connection, `forwarder` reads whose it is if somebody passes it
//! on (`proxy_protocol`), `handshake` encrypts it, `http2` takes one apart into streams if it is of that kind,
//! `connection` reads heads and sees to it that each is answered, `answer` decides where the request goes, `exchange`
//! sends it to a backend that `pool`, `members` and `balance` pick, whose `slots` it may have to wait for in a `queue`,
//! and `upstream` connects to, `reply` sends the answer back while `transfer` streams both bodies, by `splice` where
//! nobody need copy them, `respond` sends answers of our own, `record` counts and `log` writes it. What the design says of
//! users' requests and their answers is in `redirect`, `header_rules` and `maintenance`; how slow a client may be, in
//! `min_rate`. `health`, `outlier`, `left_out` and `silence` decide who may be picked. `plan` says what all of that works
//! from. What HTTP/1.1 is, is `triad-http1`'s to know.
//!
//! Invariants: workers share no lock that is held across a wait; every queue, pool and retry has a bound; a client
//! never learns an address of a backend; nothing that was not understood whole goes on.

#![forbid(unsafe_code)]

mod accept;
mod answer;
mod backend;
mod balance;
mod bans;
mod client;
mod clock;
mod combined;
mod connection;
mod counters;
mod error_rate;
mod exchange;
mod forwarder;
mod grpc;
mod handshake;
mod header_rules;
mod health;
mod http2;
mod lead;
mod left_out;
mod limit;
mod live;
mod log;
mod maintenance;
mod members;
mod min_rate;
mod outlier;
pub mod plan;
mod pool;
mod probe;
mod progress;
mod proxy_protocol;
mod queue;
mod rate;
mod record;
mod redirect;
mod relay;
mod reply;
mod respond;
mod retry;
mod room;
mod routes;
mod serve;
mod silence;
mod slots;
mod splice;
mod sticky;
mod stream;
mod switch;
mod table;
mod times;
mod transfer;
mod upstream;
mod ways;

pub use live::EdgeError;
pub use min_rate::MinRate;
pub use plan::{
    BackendPlan, DatabaseAccount, DatabaseWays, EdgeInputs, EdgePlan, ListenerSpec, MaintenancePlan, PoolPlan,
    RelayTarget, StickyPlan, Target, listeners,
};
pub use serve::Edge;
