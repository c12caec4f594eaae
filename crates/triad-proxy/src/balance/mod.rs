//! Which backend is next: one algorithm a file, each a pure state machine. Loads, random numbers and whom to pass over
//! are arguments; nothing here counts, waits or draws.
//!
//! Invariants: only backends that are up are picked, and backups only while no active one can be.
//!
//! Today's designs can name `roundrobin` only. The others are built and tested with the tests until the pool asks them.

mod roundrobin;

#[cfg(test)]
mod first;
#[cfg(test)]
mod hash;
#[cfg(test)]
mod leastconn;
#[cfg(test)]
mod random;
#[cfg(test)]
mod tier;

pub use roundrobin::{Rotation, Share};
