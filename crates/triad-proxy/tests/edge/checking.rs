//! What a check asks of a backend, and what it takes for an answer.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use triad_model::Verdict::{Down, Up};
use triad_model::{CheckKind, HealthCheck, Verdict};
use triad_proxy::{EdgePlan, PoolPlan};

use crate::bed::*;

/// Not the path that origins of bytes answer by themselves.
fn check() -> HealthCheck {
    HealthCheck::new("/probe", 50, 500)
}

fn expecting(status: &str) -> HealthCheck {
    HealthCheck { status: status.parse().expect("statuses"), ..check() }
}

fn containing(text: &str) -> HealthCheck {
    HealthCheck { body: Some(text.to_owned()), ..check() }
}

/// What `check` finds at `address`.
fn found(check: HealthCheck, address: SocketAddr) -> (Verdict, String) {
    let pool = PoolPlan::new(vec![backend("srv2", address, 1)], check);
    let (edge, _) = edge("http", EdgePlan { balancer: Some(pool), ..plan() });
    let why = || edge.report().backends[0].why.clone();
    until("it was checked", || why() != "not checked yet");
    (edge.report().backends[0].verdict, why())
}

/// An origin that answers every check with `bytes` and closes, unless they are to be continued.
fn answering(bytes: impl Into<Vec<u8>>) -> SocketAddr {
    let bytes = bytes.into();
    raw_origin(move |mut stream| {
        let _ = stream.write_all(&bytes);
        let _ = stream.read(&mut [0]);
    })
}

fn assert_finds(check: HealthCheck, answer: impl Into<Vec<u8>>, verdict: Verdict, why: &str) {
    assert_eq!(found(check, answering(answer)), (verdict, why.to_owned()));
}

#[test]
fn a_status_passes_if_it_is_said_to() {
    let empty = |status: &str| format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
    assert_finds(check(), empty("302 Found"), Up, "answered 302");
    assert_finds(check(), empty("404 Not Found"), Down, "answered 404");
    assert_finds(expecting("200,204"), empty("204 No Content"), Up, "answered 204");
    assert_finds(expecting("200,204"), empty("302 Found"), Down, "answered 302");
    assert_finds(expecting("2xx,401"), empty("401 Unauthorized"), Up, "answered 401");
}

#[test]
fn a_text_must_stand_in_the_body() {
    let sized = |length: usize, body: &str| format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
    let without = "answered 200 without \"all well\"";
    let check = || containing("all well");
    assert_finds(check(), sized(12, "we: all well"), Up, "answered 200");
    assert_finds(check(), sized(12, "we: ALL WELL"), Down, without);
    assert_finds(check(), sized(4, "we: all well"), Down, without);
    let chunks = |end: &str| format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nall \r\n{end}");
    assert_finds(check(), chunks("4\r\nwell\r\n0\r\n\r\n"), Up, "answered 200");
    assert_finds(check(), chunks("0\r\nwell: all well\r\n\r\n"), Down, without);
    // The text is enough; who is asked need not end.
    assert_finds(check(), sized(1_000_000, "all well"), Up, "answered 200");
    assert_finds(check(), sized(1_000_000, "not yet"), Down, "no answer within 500 ms");
    let late = |bytes: usize| sized(1_000_000, &format!("{}all well", ".".repeat(bytes)));
    assert_finds(check(), late(16 * 1024 - 8), Up, "answered 200");
    assert_finds(check(), late(16 * 1024 - 7), Down, without);
    assert_finds(check(), "HTTP/1.1 500 No\r\n\r\nall well", Down, "answered 500");
}

#[test]
fn a_connection_is_enough_where_that_is_asked_for() {
    let tcp = || HealthCheck { kind: CheckKind::Tcp, ..check() };
    // The kernel accepts for it; it never answers.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = silent.local_addr().expect("bound");
    assert_eq!(found(tcp(), address), (Up, "took a connection".to_owned()));
    assert_eq!(found(check(), address), (Down, "no answer within 500 ms".to_owned()));
    assert_eq!(found(tcp(), nowhere()).0, Down);
}
