//! What an agent measures, and how it is written for Prometheus.
//!
//! - [`HostReading::take`] (`host.rs`) reads the host's state from `/proc`: the only I/O here.
//! - [`render`] (`metrics.rs` and `host_metrics.rs`, pure) turns a server's report and a reading into Prometheus text,
//!   which `exposition.rs` formats.
//! - [`RateMeter`] (`rate.rs`, pure) makes requests a second out of a counter.
//!
//! Invariants: hosts are described by node_exporter's names and databases by mysqld_exporter's, so that stock
//! dashboards work; all units are base units; every label has a bounded set of values.

#![forbid(unsafe_code)]

mod exposition;
mod host;
mod host_metrics;
mod metrics;
mod rate;

pub use exposition::CONTENT_TYPE;
pub use host::{CPU_MODES, Conntrack, Filesystem, HostReading, Interface, Memory, PacketCounts};
pub use metrics::render;
pub use rate::RateMeter;
