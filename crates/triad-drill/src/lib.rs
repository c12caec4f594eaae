//! Drills: one thing of a running lab is broken under load, and what that cost is measured.
//!
//! ```text
//! scenario text ── parse ──► Scenario ── run ──► Evidence ── judge ──► Report ──► text, JSON, HTML
//!                                         │
//!                        load (in the client's namespace), faults, databases read afterwards
//! ```
//!
//! # Invariants
//! * [`parse()`], [`judge()`] and everything that renders are pure: what is concluded from a run can be concluded again
//!   from its evidence.
//! * Load is open-loop: a request is due when the schedule says so, whatever became of the others, and its latency
//!   counts from then. A stall is therefore counted in full.
//! * Every fault that has an end is ended before a drill returns, also when it failed or was interrupted.
//! * Writes are checked from outside the product: what the databases hold is read on each of them by MariaDB's own
//!   client, and compared with what users were told.
//!
//! # Hidden commands
//! The binary must give [`LOAD_COMMAND`] to [`load_main`], [`FLOOD_COMMAND`] to [`flood_main`] and [`WRITERS_COMMAND`] to
//! [`writers_main`].

#![forbid(unsafe_code)]

mod attack;
mod bank;
mod checker;
mod database;
mod failovers;
mod fault;
mod flood;
mod health;
mod html;
mod judge;
mod load;
mod measure;
mod monkey;
mod parse;
mod predict;
mod record;
mod register;
mod repeats;
mod run;
mod sample;
mod saturation;
mod scenario;
mod schedule;
mod standstill;
mod survive;
mod text;
mod writers;

pub use bank::BankCheck;
pub use checker::{NodeRows, WriteCheck, check_writes};
pub use failovers::{FAILOVERS_FIRST_HEADING, FailoverCheck, failovers, failovers_markdown};
pub use flood::flood_main;
pub use html::page;
pub use judge::{Check, Evidence, Happened, Report, Verdict, judge};
pub use load::{LoadPlan, load_main};
pub use measure::{Latency, Measures, Phase};
pub use monkey::monkey;
pub use parse::parse;
pub use predict::{Comparison, predictions};
pub use record::RecordSeen;
pub use register::RegisterCheck;
pub use repeats::repeats;
pub use run::{Interrupted, Progress, Site, run};
pub use sample::{Fate, Kind, Outcome, Sample};
pub use saturation::saturation;
pub use scenario::{
    Action, Condition, Control, Fault, Flood, Goal, Mistake, Netem, Network, Place, PortFault, Promise, Quoted, Rates,
    Scenario, SlowPart, Step, render,
};
pub use standstill::Standstill;
pub use survive::{Row, rows};
pub use text::{details, predictions as prediction_table, summary};
pub use writers::writers_main;

/// `triad drill-load --plan JSON`: see [`load_main`].
pub const LOAD_COMMAND: &str = "drill-load";
/// `triad drill-flood --plan JSON`: see [`flood_main`].
pub const FLOOD_COMMAND: &str = "drill-flood";
/// `triad drill-writers --plan JSON`: see [`writers_main`].
pub const WRITERS_COMMAND: &str = "drill-writers";
