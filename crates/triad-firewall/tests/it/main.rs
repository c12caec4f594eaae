//! The firewall against goldens and against the kernel.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

mod designs;
mod golden;
mod kernel;
