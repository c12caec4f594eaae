//! What an edge makes of servers that its agent says are silent.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::SeqCst;

use triad_model::Verdict::{Down, Up};
use triad_model::{BackendReport, HealthCheck, ServerName};
use triad_proxy::{BackendPlan, Edge, EdgePlan, PoolPlan, Target};

use crate::bed::*;

/// Another server's edge, as far as the pool knows.
fn server(name: &str, address: SocketAddr) -> BackendPlan {
    BackendPlan::new(name, Target::Plain(address))
}

/// A balancer whose checks take nobody out.
fn balancer(backends: Vec<BackendPlan>) -> (Edge, SocketAddr) {
    let check = HealthCheck { rise: 1, fall: u32::MAX, ..HealthCheck::new("/up", 50, 500) };
    edge("http", EdgePlan { balancer: Some(PoolPlan::new(backends, check)), ..plan() })
}

fn say_silent(edge: &Edge, servers: &[&str]) {
    let names: Vec<ServerName> = servers.iter().map(|name| ServerName::new(*name).expect("a name")).collect();
    edge.heed_silence(&names);
}

fn report(edge: &Edge, name: &str) -> BackendReport {
    edge.report().backends.into_iter().find(|backend| backend.name == name).expect("a backend")
}

/// Says that `name` falls silent, again, until the last check that passed is too long ago to speak for it.
fn fall_silent(edge: &Edge, name: &str) {
    until("it is taken out", || {
        say_silent(edge, &[]);
        say_silent(edge, &[name]);
        report(edge, name).verdict == Down
    });
}

#[test]
fn a_silent_server_leaves_at_once_and_what_waits_there_is_sent_elsewhere() {
    let (active, passive) = (Origin::start("srv2"), Origin::start("srv3"));
    let passive_plan = BackendPlan { backup: true, ..server("srv3", passive.address) };
    let (edge, address) = balancer(vec![server("srv2", active.address), passive_plan]);
    active.state.sick.store(true, SeqCst);
    let mut waiting = connect(address);
    write!(waiting, "GET /never HTTP/1.1\r\nHost: {HOST}\r\n\r\n").expect("sent");
    let mut posting = connect(address);
    write!(posting, "POST /never HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 0\r\n\r\n").expect("sent");
    active.until_asked(2);
    fall_silent(&edge, "srv2");
    passive.until_asked(1);
    assert_eq!(read_reply(&mut posting).status, 502, "it may have been acted on, and nobody will say so");
    assert_eq!(get(address, "/").name(), "srv3");
    let why = report(&edge, "srv2").why;
    assert!(why.starts_with("server srv2 has been silent for "), "{why}");
    say_silent(&edge, &[]);
    assert_eq!(report(&edge, "srv2").verdict, Up, "its checks never took it out");
    assert_eq!(get(address, "/").name(), "srv2");
}

#[test]
fn what_cannot_be_repeated_ends_once_checks_and_heartbeats_agree() {
    let active = Origin::start("srv2");
    let pool = pool(vec![server("srv2", active.address)]);
    let (edge, address) = edge("http", EdgePlan { balancer: pool, ..plan() });
    let mut posting = connect(address);
    write!(posting, "POST /never HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 0\r\n\r\n").expect("sent");
    active.until_asked(1);
    active.state.sick.store(true, SeqCst);
    until_backend(&edge, "srv2", Down);
    say_silent(&edge, &["srv2"]);
    assert_eq!(read_reply(&mut posting).status, 502, "though nobody else could have it");
}

#[test]
fn a_check_that_passes_is_believed_more_than_silence() {
    let (active, other) = (Origin::start("srv2"), Origin::start("srv3"));
    let (edge, address) = balancer(vec![server("srv2", active.address), server("srv3", other.address)]);
    active.state.sick.store(true, SeqCst);
    fall_silent(&edge, "srv2");
    active.state.sick.store(false, SeqCst);
    until_backend(&edge, "srv2", Up);
    say_silent(&edge, &["srv2"]);
    assert_eq!(report(&edge, "srv2").verdict, Up, "it is no news");
    let names: Vec<String> = (0..2).map(|_| get(address, "/").name()).collect();
    assert!(names.contains(&"srv2".to_owned()), "{names:?}");
}

#[test]
fn silence_never_leaves_nobody() {
    let (one, two) = (Origin::start("srv2"), Origin::start("srv3"));
    let (edge, address) = balancer(vec![server("srv2", one.address), server("srv3", two.address)]);
    one.state.sick.store(true, SeqCst);
    two.state.sick.store(true, SeqCst);
    fall_silent(&edge, "srv2");
    say_silent(&edge, &["srv2", "srv3"]);
    assert_eq!((report(&edge, "srv2").verdict, report(&edge, "srv3").verdict), (Down, Up));
    assert_eq!(get(address, "/").name(), "srv3");
    // Whom nobody believes to live any more still has what nobody else takes.
    two.kill();
    assert_eq!(get(address, "/").name(), "srv2");
    say_silent(&edge, &[]);
    say_silent(&edge, &["srv2", "srv3"]);
    assert_eq!(report(&edge, "srv2").verdict, Up, "all at once are not believed");
}
