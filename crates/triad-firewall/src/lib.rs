//! A server's firewall: one nftables table of our own, rendered from the design and replaced in one transaction.
//!
//! - [`Ruleset`] (`plan.rs`, pure) is what a server must admit, each rule with its why. It is built on
//!   [`triad_model::flows`], the single list of what a design needs; nothing is admitted that is not in it, but for
//!   what every host on the Internet needs (loopback, answers, ICMP).
//! - [`Ruleset::render`] (`render.rs`, pure) writes it for `nft`, [`Ruleset::explain`] (`explain.rs`, pure) for people.
//! - [`prepared`], [`apply`], [`remove`] (`apply.rs`), [`refuse_database`] (`refuse.rs`) and [`report`] (`report.rs`)
//!   run `nft`.
//!
//! Invariants: only the tables `inet triad` and, during a failover, `inet triad_refused` are touched, never `flush ruleset`, so the tables of Docker, libvirt or an
//! administrator live on beside it. There is no moment without rules: a change is one netlink transaction. Counters
//! and the sources already seen by a rate limit outlive a change.

#![forbid(unsafe_code)]

mod apply;
mod explain;
mod plan;
mod refuse;
mod render;
mod report;

pub use apply::{FirewallError, apply, prepared, remove};
pub use plan::{Action, Chain, Family, Limit, Policy, Reason, Rule, Ruleset, Source, TABLE, Traffic};
pub use refuse::refuse_database;
pub use report::report;
