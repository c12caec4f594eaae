//! What the servers of a design know of each other, and what they agree on.
//!
//! *Who lives*: each sends a *beat* to every other one ten times a second.
//!
//! * [`beat`] is the datagram, byte for byte: pure.
//! * [`Detector`] decides from arrivals when one server is silent: pure.
//! * [`Pulse`] is all that one server knows of the others' beats, and what it says to them: pure.
//! * [`Heart`] is the thread with the socket; what it sees it shows as a [`View`].
//!
//! Invariants: a beat that is not authentic, or not newer than the last, changes nothing but a count; nothing a
//! datagram says makes anything grow; time during which this host itself stood still is held against nobody.
//!
//! *What is agreed upon*: values under keys, changed by compare-and-swap only; [`coordination`] tells all of it.

#![forbid(unsafe_code)]

pub mod beat;
pub mod coordination;
mod detector;
mod heart;
mod pulse;
mod session;

pub use coordination::{
    Coordination, CoordinationError, DESIGN_KEY, Etcd, FileHome, KEYS, Member, PRIMARY_KEY, Seen, Swap, Versioned,
    Voter,
};
pub use detector::{Detector, Presence};
pub use heart::{Heart, StartError};
pub use pulse::{Pulse, Refusal, View, ViewOfPeer};
pub use session::{InvalidKey, Session};
