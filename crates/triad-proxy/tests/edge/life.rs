//! Reload, drain, the access log and what is counted.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use triad_model::Verdict::Up;
use triad_model::{AccessLog, LogField, LogFormat};
use triad_proxy::{Edge, EdgeError, EdgePlan};

use crate::bed::*;

#[test]
fn reloads_under_load_lose_no_request() {
    let (one, two) = (Origin::start("srv2"), Origin::start("srv3"));
    let plan_a = EdgePlan { balancer: pool(vec![backend("srv2", one.address, 1)]), ..plan() };
    let both = vec![backend("srv3", two.address, 3), backend("srv2", one.address, 1)];
    let plan_b = EdgePlan { balancer: pool(both), ..plan() };
    let (edge, address) = edge("http", plan_a.clone());
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (stop, answered) = (stop.clone(), answered.clone());
            std::thread::spawn(move || {
                let mut client = connect(address);
                while !stop.load(SeqCst) {
                    assert_eq!(exchange(&mut client, &format!("GET / HTTP/1.1\nHost: {HOST}\n\n")).status, 200);
                    answered.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    for round in 1..=10 {
        edge.reload(if round % 2 == 0 { plan_a.clone() } else { plan_b.clone() }).expect("a good plan");
        let seen = answered.load(SeqCst);
        until("requests go on", || answered.load(SeqCst) > seen + 20);
    }
    stop.store(true, SeqCst);
    clients.into_iter().for_each(|client| client.join().expect("every request was answered"));
    // A request is counted after the last byte of its answer, which its client has already.
    let all = answered.load(SeqCst) as u64;
    until("counters stay over reloads", || edge.report().requests_total() == all);
    assert!(two.state.requests.load(SeqCst) > 0, "the second plan was used");
}

#[test]
fn a_reload_keeps_what_is_known_of_unchanged_backends() {
    let origin = Origin::start("srv2");
    let good = EdgePlan { balancer: pool(vec![backend("srv2", origin.address, 1)]), ..plan() };
    let (edge, address) = edge("http", good.clone());
    get(address, "/");
    let more = vec![backend("srv2", origin.address, 1), backend("srv3", nowhere(), 1)];
    edge.reload(EdgePlan { balancer: pool(more), ..plan() }).expect("a good plan");
    let srv2 = &edge.report().backends[0];
    assert_eq!((srv2.name.as_str(), srv2.verdict, srv2.requests), ("srv2", Up, 1));
    assert!(matches!(edge.reload(EdgePlan { hosts: Vec::new(), ..good }), Err(EdgeError::Host(_))));
    assert_eq!(get(address, "/").name(), "srv2", "a bad plan changes nothing");
}

/// One that has had its answer and keeps its connection, and one whose request is under way.
fn an_idle_and_a_waiting_client(origin: &Origin, address: SocketAddr) -> [TcpStream; 2] {
    let mut idle = connect(address);
    exchange(&mut idle, &format!("GET / HTTP/1.1\nHost: {HOST}\n\n"));
    let mut waiting = connect(address);
    write!(waiting, "GET /wait HTTP/1.1\r\nHost: {HOST}\r\n\r\n").expect("sent");
    origin.until_asked(2);
    [idle, waiting]
}

#[test]
fn a_drain_answers_what_runs_and_closes_what_is_idle() {
    let origin = Origin::start("app-1");
    let (edge, address) = edge("http", EdgePlan { local: pool(vec![backend("app-1", origin.address, 1)]), ..plan() });
    let [mut idle, mut waiting] = an_idle_and_a_waiting_client(&origin, address);
    let draining = std::thread::spawn(move || edge.drain(Duration::from_secs(20)));
    assert_eq!(read_head(&mut idle), None, "an idle connection is closed at once");
    until("nobody accepts any more", || TcpStream::connect(address).is_err());
    origin.state.release.notify_waiters();
    let reply = read_reply(&mut waiting);
    assert_eq!((reply.status, reply.header("connection")), (200, Some("close")));
    assert_eq!(draining.join().expect("it ends"), 0, "no connection was cut");
}

#[test]
fn a_drain_ends_at_its_deadline() {
    let origin = Origin::start("app-1");
    let (edge, address) = edge("http", EdgePlan { local: pool(vec![backend("app-1", origin.address, 1)]), ..plan() });
    let mut waiting = connect(address);
    write!(waiting, "GET /never HTTP/1.1\r\nHost: {HOST}\r\n\r\n").expect("sent");
    origin.until_asked(1);
    assert_eq!(edge.drain(Duration::from_millis(100)), 1);
}

/// Two edges on the same sockets, as when one replaces the other; and where they listen.
fn old_and_new(plan: &EdgePlan) -> (Edge, Edge, SocketAddr) {
    let (address, listeners) = sockets();
    let again = listeners.iter().map(|listener| listener.try_clone().expect("the same socket")).collect();
    let start = |listeners| Edge::start(plan.clone(), vec![("http".to_owned(), listeners)]).expect("the edge starts");
    (start(listeners), start(again), address)
}

#[test]
fn an_edge_takes_over_from_another_under_load() {
    let origin = Origin::start("app-1");
    let plan = EdgePlan { local: pool(vec![backend("app-1", origin.address, 1)]), ..plan() };
    let (old, new, address) = old_and_new(&plan);
    let mut kept = connect(address);
    // Whoever accepted it is retired below, if it was the old one; it is asked until it is.
    until("the old one has a kept connection", || {
        kept = connect(address);
        let before = old.report().requests_total();
        assert_eq!(exchange(&mut kept, &format!("GET / HTTP/1.1\nHost: {HOST}\n\n")).status, 200);
        old.report().requests_total() > before
    });
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (stop, answered) = (stop.clone(), answered.clone());
            std::thread::spawn(move || {
                while !stop.load(SeqCst) {
                    assert_eq!(get(address, "/").status, 200);
                    answered.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    until("requests are answered", || answered.load(SeqCst) > 20);
    old.retire(Duration::from_secs(60), Duration::from_secs(60));
    let seen = answered.load(SeqCst);
    until("requests go on", || answered.load(SeqCst) > seen + 100);
    stop.store(true, SeqCst);
    clients.into_iter().for_each(|client| client.join().expect("every request was answered"));
    assert!(!old.is_done(), "a kept connection is not closed on a client that may just ask");
    let last = exchange(&mut kept, &format!("GET / HTTP/1.1\nHost: {HOST}\n\n"));
    assert_eq!((last.status, last.header("connection")), (200, Some("close")));
    until("the old one has nothing left", || old.is_done());
    let before = old.report().requests_total();
    assert_eq!(get(address, "/").status, 200);
    assert_eq!(old.report().requests_total(), before, "the old one takes nothing new");
    assert!(new.report().requests_total() > 0);
}

#[test]
fn a_retired_edge_holds_what_is_under_way_longer_than_what_is_idle() {
    let origin = Origin::start("app-1");
    let (edge, address) = edge("http", EdgePlan { local: pool(vec![backend("app-1", origin.address, 1)]), ..plan() });
    let [mut idle, mut waiting] = an_idle_and_a_waiting_client(&origin, address);
    edge.retire(Duration::from_millis(100), Duration::from_secs(60));
    assert_eq!(read_head(&mut idle), None, "an idle connection is closed when its time is over");
    assert!(!edge.is_done());
    origin.state.release.notify_waiters();
    let reply = read_reply(&mut waiting);
    assert_eq!((reply.status, reply.header("connection")), (200, Some("close")));
    until("nothing is left", || edge.is_done());
}

#[test]
fn a_retired_edge_holds_a_switched_connection() {
    let (edge, address) = edge("http", EdgePlan { local: pool(vec![backend("app-1", shouter(), 1)]), ..plan() });
    let mut client = connect(address);
    assert_eq!(exchange(&mut client, &shout()).status, 101);
    edge.retire(Duration::ZERO, Duration::from_secs(60));
    until("nobody accepts any more", || TcpStream::connect(address).is_err());
    assert!(!edge.is_done());
    client.write_all(b"hello").expect("sent");
    let mut word = [0; 5];
    client.read_exact(&mut word).expect("a word");
    assert_eq!(&word, b"HELLO");
    drop(client);
    until("nothing is left", || edge.is_done());
}

#[test]
fn a_retired_edge_cuts_what_is_held_too_long_and_sooner_when_it_is_told() {
    for told in [false, true] {
        let origin = Origin::start("app-1");
        let local = pool(vec![backend("app-1", origin.address, 1)]);
        let (edge, address) = edge("http", EdgePlan { local, ..plan() });
        let mut waiting = connect(address);
        write!(waiting, "GET /never HTTP/1.1\r\nHost: {HOST}\r\n\r\n").expect("sent");
        origin.until_asked(1);
        let hold = if told { Duration::from_secs(3600) } else { Duration::from_millis(100) };
        edge.retire(Duration::ZERO, hold);
        if told {
            assert_eq!(edge.drain(Duration::from_millis(100)), 1);
        } else {
            until("it is cut", || edge.is_done());
        }
        assert_eq!(read_head(&mut waiting), None);
    }
}

#[test]
fn the_access_log_has_one_line_for_each_request() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("access.log");
    let origin = Origin::start("app-1");
    let local = pool(vec![backend("app-1", origin.address, 1)]);
    let (edge, address) = edge("http", EdgePlan { local, access_log: Some(path.clone()), ..plan() });
    let request = "GET /a?secret=1 HTTP/1.1\nHost: foobar.com\nUser-Agent: test\nReferer: http://x/\n\n";
    let reply = exchange(&mut connect(address), request);
    // It has its answer before it is counted, and lines stand in the order in which requests were over.
    until("the first is over", || edge.report().requests_total() == 1);
    exchange(&mut connect(address), "GET / HTTP/1.1\nHost: evil.example\n\n");
    // Somebody who does not wait for the answer.
    let mut gone = connect(address);
    write!(gone, "GET /never HTTP/1.1\r\nHost: {HOST}\r\n\r\n").expect("sent");
    origin.until_asked(2);
    drop(gone);
    until("all three are over", || edge.report().requests_total() == 3);
    edge.drain(Duration::from_secs(20));
    let text = std::fs::read_to_string(path).expect("a log");
    let mut lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    assert_eq!(lines[0]["request_id"], reply.header("x-request-id").expect("an id"));
    for line in &mut lines {
        let line = line.as_object_mut().expect("an object");
        assert!(line.remove("ts").is_some_and(|ts| ts.as_str().is_some_and(|ts| ts.ends_with('Z') && ts.len() == 24)));
        let duration_ms = line.remove("duration_ms").and_then(|duration| duration.as_f64());
        assert!(duration_ms > Some(0.0), "{line:?}");
        let first_byte_ms = line.remove("first_byte_ms").and_then(|duration| duration.as_f64());
        assert_eq!(first_byte_ms.is_some(), line["status"] == 200, "{line:?}");
        assert!(first_byte_ms <= duration_ms, "{line:?}");
        line.remove("request_id");
        line.remove("bytes");
    }
    let expected = [
        r#"{"attempts":1,"backend":"app-1","client":"127.0.0.1","host":"foobar.com","method":"GET","path":"/a","protocol":"HTTP/1.1","referer":"http://x/","status":200,"user_agent":"test"}"#,
        r#"{"attempts":0,"client":"127.0.0.1","fault":"the request's Host (client)","host":"evil.example","method":"GET","path":"/","protocol":"HTTP/1.1","status":421}"#,
        r#"{"attempts":0,"client":"127.0.0.1","host":"www.foobar.com","method":"GET","path":"/never","protocol":"HTTP/1.1","status":499}"#,
    ];
    assert_eq!(lines.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
}

#[test]
fn the_access_log_is_as_the_file_says_and_a_reload_changes_that() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("access.log");
    let origin = Origin::start("app-1");
    let plan_with = |log| {
        let local = pool(vec![backend("app-1", origin.address, 1)]);
        EdgePlan { local, access_log: Some(path.clone()), log, ..plan() }
    };
    let fields = vec![LogField::Status, LogField::Path, LogField::Backend];
    let (edge, address) = edge("http", plan_with(AccessLog { fields, ..AccessLog::default() }));
    let ask = || {
        let fields = "User-Agent: \"quoted\" \\\nReferer: http://x/\n";
        let request = format!("GET /a?secret=1 HTTP/1.1\nHost: {HOST}\n{fields}Connection: close\n\n");
        exchange(&mut connect(address), &request).body.len()
    };
    ask();
    until("it is over", || edge.report().requests_total() == 1);
    edge.reload(plan_with(AccessLog { format: LogFormat::Combined, ..AccessLog::default() })).expect("a plan");
    let bytes = ask();
    exchange(&mut connect(address), "nonsense\n\n");
    until("all are over", || edge.report().requests_total() == 3);
    edge.drain(Duration::from_secs(20));
    let text = std::fs::read_to_string(path).expect("a log");
    let [json, combined, nonsense] = &text.lines().collect::<Vec<_>>()[..] else { panic!("three lines: {text}") };
    assert_eq!(*json, r#"{"path":"/a","status":200,"backend":"app-1"}"#);
    let (start, rest) = combined.split_once(" [").expect("a time");
    let (time, rest) = rest.split_once("] ").expect("its end");
    assert_eq!(start, "127.0.0.1 - -");
    assert!(time.len() == "28/Nov/2026:20:52:51 +0000".len() && time.ends_with(" +0000"), "{time}");
    let request = format!("\"GET /a HTTP/1.1\" 200 {bytes} \"http://x/\" ");
    assert_eq!(rest, request + r#""\x22quoted\x22 \x5C""#);
    assert!(nonsense.contains("] \"-\" 400 "), "{nonsense}");
}

#[test]
fn a_disk_that_takes_nothing_costs_lines_and_no_request() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("access.log");
    let made = std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo is there");
    assert!(made.success());
    // A pipe that somebody has open and never reads.
    let stuck = std::fs::OpenOptions::new().read(true).write(true).open(&path).expect("a pipe");
    let origin = Origin::start("app-1");
    let local = pool(vec![backend("app-1", origin.address, 1)]);
    let (edge, address) = edge("http", EdgePlan { local, access_log: Some(path), ..plan() });
    let long = "a".repeat(500);
    let request = format!("GET /{long} HTTP/1.1\nHost: {HOST}\nUser-Agent: {long}\nReferer: {long}\n\n");
    let mut client = connect(address);
    until("lines are dropped", || {
        (0..100).for_each(|_| assert_eq!(exchange(&mut client, &request).status, 200));
        edge.report().log_dropped > 0
    });
    assert_eq!(get(address, "/").status, 200);
    // Else the log could not end.
    drop(stuck);
}

#[test]
fn sockets_that_do_not_fit_together_are_refused() {
    let (_, listeners) = sockets();
    let (_, mut fewer) = sockets();
    fewer.pop();
    let refused = |sockets| Edge::start(plan(), sockets).err().map(|error| error.to_string());
    let error = refused(vec![("http".to_owned(), listeners), ("hop".to_owned(), fewer)]);
    assert!(error.is_some_and(|error| error.contains("\"hop\" are not as many")));
    let error = refused(vec![("gopher".to_owned(), Vec::new())]);
    assert!(error.is_some_and(|error| error.contains("\"gopher\" have a name the edge does not know")));
}
