//! Answers whose status is a reason to ask another backend.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use triad_model::Route;
use triad_proxy::{BackendPlan, Edge, EdgePlan, PoolPlan, Target};

use crate::bed::*;
use crate::http2::{Site, ask, request, run};
use crate::http2_origin::Http2Origin;

/// A pool that leaves nobody out, and asks another one after a 503.
fn retrying(backends: Vec<BackendPlan>) -> Option<PoolPlan> {
    pool(backends).map(|pool| PoolPlan { max_fails: 0, retry_statuses: vec![503], ..pool })
}

fn balancer(backends: Vec<BackendPlan>) -> (Edge, SocketAddr) {
    edge("http", EdgePlan { balancer: retrying(backends), ..plan() })
}

/// An origin that answers everything with `status` and says its `name`, and how often it was asked. The body does not
/// fit beside the head.
fn saying(status: u16, name: &'static str) -> (SocketAddr, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let address = raw_origin(move |mut stream| {
        counter.fetch_add(1, SeqCst);
        let body = format!("{name}\n{}", ".".repeat(LONG));
        let head = format!("HTTP/1.1 {status} No\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
        std::thread::spawn(move || _ = stream.write_all((head + &body).as_bytes()));
    });
    (address, asked)
}

/// More than is read at once.
const LONG: usize = 300_000;

#[test]
fn another_backend_is_asked_and_the_log_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("access.log");
    let ((bad, asked), good) = (saying(503, "srv2"), Origin::start("srv3"));
    let balancer = retrying(vec![backend("srv2", bad, 1), backup("srv3", good.address)]);
    let (edge, address) = edge("http", EdgePlan { balancer, access_log: Some(log.clone()), ..plan() });
    for _ in 0..4 {
        let reply = get(address, "/");
        assert_eq!((reply.status, reply.name()), (200, "srv3".to_owned()));
    }
    assert_eq!((asked.load(SeqCst), edge.report().retries), (4, 4));
    let text = || std::fs::read_to_string(&log).unwrap_or_default();
    until("the log is written", || text().lines().count() == 4);
    assert!(text().lines().all(|line| line.contains("\"attempts\":2") && line.contains("\"srv3\"")), "{}", text());
}

#[test]
fn where_all_answer_so_the_last_answer_is_given_with_its_body() {
    let origins = [("srv2", 503), ("srv3", 503), ("srv4", 503), ("srv5", 503)].map(|(name, it)| saying(it, name));
    let places = origins.iter().zip(["srv2", "srv3", "srv4", "srv5"]);
    let (edge, address) = balancer(places.map(|((address, _), name)| backend(name, *address, 1)).collect());
    let reply = get(address, "/");
    assert_eq!((reply.status, reply.name().as_str(), reply.body.len()), (503, "srv4", "srv4\n".len() + LONG));
    let asked: Vec<usize> = origins.iter().map(|(_, asked)| asked.load(SeqCst)).collect();
    assert_eq!(asked, [1, 1, 1, 0], "three at most");
    assert_eq!(edge.report().retries, 2);
}

#[test]
fn an_answer_is_given_rather_than_a_failure_of_who_was_asked_next() {
    let (bad, _) = saying(503, "srv2");
    for next in [raw_origin(drop), nowhere()] {
        let (_edge, address) = balancer(vec![backend("srv2", bad, 1), backup("srv3", next)]);
        let reply = get(address, "/");
        assert_eq!((reply.status, reply.name().as_str(), reply.body.len()), (503, "srv2", "srv2\n".len() + LONG));
    }
}

/// A request with a body.
fn send(address: SocketAddr, method: &str, body: &str) -> Reply {
    let length = body.len();
    let head = format!("{method} /status/503 HTTP/1.1\nHost: {HOST}\nContent-Length: {length}\nConnection: close");
    exchange(&mut connect(address), &format!("{head}\n\n{body}"))
}

#[test]
fn other_statuses_and_requests_that_may_not_be_repeated_are_passed_on() {
    let ((bad, _), good) = (saying(502, "srv2"), Origin::start("srv3"));
    let (edge, address) = balancer(vec![backend("srv2", bad, 1), backup("srv3", good.address)]);
    assert_eq!((get(address, "/").status, edge.report().retries), (502, 0), "not listed");
    let bad = Origin::start("srv2");
    let (edge, address) = balancer(vec![backend("srv2", bad.address, 1), backup("srv3", good.address)]);
    let large = "x".repeat(100_000);
    for (method, body) in [("POST", ""), ("POST", "body"), ("PUT", &large)] {
        assert_eq!(send(address, method, body).status, 503);
    }
    assert_eq!((bad.state.requests.load(SeqCst), edge.report().retries), (3, 0));
    let reader = raw_origin(|mut stream| {
        stream.read_exact(&mut [0; 100_000]).expect("the body");
        stream.write_all(b"HTTP/1.1 503 No\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").expect("sent");
    });
    let (edge, address) = balancer(vec![backend("srv2", reader, 1), backup("srv3", good.address)]);
    assert_eq!((send(address, "PUT", &large).status, edge.report().retries), (503, 0), "its body is gone");
    assert_eq!(good.state.requests.load(SeqCst), 0);
}

#[test]
fn a_small_body_that_may_be_repeated_arrives_whole_at_the_next_one() {
    let bad = Origin::start("srv2");
    let good = raw_origin(|mut stream| {
        let mut body = [0; 4];
        stream.read_exact(&mut body).expect("the body");
        let head = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\n";
        stream.write_all(&[&head[..], &body].concat()).expect("sent");
    });
    let (edge, address) = balancer(vec![backend("srv2", bad.address, 1), backup("srv3", good)]);
    let reply = send(address, "PUT", "body");
    assert_eq!((reply.status, reply.text().as_str(), edge.report().retries), (200, "body", 1));
}

#[test]
fn what_the_next_one_did_not_take_does_not_go_to_the_one_whose_answer_was_kept() {
    let (bad, asked) = saying(503, "srv2");
    // HTTP/2 has no words for the target, so nothing of the request is sent there.
    let wordless = Http2Origin::start();
    let next = BackendPlan { http2: true, ..backup("srv3", wordless.address) };
    let (_edge, address) = balancer(vec![backend("srv2", bad, 1), next]);
    let mut client = connect(address);
    for times in 1..=2 {
        let reply = exchange(&mut client, &format!("GET /` HTTP/1.1\nHost: {HOST}\n\n"));
        assert_eq!((reply.status, reply.name().as_str(), asked.load(SeqCst)), (503, "srv2", times));
    }
}

#[test]
fn an_answer_is_passed_on_when_no_more_may_be_repeated() {
    const REQUESTS: u64 = 1000;
    let answer = b"HTTP/1.1 503 No\r\nconnection: close\r\ncontent-length: 4\r\n\r\nmine";
    let origin = || raw_origin(|mut stream| _ = stream.write_all(answer));
    let (edge, address) = balancer(vec![backend("srv2", origin(), 1), backend("srv3", origin(), 1)]);
    let mut client = connect(address);
    for _ in 0..REQUESTS {
        let reply = exchange(&mut client, &format!("GET / HTTP/1.1\nHost: {HOST}\n\n"));
        assert_eq!((reply.status, reply.text().as_str()), (503, "mine"));
    }
    let report = edge.report();
    assert_eq!(report.retries + report.retries_refused, REQUESTS);
    assert!(report.retries >= REQUESTS / 5 && report.retries_refused > 0, "{} were", report.retries);
}

#[test]
fn nobody_waits_for_a_slot_with_an_answer_in_hand() {
    let ((bad, _), good) = (saying(503, "srv2"), Origin::start("srv3"));
    let full = bounded("srv3", good.address, 1);
    let pool = retrying(vec![backend("srv2", bad, 1), BackendPlan { backup: true, ..full }]);
    let balancer = pool.map(|pool| PoolPlan { queue_timeout_ms: 60_000, ..pool });
    let (_edge, address) = edge("http", EdgePlan { balancer, ..plan() });
    let mut waiting = connect(address);
    waiting.write_all(format!("GET /wait HTTP/1.1\nHost: {HOST}\n\n").replace('\n', "\r\n").as_bytes()).expect("sent");
    good.until_asked(1);
    assert_eq!(get(address, "/").name(), "srv2", "its answer, at once");
    good.state.release.notify_one();
    assert_eq!(read_reply(&mut waiting).name(), "srv3");
    until("the slot is free", || get(address, "/").name() == "srv3");
}

#[test]
fn who_balances_asks_another_server_and_who_is_asked_passes_the_answer_on() {
    let ((one, asked), (two, asked_too)) = (saying(503, "app-1"), saying(503, "app-2"));
    let good = Origin::start("srv3");
    let local = retrying(vec![backend("app-1", one, 1), backend("app-2", two, 1)]);
    let (_back, hop) = edge("hop", EdgePlan { local, ..plan() });
    let srv2 = BackendPlan { target: Target::Plain(hop), ..backend("srv2", hop, 1) };
    let (_front, address) = balancer(vec![srv2, backup("srv3", good.address)]);
    assert_eq!(get(address, "/").name(), "srv3");
    assert_eq!(asked.load(SeqCst) + asked_too.load(SeqCst), 1, "the hop passes it on");
}

#[test]
fn the_pool_that_a_request_is_balanced_over_decides_for_this_servers_instances_too() {
    let ((bad, asked), good) = (saying(503, "app-1"), Origin::start("app-2"));
    let here = || pool(vec![BackendPlan::new("srv1", Target::ThisServer)]).expect("a pool");
    let api = PoolPlan { retry_statuses: vec![503], max_fails: 0, ..here() };
    let (_edge, address) = edge(
        "http",
        EdgePlan {
            local: pool(vec![backend("app-1", bad, 1), backup("app-2", good.address)]),
            balancer: Some(PoolPlan { max_fails: 0, ..here() }),
            pools: [("api".to_owned(), api)].into(),
            routes: vec![Route { pattern: "/api/*".parse().expect("a pattern"), pool: "api".to_owned() }],
            ..plan()
        },
    );
    assert_eq!((get(address, "/api/x").name().as_str(), asked.load(SeqCst)), ("app-2", 1));
    assert_eq!((get(address, "/x").name().as_str(), asked.load(SeqCst)), ("app-1", 2));
}

/// A front server whose pool is another server, with these instances, and `next` where that does not do.
fn over_a_hop(instances: &[SocketAddr], next: SocketAddr) -> [(Edge, SocketAddr); 2] {
    // Checks over the hop take turns as well, so the order is made plain.
    let names = ["app-2", "app-3"];
    let rest = instances[1..].iter().zip(names).map(|(address, name)| backup(name, *address));
    let local = retrying(std::iter::once(backend("app-1", instances[0], 1)).chain(rest).collect());
    let (back, hop) = edge("hop", EdgePlan { local, ..plan() });
    let srv2 = BackendPlan { target: Target::Plain(hop), ..backend("srv2", hop, 1) };
    [balancer(vec![srv2, backup("srv3", next)]), (back, hop)]
}

#[test]
fn an_answer_to_what_another_edge_repeated_already_is_passed_on() {
    let ((bad, asked), good) = (saying(503, "app-2"), Origin::start("srv3"));
    let [(front, address), (back, _)] = over_a_hop(&[raw_origin(drop), bad], good.address);
    let reply = get(address, "/");
    assert_eq!((reply.status, reply.name().as_str(), reply.header("triad-repeated")), (503, "app-2", None));
    assert_eq!((front.report().retries, back.report().retries), (0, 1));
    assert_eq!((asked.load(SeqCst), good.state.requests.load(SeqCst)), (1, 0));
}

#[test]
fn where_no_instance_of_a_server_answers_another_server_is_asked_with_three_attempts_in_all() {
    let good = Origin::start("srv3");
    for (count, is_asked) in [(1, true), (2, true), (3, false)] {
        let instances: Vec<_> = (0..count).map(|_| raw_origin(drop)).collect();
        let [(front, address), (back, _)] = over_a_hop(&instances, good.address);
        let reply = get(address, "/");
        assert_eq!(reply.status, if is_asked { 200 } else { 502 }, "{count}: {}", reply.head);
        assert_eq!(reply.header("triad-unanswered"), None, "it never leaves the design");
        assert_eq!((front.report().retries, back.report().retries), (is_asked.into(), count - 1));
    }
    assert_eq!(good.state.requests.load(SeqCst), 2);
}

#[test]
fn what_may_have_been_done_on_one_server_is_not_sent_to_another() {
    let good = Origin::start("srv3");
    let [(_front, address), (_back, hop)] = over_a_hop(&[raw_origin(drop)], good.address);
    for (method, body) in [("POST", ""), ("POST", "body"), ("PUT", "body")] {
        assert_eq!(send(address, method, body).status, 502, "{method}");
    }
    assert_eq!(good.state.requests.load(SeqCst), 0);
    assert_eq!(get(hop, "/").header("triad-unanswered"), Some("1"));
    let [(_front, address), _back] = over_a_hop(&[raw_origin(drop)], nowhere());
    let reply = get(address, "/");
    assert!(reply.status == 502 && reply.text().contains("backend app-1"), "what is known: {}", reply.text());
}

#[test]
fn clients_of_http2_get_the_better_answer_too() {
    let ((bad, _), good) = (saying(503, "srv2"), Origin::start("srv3"));
    let balancer = retrying(vec![backend("srv2", bad, 1), backup("srv3", good.address)]);
    let site = Site::with(EdgePlan { balancer, ..plan() });
    let answer = run(async { ask(&site.client().await, request("GET", "/")).await.expect("an answer") });
    assert_eq!((answer.status(), answer.text().lines().next()), (200, Some("srv3")));
}

#[test]
fn applications_of_http2_are_asked_and_kept_alike() {
    let (bad, good) = (Http2Origin::start(), Origin::start("srv3"));
    let full = || BackendPlan { http2: true, ..backend("srv2", bad.address, 1) };
    let (edge, address) = balancer(vec![full(), backup("srv3", good.address)]);
    assert_eq!(get(address, "/full").name(), "srv3");
    assert_eq!(edge.report().retries, 1);
    let (_edge, address) = balancer(vec![full(), backup("srv3", nowhere())]);
    let reply = get(address, "/full");
    assert_eq!((reply.status, reply.text().len()), (503, LONG), "{}", reply.head);
}
