//! Ports Triad listens on. One list, so that the firewall, the edge and the documentation cannot disagree.

/// Plain HTTP, on public addresses.
pub const HTTP: u16 = 80;
/// HTTPS, on public addresses.
pub const HTTPS: u16 = 443;
/// DNS over UDP and TCP, on public addresses.
pub const DNS: u16 = 53;
/// The hop from one server's edge to another's, on private addresses: mutual TLS with `[tls]`, plain without it.
pub const HOP: u16 = 8443;
/// MariaDB: its server on the private address, and the relay that applications use on 127.0.0.1.
pub const DATABASE: u16 = 3306;
/// The relay that applications read from on 127.0.0.1: it leads to replicas as well.
pub const DATABASE_READ: u16 = 3307;
/// What agents ask each other, on private addresses, always over mutual TLS.
pub const AGENT: u16 = 7443;
/// Heartbeats between servers over UDP, on private addresses: authentic, not secret.
pub const HEARTBEAT: u16 = 7444;
/// etcd, asked by agents, on voters' private addresses, over mutual TLS.
pub const ETCD: u16 = 2379;
/// etcd, among voters, in the same way.
pub const ETCD_PEER: u16 = 2380;
/// Prometheus metrics, on private addresses.
pub const METRICS: u16 = 9100;
/// The first application instance on 127.0.0.1; instance `n` (from 1) listens on `INSTANCE_FIRST + n - 1`.
pub const INSTANCE_FIRST: u16 = 9001;
/// The most instances of the application on one server.
pub const INSTANCES_MAX: u16 = 64;
