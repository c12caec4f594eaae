//! Backends whose checks pass and whose requests fail or are slow, now and then.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use triad_proxy::{BackendPlan, Edge, EdgePlan, PoolPlan};

use crate::bed::*;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\nslow";
const UNAVAILABLE: &[u8] = b"HTTP/1.1 503 No\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// An edge that leaves out who fails in three of ten requests, or is slower than a moment, never who fails in a row.
fn judging(backends: Vec<BackendPlan>) -> (Edge, SocketAddr) {
    let pool = pool(backends).map(|pool| PoolPlan { max_fails: 0, error_rate_percent: 30, slow_after_ms: 50, ..pool });
    edge("http", EdgePlan { balancer: pool, ..plan() })
}

/// An origin of which every other request fails.
fn half_failing() -> SocketAddr {
    let turn = AtomicUsize::new(0);
    raw_origin(move |mut stream: TcpStream| {
        let answer = if turn.fetch_add(1, SeqCst).is_multiple_of(2) { UNAVAILABLE } else { OK };
        let _ = stream.write_all(answer);
    })
}

fn slow() -> SocketAddr {
    raw_origin(|mut stream: TcpStream| {
        std::thread::sleep(Duration::from_millis(80));
        let _ = stream.write_all(OK);
    })
}

/// Why a backend is left out; empty while it is not.
fn why(edge: &Edge, name: &str) -> String {
    let report = edge.report().backends.into_iter().find(|backend| backend.name == name).expect("a backend");
    if report.left_out { report.why } else { String::new() }
}

#[test]
fn one_that_fails_every_other_time_is_left_out() {
    let good = Origin::start("srv3");
    let (edge, address) = judging(vec![backend("srv2", half_failing(), 1), backend("srv3", good.address, 1)]);
    until("srv2 is left out", || {
        get(address, "/");
        !why(&edge, "srv2").is_empty()
    });
    assert!(why(&edge, "srv2").ends_with(" requests failed or were slow within 10 s"), "{}", why(&edge, "srv2"));
    assert!((0..10).all(|_| get(address, "/").name() == "srv3"));
}

#[test]
fn one_that_is_slow_is_left_out_unless_it_is_alone() {
    let good = Origin::start("srv3");
    let (edge, address) = judging(vec![backend("srv2", slow(), 1), backend("srv3", good.address, 1)]);
    until("srv2 is left out", || {
        get(address, "/");
        !why(&edge, "srv2").is_empty()
    });
    let (edge, address) = judging(vec![backend("srv2", slow(), 1)]);
    for _ in 0..30 {
        assert_eq!(get(address, "/").status, 200);
    }
    assert_eq!(why(&edge, "srv2"), "", "alone it stays");
}
