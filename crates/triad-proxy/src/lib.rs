//! The edge: listeners, routing, balancing, health checks, connections to backends, and the relay to the database.
//!
//! One request's way, file by file: `accept` takes the connection, `answer` decides where the request goes,
//! `exchange` sends it to a backend that `pool` and `balance` pick and `upstream` connects to, `record`
//! counts and `log` writes it. `health` decides who may be picked. `plan` says what all of that works from.
//!
//! Invariants: workers share no lock that is held across a wait; every queue, pool and retry has a bound; a client
//! never learns an address of a backend.

#![forbid(unsafe_code)]

mod accept;
mod answer;
mod backend;
mod balance;
mod counters;
mod exchange;
mod health;
mod live;
mod log;
pub mod plan;
mod pool;
mod record;
mod relay;
mod serve;
mod upstream;

pub use live::EdgeError;
pub use plan::{BackendPlan, EdgeInputs, EdgePlan, ListenerSpec, PoolPlan, RelayTarget, Target, listeners};
pub use serve::Edge;
