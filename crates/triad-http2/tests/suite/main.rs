//! Streams over the wire, between this crate's server and the client of the `h2` crate.

mod bed;
mod client_golden;
mod golden;
mod malformed;
mod streams;
