//! Bounds on the requests in flight at a backend, and who waits when all of them are reached.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::Ordering::SeqCst;

use triad_model::Verdict::{Down, Up};
use triad_model::{Algorithm, BackendMode, BackendReport, BackendSetting, CHECK_USER_AGENT, PoolReport};
use triad_proxy::{BackendPlan, Edge, EdgePlan, PoolPlan, Target};

use crate::bed::*;

/// Longer than any test waits for something: whoever is answered was woken.
const LONG_MS: u32 = 60_000;

fn balancing(backends: Vec<BackendPlan>, queue_timeout_ms: u32, queue_max: u32) -> EdgePlan {
    let pool = PoolPlan { queue_timeout_ms, queue_max, ..pool(backends).expect("a pool") };
    EdgePlan { balancer: Some(pool), ..plan() }
}

fn balancer(backends: Vec<BackendPlan>, queue_timeout_ms: u32, queue_max: u32) -> (Edge, SocketAddr) {
    edge("http", balancing(backends, queue_timeout_ms, queue_max))
}

/// Waits until every backend behind `address` has had a request and has none: on a busy machine the first check is late.
fn until_all_serve(edge: &Edge, address: SocketAddr) {
    let all = |is_so: fn(&BackendReport) -> bool| edge.report().backends.iter().all(is_so);
    until("all serve", || {
        get(address, "/");
        all(|backend| backend.requests > 0)
    });
    until("nothing is in flight", || all(|backend| backend.in_flight == 0));
}

/// Asks for `path` and does not wait for the answer.
fn ask(address: SocketAddr, path: &str) -> TcpStream {
    let mut client = connect(address);
    write!(client, "GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n").expect("sent");
    client
}

fn queue(edge: &Edge) -> PoolReport {
    edge.report().pools.into_iter().next().expect("a pool")
}

fn until_waiting(edge: &Edge, waiting: u64) {
    until(&format!("{waiting} wait"), || queue(edge).waiting == waiting);
}

#[test]
fn no_backend_has_more_in_flight_than_its_bound_whoever_asks() {
    let origins = [("srv2", 3), ("srv3", 5)].map(|(name, max)| (Origin::start(name), max));
    let backends = origins.iter().map(|(origin, max)| bounded("srv", origin.address, *max)).collect();
    let (edge, address) = balancer(backends, LONG_MS, 64);
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| (0..10).for_each(|_| assert_eq!(get(address, "/nap").status, 200)));
        }
    });
    let served: usize = origins.iter().map(|(origin, _)| origin.state.requests.load(SeqCst)).sum();
    assert_eq!(served, 640);
    for (origin, max) in &origins {
        let most = origin.state.most.load(SeqCst);
        assert!(most <= *max as usize, "{most} at once, {max} allowed");
    }
    let PoolReport { waiting, timed_out, overflowed, .. } = queue(&edge);
    assert_eq!((waiting, timed_out, overflowed), (0, 0, 0));
}

#[test]
fn who_waits_is_answered_in_order() {
    let origin = Origin::start("srv2");
    let (edge, address) = balancer(vec![bounded("srv2", origin.address, 1)], LONG_MS, 8);
    let mut clients = vec![ask(address, "/wait")];
    origin.until_asked(1);
    for (waiting, path) in (1..).zip(["/a", "/b", "/c", "/d"]) {
        clients.push(ask(address, path));
        until_waiting(&edge, waiting);
    }
    assert_eq!(origin.state.requests.load(SeqCst), 1);
    origin.state.release.notify_waiters();
    assert!(clients.iter_mut().all(|client| read_reply(client).status == 200));
    let heads = origin.state.heads.lock().expect("heads");
    let paths: Vec<_> = heads.iter().filter_map(|head| head.split_whitespace().nth(1)).collect();
    assert_eq!(paths, ["/wait", "/a", "/b", "/c", "/d"]);
}

#[test]
fn who_waited_in_vain_is_told_so_and_when_to_come_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("access.log");
    let origin = Origin::start("srv2");
    let plan = balancing(vec![bounded("srv2", origin.address, 1)], 100, 8);
    let (edge, address) = edge("http", EdgePlan { access_log: Some(log.clone()), ..plan });
    let mut holding = ask(address, "/wait");
    origin.until_asked(1);
    let reply = get(address, "/");
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("2")));
    assert!(reply.text().contains("What failed: all backends are busy.<br>"), "{}", reply.text());
    let PoolReport { waiting, timed_out, overflowed, .. } = queue(&edge);
    assert_eq!((waiting, timed_out, overflowed), (0, 1, 0));
    origin.state.release.notify_waiters();
    assert_eq!(read_reply(&mut holding).status, 200);
    until("both are over", || edge.report().requests_total() == 2);
    edge.drain(std::time::Duration::from_secs(20));
    let text = std::fs::read_to_string(log).expect("a log");
    let mut lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("an object"));
    let line = lines.find(|line| line["status"] == 503).expect("a line, before or after the other worker's");
    assert_eq!(line["attempts"], 0);
    assert_eq!(line["fault"], "all backends are busy (upstream)");
    assert!(line["duration_ms"].as_f64() >= Some(100.0), "{line}");
    assert!(
        line["queue_ms"].as_f64() >= Some(100.0) && line["queue_ms"].as_f64() <= line["duration_ms"].as_f64(),
        "{line}"
    );
    assert!(line["first_byte_ms"].is_null(), "no backend answered: {line}");
}

#[test]
fn beyond_the_queue_and_where_none_is_allowed_the_answer_comes_at_once() {
    let origin = Origin::start("srv2");
    let backends = || vec![bounded("srv2", origin.address, 1)];
    let (edge, address) = balancer(backends(), LONG_MS, 1);
    let mut clients = [ask(address, "/wait"), ask(address, "/wait")];
    until_waiting(&edge, 1);
    assert_eq!(get(address, "/").status, 503);
    assert_eq!((queue(&edge).waiting, queue(&edge).overflowed), (1, 1));
    edge.reload(balancing(backends(), 0, 1)).expect("a plan");
    assert_eq!(get(address, "/").status, 503);
    assert_eq!((queue(&edge).timed_out, queue(&edge).overflowed), (0, 2));
    for asked in 1..=2 {
        origin.until_asked(asked);
        origin.state.release.notify_waiters();
    }
    assert!(clients.iter_mut().all(|client| read_reply(client).status == 200));
}

#[test]
fn a_client_that_went_away_leaves_the_queue() {
    let origin = Origin::start("srv2");
    let (edge, address) = balancer(vec![bounded("srv2", origin.address, 1)], LONG_MS, 1);
    let mut holding = ask(address, "/wait");
    origin.until_asked(1);
    drop(ask(address, "/gone"));
    until("it was there", || edge.report().requests_total() == 1);
    until_waiting(&edge, 0);
    // One that has sent a part of its body.
    let mut posting = connect(address);
    write!(posting, "POST /gone HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 9\r\n\r\nhalf").expect("sent");
    until_waiting(&edge, 1);
    drop(posting);
    until_waiting(&edge, 0);
    let mut next = ask(address, "/next");
    until_waiting(&edge, 1);
    origin.state.release.notify_waiters();
    assert_eq!((read_reply(&mut holding).status, read_reply(&mut next).status), (200, 200));
    let heads = origin.state.heads.lock().expect("heads");
    assert!(!heads.iter().any(|head| head.contains("/gone")), "{heads:?}");
}

#[test]
fn a_body_that_arrives_while_its_request_waits_is_passed_on_whole() {
    let origin = Origin::start("srv2");
    let (edge, address) = balancer(vec![bounded("srv2", origin.address, 1)], LONG_MS, 1);
    let mut holding = ask(address, "/wait");
    origin.until_asked(1);
    let body = "0123456789abcdef".repeat(20_000);
    let mut posting = connect(address);
    let head = format!("POST /echo HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {}\r\n\r\n", body.len());
    posting.write_all(head.as_bytes()).expect("sent");
    until_waiting(&edge, 1);
    let sender = posting.try_clone().expect("a connection");
    let sending = std::thread::spawn({
        let body = body.clone();
        move || (&sender).write_all(body.as_bytes())
    });
    origin.state.release.notify_waiters();
    assert_eq!(read_reply(&mut posting).text(), body);
    sending.join().expect("a thread").expect("sent");
    assert_eq!(read_reply(&mut holding).status, 200);
}

#[test]
fn a_backend_that_comes_up_takes_who_waits() {
    let (one, two) = (Origin::start("srv2"), Origin::start("srv3"));
    two.state.sick.store(true, SeqCst);
    let backends = vec![bounded("srv2", one.address, 1), bounded("srv3", two.address, 1)];
    let (edge, address) = balancer(backends, LONG_MS, 8);
    let _holding = ask(address, "/wait");
    one.until_asked(1);
    let mut waiting = ask(address, "/");
    until_waiting(&edge, 1);
    two.state.sick.store(false, SeqCst);
    assert_eq!(read_reply(&mut waiting).name(), "srv3");
}

#[test]
fn a_reload_with_more_room_takes_who_waits() {
    let (one, two) = (Origin::start("srv2"), Origin::start("srv3"));
    let plan_with = |max, mode, weight| {
        let mut plan = balancing(vec![bounded("srv2", one.address, max), bounded("srv3", two.address, 1)], LONG_MS, 8);
        let setting = BackendSetting { backend: "srv3".to_owned(), mode, weight };
        plan.balancer.as_mut().expect("a balancer").settings = vec![setting];
        plan
    };
    let (edge, address) = edge("http", plan_with(1, BackendMode::Drain, None));
    let _holding = ask(address, "/wait");
    one.until_asked(1);
    let mut waiting = ask(address, "/");
    until_waiting(&edge, 1);
    edge.reload(plan_with(2, BackendMode::Drain, None)).expect("a plan");
    assert_eq!(read_reply(&mut waiting).name(), "srv2", "a larger bound");
    edge.reload(plan_with(1, BackendMode::Ready, Some(0))).expect("a plan");
    let mut waiting = ask(address, "/");
    until_waiting(&edge, 1);
    edge.reload(plan_with(1, BackendMode::Ready, Some(1))).expect("a plan");
    assert_eq!(read_reply(&mut waiting).name(), "srv3", "a weight");
    let slots = || edge.report().backends.iter().map(|it| (it.in_flight, it.max_connections)).collect::<Vec<_>>();
    until("only what is held is in flight", || slots() == [(1, 1), (0, 1)]);
}

#[test]
fn when_the_last_backend_goes_down_nobody_waits_for_it() {
    let origin = Origin::start("srv2");
    let (edge, address) = balancer(vec![bounded("srv2", origin.address, 1)], LONG_MS, 8);
    let _holding = ask(address, "/never");
    origin.until_asked(1);
    let mut waiting = ask(address, "/");
    until_waiting(&edge, 1);
    origin.state.sick.store(true, SeqCst);
    let reply = read_reply(&mut waiting);
    assert_eq!(reply.status, 503);
    assert!(reply.text().contains("What failed: no backend is up.<br>"), "{}", reply.text());
    until_backend(&edge, "srv2", Down);
}

#[test]
fn the_passive_backend_does_not_come_because_the_active_one_is_full() {
    let (active, passive) = (Origin::start("srv2"), Origin::start("srv3"));
    let (edge, address) =
        balancer(vec![bounded("srv2", active.address, 1), backup("srv3", passive.address)], LONG_MS, 8);
    until_backend(&edge, "srv3", Up);
    let _holding = ask(address, "/never");
    active.until_asked(1);
    let mut waiting = ask(address, "/");
    until_waiting(&edge, 1);
    assert_eq!(passive.state.requests.load(SeqCst), 0);
    // Down is another matter.
    active.state.sick.store(true, SeqCst);
    assert_eq!(read_reply(&mut waiting).name(), "srv3");
}

#[test]
fn first_fills_one_backend_before_the_next() {
    let origins = ["srv2", "srv3"].map(Origin::start);
    let [one, two] = &origins;
    let mut plan = balancing(vec![bounded("srv2", one.address, 2), bounded("srv3", two.address, 1)], LONG_MS, 8);
    plan.balancer.as_mut().expect("a balancer").algorithm = Algorithm::First;
    let (edge, address) = edge("http", plan);
    assert!((0..6).all(|_| get(address, "/").name() == "srv2"));
    let asked = || [one, two].map(|origin| origin.state.there.load(SeqCst));
    let mut clients = Vec::new();
    for there in [[1, 0], [2, 0], [2, 1]] {
        clients.push(ask(address, "/wait"));
        until("the request is there", || asked() == there);
    }
    clients.push(ask(address, "/wait"));
    until_waiting(&edge, 1);
    two.state.release.notify_waiters();
    until("the slot is taken again", || queue(&edge).waiting == 0 && two.state.requests.load(SeqCst) == 2);
    origins.iter().for_each(|origin| origin.state.release.notify_waiters());
    assert!(clients.iter_mut().all(|client| read_reply(client).status == 200));
}

#[test]
fn an_upgraded_connection_has_its_slot_while_it_lasts() {
    let place = raw_origin(|mut stream| {
        let head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: shout\r\n\r\n";
        stream.write_all(head).expect("sent");
        let _ = stream.read(&mut [0]);
    });
    let (edge, address) = balancer(vec![bounded("srv2", place, 1)], 0, 8);
    let request = format!("GET /chat HTTP/1.1\nHost: {HOST}\nConnection: Upgrade\nUpgrade: shout\n\n");
    let mut upgraded = connect(address);
    assert_eq!(exchange(&mut upgraded, &request).status, 101);
    assert_eq!(exchange(&mut connect(address), &request).status, 503);
    drop(upgraded);
    until("the slot is free", || edge.report().backends[0].in_flight == 0);
    assert_eq!(exchange(&mut connect(address), &request).status, 101);
}

#[test]
fn a_busy_server_is_passed_over_and_has_not_failed() {
    let (instance, other) = (Origin::start("app-1"), Origin::start("srv3"));
    let local = PoolPlan { queue_timeout_ms: 0, ..pool(vec![bounded("app-1", instance.address, 1)]).expect("a pool") };
    let (back, hop) = edge("hop", EdgePlan { local: Some(local.clone()), ..plan() });
    let srv2 = BackendPlan::new("srv2", Target::Plain(hop));
    let (front, address) = balancer(vec![srv2, backend("srv3", other.address, 1)], 0, 8);
    until_all_serve(&back, hop);
    until_all_serve(&front, address);
    let asked = instance.state.requests.load(SeqCst);
    let _holding = ask(hop, "/never");
    instance.until_asked(asked + 1);
    let srv2 = || front.report().backends.into_iter().next().expect("listed");
    let (requests, overflowed) = (srv2().requests, queue(&back).overflowed);
    let reply = get(hop, "/");
    assert_eq!((reply.status, reply.header("triad-untouched")), (503, Some("busy")));
    assert!(reply.text().contains("all instances of the application are busy"), "{}", reply.text());
    let check = |more| {
        let head = format!("GET /up HTTP/1.1\nHost: {HOST}\nUser-Agent: {CHECK_USER_AGENT}\nConnection: close");
        exchange(&mut connect(hop), &format!("{head}\n{more}\n")).status
    };
    assert_eq!(check(""), 200, "it is busy, and well");
    assert_eq!(check("X-Forwarded-For: 192.0.2.1\n"), 503, "whoever calls himself a check is none");
    assert!((0..12).all(|_| get(address, "/").name() == "srv3"));
    let srv2 = srv2();
    assert!(srv2.requests > requests + 3 && srv2.failures == 0 && !srv2.left_out, "{srv2:?}");
    assert!(queue(&back).overflowed > overflowed + srv2.requests - requests);
    // The same where the busy server is the balancer's own.
    let this_server = BackendPlan::new("srv2", Target::ThisServer);
    let plan = balancing(vec![this_server.clone(), backend("srv3", other.address, 1)], 0, 8);
    let (own, address) = edge("http", EdgePlan { local: Some(local.clone()), ..plan });
    until_all_serve(&own, address);
    let _holding = ask(address, "/never");
    let _holding = ask(address, "/never");
    until("both are busy", || own.report().backends.iter().all(|backend| backend.in_flight == 1));
    assert!((0..4).all(|_| get(address, "/").name() == "srv3"));
    // And where it is the only one.
    let (alone, address) = edge("http", EdgePlan { local: Some(local), ..balancing(vec![this_server], 0, 8) });
    until_all_serve(&alone, address);
    let _holding = ask(address, "/never");
    until("it is busy", || alone.report().backends.iter().all(|backend| backend.in_flight == 1));
    let reply = get(address, "/");
    assert!(reply.status == 503 && reply.text().contains("all backends are busy"), "{reply:?}");
}
