//! What passes through, and how it is changed on the way.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::Ordering::SeqCst;

use triad_model::ServerName;
use triad_proxy::{BackendPlan, Edge, EdgePlan, Target};
use triad_tls::Authority;

use crate::bed::*;

fn local(origin: &Origin) -> (Edge, SocketAddr) {
    edge("http", EdgePlan { local: pool(vec![backend("app-1", origin.address, 1)]), ..plan() })
}

pub fn server(name: &str) -> ServerName {
    ServerName::new(name).expect("a server's name")
}

/// An edge on `srv2` in front of `origin`, reached over mutual TLS.
pub fn hop_edge(authority: &Authority, origin: SocketAddr) -> (Edge, SocketAddr) {
    let identity = authority.identity(&server("srv2")).expect("an identity");
    let local = pool(vec![backend("app-1", origin, 1)]);
    edge("hop", EdgePlan { identity: Some(identity), local, ..plan() })
}

/// The plan of a balancer on `srv1` that sends to `hop` as `srv2`.
pub fn front_plan(authority: &Authority, hop: SocketAddr) -> EdgePlan {
    let target = Target::MutualTls { address: hop, server_name: triad_tls::internal_name(&server("srv2")) };
    let srv2 = BackendPlan::new("srv2", target);
    EdgePlan {
        redirect_to_https: true,
        site_certificate: Some(authority.site(&plan().hosts).expect("a certificate")),
        identity: Some(authority.identity(&server("srv1")).expect("an identity")),
        balancer: pool(vec![srv2]),
        ..plan()
    }
}

#[test]
fn a_request_crosses_https_and_the_mutual_tls_hop() {
    let authority = Authority::generate("test").expect("an authority");
    let origin = Origin::start("app-1");
    let (back, hop) = hop_edge(&authority, origin.address);
    let (front, address) = edge("https", front_plan(&authority, hop));
    let mut client = connect_tls(address, authority.certificate_pem());
    let request = format!(
        "GET /page?q=1 HTTP/1.1\nHost: {HOST}\nX-Forwarded-For: 203.0.113.9\nX-Request-Id: {}\nForwarded: for=x\n\
         X-Forwarded-Proto: http\nConnection: keep-alive, X-Secret\nX-Secret: 1\nX-Kept: 2\n\n",
        "0".repeat(32)
    );
    let reply = exchange(&mut client, &request);
    let id = reply.header("x-request-id").expect("an id").to_owned();
    assert_ne!(id, "0".repeat(32), "a stranger's id is not taken");
    let expected = format!(
        "app-1\nGET /page?q=1\nhost: \"{HOST}\"\nx-forwarded-for: \"127.0.0.1, 127.0.0.1\"\n\
         x-forwarded-host: \"{HOST}\"\nx-forwarded-proto: \"https\"\nx-kept: \"2\"\nx-request-id: \"{id}\""
    );
    assert_eq!(reply.text(), expected);
    drop(client);
    until("both have counted the request and no check", || {
        [&front, &back].iter().all(|edge| edge.report().requests_total() == 1)
    });
}

#[test]
fn the_hop_is_closed_to_whom_the_authority_does_not_know() {
    let (authority, stranger) = (Authority::generate("test"), Authority::generate("other"));
    let (authority, stranger) = (authority.expect("an authority"), stranger.expect("an authority"));
    let origin = Origin::start("app-1");
    let (back, hop) = hop_edge(&authority, origin.address);
    let (_front, address) = edge("https", front_plan(&stranger, hop));
    let mut client = connect_tls(address, stranger.certificate_pem());
    let reply = exchange(&mut client, &format!("GET / HTTP/1.1\nHost: {HOST}\n\n"));
    assert_eq!(reply.status, 503);
    until("the failed handshake is counted", || back.report().handshake_failures > 0);
    assert_eq!(origin.state.requests.load(SeqCst), 0);
}

#[test]
fn a_plain_hop_is_closed_to_addresses_that_do_not_send_here() {
    let origin = Origin::start("app-1");
    let local = pool(vec![backend("app-1", origin.address, 1)]);
    let (edge, address) = edge("hop", EdgePlan { local, hop_from: Vec::new(), ..plan() });
    let mut bytes = Vec::new();
    let mut client = connect(address);
    let _ = write!(client, "GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    // Closed without a word, or reset because it did not read what we sent.
    let _ = client.read_to_end(&mut bytes);
    assert_eq!(bytes, b"");
    assert_eq!(edge.report().requests_total(), 0);
}

#[test]
fn plain_http_is_redirected_to_the_same_place() {
    let authority = Authority::generate("test").expect("an authority");
    let (_edge, address) = edge("http", front_plan(&authority, nowhere()));
    let reply = exchange(&mut connect(address), "GET /a?b=c HTTP/1.1\nHost: FooBar.com:80\n\n");
    assert_eq!((reply.status, reply.header("location")), (308, Some("https://foobar.com/a?b=c")));
}

#[test]
fn what_is_not_for_this_site_is_refused() {
    let origin = Origin::start("app-1");
    let (edge, address) = local(&origin);
    let status = |request: &str| exchange(&mut connect(address), request).status;
    assert_eq!(status("GET / HTTP/1.1\nHost: evil.example\n\n"), 421);
    assert_eq!(status("GET / HTTP/1.1\n\n"), 400);
    assert_eq!(status(&format!("GET / HTTP/1.1\nHost: {HOST}\nHost: evil.example\n\n")), 400);
    assert_eq!(status(&format!("GET http://evil.example/ HTTP/1.1\nHost: {HOST}\n\n")), 421);
    assert_eq!(status(&format!("TRACE / HTTP/1.1\nHost: {HOST}\n\n")), 501);
    assert_eq!(status(&format!("CONNECT {HOST}:443 HTTP/1.1\nHost: {HOST}\n\n")), 501);
    assert_eq!(origin.state.requests.load(SeqCst), 0);
    until("all are counted", || edge.report().requests_total() == 6);
    let others = edge.report().requests.iter().filter(|row| row.site == "other").map(|row| row.count).sum::<u64>();
    assert_eq!(others, 4);
}

#[test]
fn files_are_answered_here_and_the_rest_by_the_application() {
    let origin = Origin::start("app-1");
    let root = tempfile::tempdir().expect("a folder");
    std::fs::write(root.path().join("style.css"), "body {}").expect("a file");
    let local = pool(vec![backend("app-1", origin.address, 1)]);
    let (_edge, address) = edge("http", EdgePlan { root: Some(root.path().to_owned()), local, ..plan() });
    assert_eq!(get(address, "/style.css").text(), "body {}");
    assert_eq!(origin.state.requests.load(SeqCst), 0);
    assert_eq!(get(address, "/page").name(), "app-1");
}

#[test]
fn without_an_application_a_missing_file_is_not_found() {
    let (_edge, address) = edge("http", plan());
    assert_eq!(get(address, "/page").status, 404);
}

#[test]
fn large_bodies_stream_both_ways() {
    let origin = Origin::start("app-1");
    let (_edge, address) = local(&origin);
    let mut client = connect(address);
    let body: Vec<u8> = (0..5_000_000u32).map(|byte| byte as u8).collect();
    write!(client, "POST /echo HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {}\r\n\r\n", body.len()).expect("sent");
    let mut sending = client.try_clone().expect("a second handle");
    let upload = body.clone();
    let sender = std::thread::spawn(move || sending.write_all(&upload).expect("sent"));
    let reply = read_reply(&mut client);
    sender.join().expect("sent");
    assert_eq!(reply.status, 200);
    assert!(reply.body == body, "{} bytes came back", reply.body.len());
}

#[test]
fn a_body_that_breaks_off_is_the_clients_fault() {
    let origin = Origin::start("app-1");
    let (edge, address) = local(&origin);
    let mut client = connect(address);
    write!(client, "POST /never HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 10\r\n\r\nabc").expect("sent");
    origin.until_asked(1);
    client.shutdown(std::net::Shutdown::Write).expect("half closed");
    until("it is over", || edge.report().requests_total() == 1);
    let report = edge.report();
    assert_eq!((report.requests[0].code, report.backends[0].failures), (400, 0), "{report:?}");
}

#[test]
fn two_lengths_for_one_body_do_not_reach_the_application() {
    let origin = Origin::start("app-1");
    let (_edge, address) = local(&origin);
    let request =
        format!("POST /echo HTTP/1.1\nHost: {HOST}\nContent-Length: 4\nTransfer-Encoding: chunked\n\n5\nabcde\n0\n\n");
    assert_eq!(exchange(&mut connect(address), &request).status, 400);
    assert_eq!(origin.state.requests.load(SeqCst), 0);
}

#[test]
fn a_kept_connection_needs_one_connection_to_the_backend() {
    let origin = Origin::start("app-1");
    let (_edge, address) = local(&origin);
    let mut client = connect(address);
    for _ in 0..20 {
        assert_eq!(exchange(&mut client, &format!("GET / HTTP/1.1\nHost: {HOST}\n\n")).status, 200);
        let request = format!("POST /echo HTTP/1.1\nHost: {HOST}\nTransfer-Encoding: chunked\n\n3\nabc\n0\n\n");
        assert_eq!(exchange(&mut client, &request).text(), "abc");
    }
    assert_eq!(origin.state.requests.load(SeqCst), 40);
    assert_eq!(origin.state.connections.load(SeqCst), 1);
}

#[test]
fn a_head_request_gets_the_head_of_the_answer() {
    let origin = Origin::start("app-1");
    let (_edge, address) = local(&origin);
    let mut client = connect(address);
    write!(client, "HEAD / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n").expect("sent");
    let mut text = String::new();
    client.read_to_string(&mut text).expect("an answer");
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("\r\n\r\n"), "{text}");
    assert!(text.contains("content-length: "), "{text}");
}

#[test]
fn a_switch_of_protocols_passes_through() {
    let (_edge, address) = edge("http", EdgePlan { local: pool(vec![backend("app-1", shouter(), 1)]), ..plan() });
    let mut client = connect(address);
    let reply = exchange(&mut client, &shout());
    assert_eq!((reply.status, reply.header("upgrade")), (101, Some("shout")));
    client.write_all(b"hello").expect("sent");
    let mut word = [0; 5];
    client.read_exact(&mut word).expect("a word");
    assert_eq!(&word, b"HELLO");
}
