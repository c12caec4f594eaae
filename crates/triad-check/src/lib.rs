//! What a design survives, what is weak in it, and why each part is there.
//!
//! [`findings`] names weaknesses, [`survival`] predicts what becomes of reads and writes when something dies,
//! [`explain`] teaches what each part is and why it is in this design, [`walk`] follows one request through it (as data: [`steps`]).
//!
//! Everything here is a pure function of a [`triad_model::Design`]: nothing reads a file, a clock or a socket.

#![forbid(unsafe_code)]

pub mod draw;
mod explain;
mod findings;
pub mod survival;
mod words;

pub use explain::{Hop, Part, Step, Topic, UnknownTopic, WalkError, explain, steps, told, walk};
pub use findings::{Reported, Surroundings, findings};
