//! The database service: MariaDB, one primary and its replicas.
//!
//! What is here, in the order an agent calls it:
//!
//! 1. [`DatabasePlan::of`] says what a server's database should be; [`my_cnf`] writes it as MariaDB reads it. Pure.
//! 2. [`prepare`] makes directories, configuration and, on a primary, the first data.
//! 3. [`needs_seed`], [`backup_stream`] and [`seed`] copy a running primary into an empty replica.
//! 4. [`process`] is the child for the agent's supervisor.
//! 5. [`Reconciler::step`] brings the running server where the plan wants it and reports; what it does is decided by
//!    the pure [`next_steps`].
//!
//! Invariants:
//! - A server starts read-only and does not replicate by itself; only [`Reconciler`] changes that.
//! - A data directory exists in full or not at all: it is built beside its place and renamed into it.
//! - A replica's data is always a copy of the primary's. Data of another origin is never replicated into; it is
//!   reported and left alone.
//! - Nothing promotes or demotes here by itself: the plan says who is primary, or the agent, by the record, step by step
//!   through [`Control`].
//! - Passwords travel in SQL over a Unix socket and in files of mode 0600, never in arguments, logs or reports.

#![forbid(unsafe_code)]

mod apply;
mod control;
mod error;
mod files;
mod observe;
mod passwords;
mod plan;
mod reconcile;
mod report;
mod seed;
mod sql;
mod steps;
mod tool;

pub use apply::{Recovery, is_without_data, prepare, prepare_folders, process, put_aside, recovery_args};
pub use control::{Control, Standing};
pub use error::DatabaseError;
pub use observe::{Account, Grant, Observed, Receiver, Replication};
pub use passwords::Passwords;
pub use plan::{DatabasePlan, Duty, Layout, Member, REPLICATION_USER, RunAs, my_cnf};
pub use reconcile::Reconciler;
pub use report::{COUNTERS, report, untold};
pub use seed::{Backup, backup_stream, forget_seed_position, needs_seed, seed, seed_position};
pub use steps::{Step, accounts, next_steps};
