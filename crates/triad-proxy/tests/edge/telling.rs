//! What applications and logs are told of a request: its trace, and for whom it comes in RFC 7239's words.

use std::net::SocketAddr;
use std::path::Path;

use triad_model::{HeaderRules, Headers, Trace};
use triad_proxy::{BackendPlan, Edge, EdgePlan, Target};

use crate::bed::*;

const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A front, and an edge behind it with the application, both with logs in `folder`.
fn site(folder: &Path, origin: &Origin, headers: Headers) -> ([Edge; 2], SocketAddr) {
    let log = |name: &str| Some(folder.join(name));
    let local = pool(vec![backend("app-1", origin.address, 1)]);
    let (back, hop) = edge("hop", EdgePlan { local, access_log: log("back"), ..plan() });
    let balancer = pool(vec![BackendPlan::new("srv2", Target::Plain(hop))]);
    let (front, address) = edge("http", EdgePlan { balancer, headers, access_log: log("front"), ..plan() });
    ([front, back], address)
}

fn ask(address: SocketAddr, fields: &str) -> Reply {
    exchange(&mut connect(address), &format!("GET / HTTP/1.1\nHost: {HOST}\n{fields}Connection: close\n\n"))
}

/// What the application saw of `name`.
fn seen(reply: &Reply, name: &str) -> Vec<String> {
    let text = reply.text();
    let lines = text.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|(have, _)| *have == name).map(|(_, value)| value.trim_matches('"').to_owned()).collect()
}

#[test]
fn a_users_trace_is_passed_on_unchanged_and_logged_at_every_edge() {
    let (folder, origin) = (tempfile::tempdir().expect("a folder"), Origin::start("app-1"));
    let headers = Headers { trace: Some(Trace::Unsampled), ..Headers::default() };
    let (edges, address) = site(folder.path(), &origin, headers);
    let parent = format!("00-{ID}-00f067aa0ba902b7-01");
    let given = ask(address, &format!("traceparent: {parent}\ntracestate: a=1\nTracestate: b=2\n"));
    assert_eq!(seen(&given, "traceparent"), [parent]);
    assert_eq!(seen(&given, "tracestate"), ["a=1", "b=2"]);
    let broken = ask(address, "traceparent: 00-nonsense\ntracestate: a=1\n");
    let [made] = &seen(&broken, "traceparent")[..] else { panic!("one is made: {broken:?}") };
    let id = broken.header("x-request-id").expect("an id");
    assert!(made.starts_with(&format!("00-{id}-")) && made.ends_with("-00") && made.len() == 55, "{made}");
    assert!(seen(&broken, "tracestate").is_empty(), "a state without a trace says nothing");
    until("all is counted", || edges.iter().all(|edge| edge.report().requests_total() == 2));
    drop(edges);
    for log in ["front", "back"] {
        let text = std::fs::read_to_string(folder.path().join(log)).expect("a log");
        let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("an object"));
        let ids: Vec<_> = lines.map(|line| line["trace_id"].as_str().map(str::to_owned)).collect();
        assert_eq!(ids, [Some(ID.to_owned()), Some(id.to_owned())], "{log}");
    }
}

#[test]
fn traces_begin_only_where_the_file_says_so() {
    let (folder, origin) = (tempfile::tempdir().expect("a folder"), Origin::start("app-1"));
    let (_edges, address) = site(folder.path(), &origin, Headers::default());
    assert!(seen(&ask(address, ""), "traceparent").is_empty());
    assert!(seen(&ask(address, "traceparent: 00-nonsense\n"), "traceparent").is_empty());
    let remove = HeaderRules { remove: vec!["traceparent".to_owned()], ..HeaderRules::default() };
    let headers = Headers { request: remove, trace: Some(Trace::Sampled), ..Headers::default() };
    let (_edges, address) = site(folder.path(), &origin, headers);
    let reply = ask(address, &format!("traceparent: 00-{ID}-00f067aa0ba902b7-01\ntracestate: a=1\n"));
    assert!(seen(&reply, "traceparent").is_empty() && seen(&reply, "tracestate").is_empty(), "{reply:?}");
}

#[test]
fn forwarded_names_the_client_and_the_edges_on_the_way_and_no_stranger_writes_it() {
    let (folder, origin) = (tempfile::tempdir().expect("a folder"), Origin::start("app-1"));
    let (_edges, address) = site(folder.path(), &origin, Headers { forwarded: true, ..Headers::default() });
    let reply = ask(address, "Forwarded: for=203.0.113.99\nforwarded: by=evil\n");
    assert_eq!(seen(&reply, "forwarded"), [r#"for=127.0.0.1;host=\"www.foobar.com\";proto=http, for=127.0.0.1"#]);
    assert_eq!(seen(&reply, "x-forwarded-for"), ["127.0.0.1, 127.0.0.1"]);
    let (_edges, address) = site(folder.path(), &origin, Headers::default());
    assert!(seen(&ask(address, "Forwarded: for=203.0.113.99\n"), "forwarded").is_empty());
}
