//! Streams over the wire, between this crate's server and the client of the `h2` crate.

mod bed;
mod client_frames;
mod client_golden;
mod client_streams;
mod differential;
mod frames;
mod golden;
mod malformed;
mod streams;
