//! A connection, a full handshake and one request each time: what a new visitor costs.

use super::super::subject::Subject;
use super::super::table::{Bound, Column, Goal};
use super::Spec;

/// TLS 1.3, nothing resumed; the proxy closes.
pub const SPEC: Spec = Spec {
    title: "TLS 1.3 full handshake (ECDSA P-256) and one request a connection, 64 at one time",
    columns: &[
        Column { title: "CPU µs/conn", digits: 1 },
        Column { title: "connections/s", digits: 0 },
        Column { title: "its CPU busy %", digits: 0 },
    ],
    subjects: &[Subject::Triad, Subject::Haproxy, Subject::Nginx],
    goals: &[Goal { of: Some(Subject::Haproxy), bound: Bound::AtMost(0.65) }],
    in_every_round: true,
};
