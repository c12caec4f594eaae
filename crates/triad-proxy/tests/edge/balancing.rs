//! Who gets the requests, and what a client notices when a backend goes away.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::Ordering::SeqCst;

use triad_model::Verdict::{Down, Up};
use triad_model::{Algorithm, BackendMode, BackendSetting, CHECK_USER_AGENT};
use triad_proxy::{BackendPlan, Edge, EdgePlan, PoolPlan, Target};

use crate::bed::*;

fn balancer(backends: Vec<BackendPlan>) -> (Edge, SocketAddr) {
    edge("http", EdgePlan { balancer: pool(backends), ..plan() })
}

#[test]
fn weights_five_and_one_share_any_six_requests() {
    let (one, two) = (Origin::start("srv2"), Origin::start("srv3"));
    let (_edge, address) = balancer(vec![backend("srv2", one.address, 5), backend("srv3", two.address, 1)]);
    // A connection each, so that both workers take part.
    let names: Vec<String> = (0..24).map(|_| get(address, "/").name()).collect();
    for six in names.windows(6) {
        assert_eq!(six.iter().filter(|name| *name == "srv3").count(), 1, "{six:?}");
    }
}

#[test]
fn a_name_servers_check_takes_nobodys_turn_and_a_strangers_claim_to_be_one_is_a_request() {
    let check = format!("GET / HTTP/1.1\nHost: {HOST}\nUser-Agent: {CHECK_USER_AGENT}\nConnection: close\n\n");
    let origin = Origin::start("srv2");
    let members = || pool(vec![backend("srv2", origin.address, 1)]);
    let (edge_of_ours, address) =
        edge("http", EdgePlan { balancer: members(), checked_from: vec![Ipv4Addr::LOCALHOST.into()], ..plan() });
    assert_eq!(exchange(&mut connect(address), &check).status, 204);
    assert_eq!((origin.state.requests.load(SeqCst), edge_of_ours.report().requests_total()), (0, 0));
    let (_edge, address) = edge("http", EdgePlan { balancer: members(), ..plan() });
    assert_eq!(exchange(&mut connect(address), &check).status, 200);
    assert_eq!(origin.state.requests.load(SeqCst), 1);
}

#[test]
fn the_backup_takes_over_by_itself_and_gives_back() {
    let (active, passive) = (Origin::start("srv2"), Origin::start("srv3"));
    let place = active.address;
    let (edge, address) = balancer(vec![backend("srv2", place, 1), backup("srv3", passive.address)]);
    assert_eq!(get(address, "/").name(), "srv2");
    active.kill();
    // Before the check has noticed, the refused connection sends the request on.
    for _ in 0..5 {
        assert_eq!(get(address, "/").name(), "srv3");
    }
    until_backend(&edge, "srv2", Down);
    assert_eq!(get(address, "/").name(), "srv3");
    let _active = Origin::again("srv2", place);
    until_backend(&edge, "srv2", Up);
    assert_eq!(get(address, "/").name(), "srv2");
}

#[test]
fn a_refused_connection_is_tried_elsewhere_even_for_a_post_with_a_body() {
    let (one, two) = (Origin::start("srv2"), Origin::start("srv3"));
    let (edge, address) = balancer(vec![backend("srv2", one.address, 1), backup("srv3", two.address)]);
    one.kill();
    let request = format!("POST /echo HTTP/1.1\nHost: {HOST}\nContent-Length: 5\nConnection: close\n\nhello");
    let reply = exchange(&mut connect(address), &request);
    assert_eq!((reply.status, reply.text().as_str()), (200, "hello"));
    until_backend(&edge, "srv2", Down);
}

#[test]
fn what_waits_for_a_backend_whose_checks_fail_leaves_it_only_if_that_is_safe() {
    let (active, passive) = (Origin::start("srv2"), Origin::start("srv3"));
    let (edge, address) = balancer(vec![backend("srv2", active.address, 1), backup("srv3", passive.address)]);
    let (mut getting, mut posting) = (connect(address), connect(address));
    write!(getting, "GET /never HTTP/1.1\r\nHost: {HOST}\r\n\r\n").expect("sent");
    write!(posting, "POST /wait HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 0\r\n\r\n").expect("sent");
    active.until_asked(2);
    // Its connections stay open: only the verdict ends a wait.
    active.state.sick.store(true, SeqCst);
    passive.until_asked(1);
    let heads = passive.state.heads.lock().expect("heads").clone();
    assert!(heads[0].starts_with("GET /never"), "{heads:?}");
    // Until the same request leaves the other one, too, the edge has looked at what waits for the first once more.
    passive.state.sick.store(true, SeqCst);
    let reply = read_reply(&mut getting);
    assert_eq!(reply.status, 502);
    assert!(reply.text().contains("backend srv3"), "{}", reply.text());
    until_backend(&edge, "srv2", Down);
    active.state.release.notify_one();
    let reply = read_reply(&mut posting);
    assert_eq!((reply.status, reply.name().as_str()), (200, "srv2"));
    assert_eq!(passive.state.requests.load(SeqCst), 1);
}

#[test]
fn a_backend_that_hangs_up_is_named_and_an_idempotent_request_goes_on() {
    let rude = raw_origin(drop);
    let polite = Origin::start("srv3");
    let (_edge, address) = balancer(vec![backend("srv2", rude, 1), backup("srv3", polite.address)]);
    assert_eq!(get(address, "/").name(), "srv3");
    let request = format!("POST / HTTP/1.1\nHost: {HOST}\nContent-Length: 0\nConnection: close\n\n");
    let reply = exchange(&mut connect(address), &request);
    assert_eq!(reply.status, 502);
    assert!(reply.text().contains("What failed: backend srv2.<br>"), "{}", reply.text());
}

#[test]
fn where_every_backend_fails_only_some_requests_are_repeated() {
    const REQUESTS: u64 = 1000;
    let pool = || pool(vec![backend("srv2", raw_origin(drop), 1), backend("srv3", raw_origin(drop), 1)]);
    let balancer = pool().map(|pool| PoolPlan { max_fails: 0, ..pool });
    let (edge, address) = edge("http", EdgePlan { balancer, ..plan() });
    let mut client = connect(address);
    for _ in 0..REQUESTS {
        assert_eq!(exchange(&mut client, &format!("GET / HTTP/1.1\nHost: {HOST}\n\n")).status, 502);
    }
    let report = edge.report();
    assert_eq!(report.retries + report.retries_refused, REQUESTS);
    assert!(report.retries >= REQUESTS / 5, "a fifth is allowed, and {} were", report.retries);
    assert!(report.retries_refused > 0, "all were sent twice");
}

#[test]
fn without_a_backend_the_answer_says_so_and_when_to_come_back() {
    let (edge, address) = balancer(vec![backend("srv2", nowhere(), 1), backup("srv3", nowhere())]);
    let reply = get(address, "/");
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("2")));
    assert!(reply.text().contains("What failed: no backend is up.<br>"), "{}", reply.text());
    assert!(!reply.text().contains("127.0.0.1"), "addresses are nobody's business");
    let backends = edge.report().backends;
    assert!(backends.iter().all(|backend| backend.why.contains("refused")), "{backends:?}");
}

#[test]
fn the_balancers_own_server_is_reached_without_a_hop() {
    let (instance, other) = (Origin::start("app-1"), Origin::start("srv3"));
    let this_server = BackendPlan::new("srv2", Target::ThisServer);
    let (edge, address) = edge(
        "http",
        EdgePlan {
            balancer: pool(vec![this_server, backend("srv3", other.address, 1)]),
            local: pool(vec![backend("app-1", instance.address, 1)]),
            ..plan()
        },
    );
    let mut names: Vec<String> = (0..4).map(|_| get(address, "/").name()).collect();
    names.sort();
    assert_eq!(names, ["app-1", "app-1", "srv3", "srv3"]);
    let sent: Vec<_> = edge.report().backends.iter().map(|backend| (backend.name.clone(), backend.requests)).collect();
    assert_eq!(sent, [("srv2".to_owned(), 2), ("srv3".to_owned(), 2), ("app-1".to_owned(), 2)]);
    instance.kill();
    for _ in 0..4 {
        assert_eq!(get(address, "/").name(), "srv3");
    }
    until_backend(&edge, "srv2", Down);
}

#[test]
fn what_no_application_has_seen_goes_to_another_server() {
    let root = tempfile::tempdir().expect("a folder");
    // The check finds a file, so the server looks well; its application is gone.
    std::fs::write(root.path().join("up"), "").expect("a file");
    let local = pool(vec![backend("app-1", nowhere(), 1)]);
    let (_back, hop) = edge("hop", EdgePlan { root: Some(root.path().to_owned()), local, ..plan() });
    let passive = Origin::start("srv3");
    let srv2 = BackendPlan { target: Target::Plain(hop), ..backend("srv2", hop, 1) };
    let (_front, address) = balancer(vec![srv2, backup("srv3", passive.address)]);
    assert_eq!(post(address, "").text(), "");
    assert_eq!(post(address, "this body is kept").text(), "this body is kept");
    passive.until_asked(2);
}

fn post(address: SocketAddr, body: &str) -> Reply {
    let length = body.len();
    let request = format!("POST /echo HTTP/1.1\nHost: {HOST}\nContent-Length: {length}\nConnection: close\n\n{body}");
    exchange(&mut connect(address), &request)
}

#[test]
fn a_body_of_which_much_is_spent_does_not_go_elsewhere() {
    let hop = raw_origin(|mut stream| {
        stream.read_exact(&mut [0; 40_000]).expect("much of a body");
        let answer = b"HTTP/1.1 503 Service Unavailable\r\ntriad-untouched: 1\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(answer).expect("sent");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let passive = Origin::start("srv3");
    let srv2 = BackendPlan { target: Target::Plain(hop), ..backend("srv2", hop, 1) };
    let (_front, address) = balancer(vec![srv2, backup("srv3", passive.address)]);
    let reply = post(address, &"x".repeat(50_000));
    assert_eq!((reply.status, reply.header("triad-untouched")), (503, None));
    assert!(reply.text().contains("What failed: backend srv2.<br>"), "{}", reply.text());
}

#[test]
fn a_drained_backend_gets_nothing_new_and_comes_back_ready() {
    let (one, two) = (Origin::start("srv2"), Origin::start("srv3"));
    let plan_with = |mode, weight| {
        let mut pool = pool(vec![backend("srv2", one.address, 1), backend("srv3", two.address, 1)]).expect("a pool");
        pool.settings = vec![BackendSetting { backend: "srv2".to_owned(), mode, weight }];
        EdgePlan { balancer: Some(pool), ..plan() }
    };
    let (edge, address) = edge("http", plan_with(BackendMode::Ready, None));
    let names = || (0..4).map(|_| get(address, "/").name()).collect::<Vec<_>>();
    assert!(names().contains(&"srv2".to_owned()));
    for (mode, weight) in [(BackendMode::Drain, None), (BackendMode::Maintenance, None), (BackendMode::Ready, Some(0))]
    {
        edge.reload(plan_with(mode, weight)).expect("a plan");
        assert_eq!(names(), ["srv3"; 4], "{mode}, {weight:?}");
        let report = edge.report().backends.into_iter().find(|backend| backend.name == "srv2").expect("listed");
        assert_eq!((report.mode, report.verdict), (mode, Up), "it is well, only not wanted");
    }
    edge.reload(plan_with(BackendMode::Ready, Some(3))).expect("a plan");
    assert_eq!((0..4).filter(|_| get(address, "/").name() == "srv2").count(), 3);
}

#[test]
fn a_hash_keeps_a_client_and_a_path_at_their_backends() {
    let origins = ["srv2", "srv3", "srv4"].map(Origin::start);
    let plan_by = |algorithm, hash_on: Option<&str>| {
        let backends = origins.iter().zip(["srv2", "srv3", "srv4"]).map(|(it, name)| backend(name, it.address, 1));
        let mut pool = pool(backends.collect()).expect("a pool");
        (pool.algorithm, pool.hash_on) = (algorithm, hash_on.map(str::to_owned));
        EdgePlan { balancer: Some(pool), ..plan() }
    };
    let (edge, address) = edge("http", plan_by(Algorithm::Source, None));
    let distinct = |names: Vec<String>| names.into_iter().collect::<std::collections::BTreeSet<_>>().len();
    assert_eq!(distinct((0..6).map(|_| get(address, "/").name()).collect()), 1, "one client");
    edge.reload(plan_by(Algorithm::Uri, None)).expect("a plan");
    assert_eq!(distinct((0..6).map(|_| get(address, "/a").name()).collect()), 1, "one path");
    assert!(distinct((0..20).map(|n| get(address, &format!("/{n}")).name()).collect()) > 1, "many paths");
    edge.reload(plan_by(Algorithm::Cookie, Some("session"))).expect("a plan");
    let ask = |cookie: &str| {
        let request = format!("GET / HTTP/1.1\nHost: {HOST}\nCookie: a=b; session={cookie}\nConnection: close\n\n");
        exchange(&mut connect(address), &request).name()
    };
    assert_eq!(distinct((0..6).map(|_| ask("x")).collect()), 1, "one session");
    assert!(distinct((0..20).map(|n| ask(&n.to_string())).collect()) > 1, "many sessions");
}

#[test]
fn an_edge_that_passes_requests_on_answers_its_balancers_checks_itself() {
    let app = Origin::start("app1");
    let target = Target::Plain(app.address);
    let local = pool(vec![BackendPlan::new("app1", target)]);
    let (edge, address) = edge("hop", EdgePlan { local, hop_from: vec![Ipv4Addr::LOCALHOST.into()], ..plan() });
    let check = format!("GET /up HTTP/1.1\nHost: {HOST}\nUser-Agent: {CHECK_USER_AGENT}\nConnection: close\n\n");
    let ask = || exchange(&mut connect(address), &check).status;
    assert_eq!(ask(), 204);
    app.kill();
    until_backend(&edge, "app1", Down);
    assert_eq!(ask(), 503);
}

#[test]
fn a_backend_whose_requests_fail_in_a_row_is_left_out_until_who_stands_in_is_no_better() {
    let (active, passive) = (Origin::start("srv2"), Origin::start("srv3"));
    let (edge, address) = balancer(vec![backend("srv2", active.address, 1), backup("srv3", passive.address)]);
    let report = || edge.report().backends.into_iter().find(|backend| backend.name == "srv2").expect("listed");
    for _ in 0..5 {
        assert_eq!(get(address, "/status/503").status, 503);
    }
    assert_eq!((report().left_out, report().verdict), (true, Up));
    assert_eq!(get(address, "/").name(), "srv3");
    for _ in 0..5 {
        assert_eq!(get(address, "/status/503").status, 503);
    }
    assert!(!report().left_out, "who stood in for it was no better");
    assert_eq!(get(address, "/").name(), "srv2");
}

#[test]
fn where_all_fail_nobody_is_left_out() {
    let (one, two) = (Origin::start("srv2"), Origin::start("srv3"));
    let (edge, address) = balancer(vec![backend("srv2", one.address, 1), backend("srv3", two.address, 1)]);
    for _ in 0..40 {
        assert_eq!(get(address, "/status/503").status, 503);
    }
    assert!(edge.report().backends.iter().all(|backend| !backend.left_out));
}

#[test]
fn one_that_is_left_out_has_what_nobody_else_takes() {
    let (active, passive) = (Origin::start("srv2"), Origin::start("srv3"));
    let (edge, address) = balancer(vec![backend("srv2", active.address, 1), backup("srv3", passive.address)]);
    for _ in 0..5 {
        assert_eq!(get(address, "/status/503").status, 503);
    }
    assert_eq!(get(address, "/").name(), "srv3");
    passive.kill();
    assert_eq!(get(address, "/").name(), "srv2", "the connection to srv3 is refused");
    until_backend(&edge, "srv3", Down);
    assert_eq!(get(address, "/").name(), "srv2");
}

#[test]
fn how_long_backends_take_is_known_for_each_and_so_is_who_was_asked_again() {
    let (instance, gone) = (Origin::start("app-1"), Origin::start("srv3"));
    let backends = vec![BackendPlan::new("srv2", Target::ThisServer), backend("srv3", gone.address, 1)];
    // Nothing but requests tells that it is gone.
    let slow = |mut pool: PoolPlan| {
        (pool.check.interval_ms, pool.max_fails) = (60_000, 0);
        pool
    };
    let balancer = pool(backends).map(slow);
    let local = pool(vec![backend("app-1", instance.address, 1)]);
    let (edge, address) = edge("http", EdgePlan { balancer, local, ..plan() });
    until_backend(&edge, "srv2", Up);
    until_backend(&edge, "srv3", Up);
    gone.kill();
    for _ in 0..4 {
        assert_eq!(get(address, "/nap").name(), "app-1");
    }
    let [this, other, app] = &edge.report().backends[..] else { panic!("three backends") };
    for backend in [this, app] {
        assert_eq!((backend.requests, backend.retries), (4, other.failures), "{backend:?}");
        assert_eq!(backend.first_byte.buckets.iter().sum::<u64>(), 4);
        assert_eq!(backend.first_byte.buckets[..2], [0, 0], "it takes 3 ms: {backend:?}");
        assert!(backend.first_byte_p99_ms >= backend.first_byte_p50_ms && backend.first_byte_p50_ms > Some(2.5));
    }
    assert!(other.failures > 0 && other.requests == other.failures, "{other:?}");
    assert_eq!((other.retries, other.first_byte_p50_ms), (0, None));
    assert_eq!(other.first_byte.buckets.iter().sum::<u64>(), 0);
}
