//! The PROXY protocol on its way in: forwarders say who the client is.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use triad_model::{Algorithm, Limits};
use triad_proxy::{Edge, EdgePlan};
use triad_tls::{ALPN_HTTP2, Authority};

use crate::bed::*;
use crate::http2;

/// What all tests take for a forwarder: themselves.
const HERE: &str = "127.0.0.1";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// An edge in front of `origin` that believes `forwarder`.
fn edge_behind(forwarder: &str, origin: &Origin) -> (Edge, SocketAddr) {
    edge("http", plan_behind(forwarder, origin))
}

fn plan_behind(forwarder: &str, origin: &Origin) -> EdgePlan {
    let forwarder = forwarder.parse::<std::net::IpAddr>().expect("an address");
    let local = pool(vec![backend("app-1", origin.address, 1)]);
    EdgePlan { local, proxy_protocol_from: vec![forwarder.into()], ..plan() }
}

/// A header of version 1 for a client at `address`.
fn v1(address: &str) -> Vec<u8> {
    let (family, here) = if address.contains(':') { ("TCP6", "::1") } else { ("TCP4", HERE) };
    format!("PROXY {family} {address} {here} 4711 443\r\n").into_bytes()
}

/// A header of version 2.
fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).expect("short").to_be_bytes();
    [SIGNATURE, &[command, family], &length, block].concat()
}

fn request() -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n").into_bytes()
}

/// Sends `header` and a request in one piece.
fn get_behind(address: SocketAddr, header: &[u8]) -> Reply {
    let mut forwarder = connect(address);
    forwarder.write_all(&[header, &request()].concat()).expect("sent");
    read_reply(&mut forwarder)
}

/// Whom the application takes for the client.
fn client_of(reply: &Reply) -> String {
    client_in(&reply.text())
}

fn client_in(text: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix("x-forwarded-for: ")).unwrap_or_default();
    line.trim_matches('"').to_owned()
}

/// Everything that comes back on a connection that begins with `bytes`; how it is closed does not matter.
fn all_of(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let (mut forwarder, mut answer) = (connect(address), Vec::new());
    let _ = forwarder.write_all(bytes);
    let _ = forwarder.read_to_end(&mut answer);
    answer
}

#[test]
fn the_client_is_whom_a_header_names() {
    let origin = Origin::start("app-1");
    let (edge, address) = edge_behind(HERE, &origin);
    let block4 = [203, 0, 113, 9, 127, 0, 0, 1, 0x12, 0x67, 1, 0xbb];
    let mut block6 = [0; 36];
    block6[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    block6[15] = 9;
    let with_checksum = [&block4[..], &[3, 0, 4], &checksum_of(&block4).to_be_bytes()].concat();
    let cases = [
        ("203.0.113.9", v1("203.0.113.9")),
        ("2001:db8::9", v1("2001:db8::9")),
        ("203.0.113.9", v1("::ffff:203.0.113.9")),
        ("203.0.113.9", v2(0x21, 0x11, &block4)),
        ("2001:db8::9", v2(0x21, 0x21, &block6)),
        ("203.0.113.9", v2(0x21, 0x11, &with_checksum)),
        (HERE, b"PROXY UNKNOWN\r\n".to_vec()),
        (HERE, v2(0x20, 0x00, b"")),
        (HERE, v2(0x20, 0x11, &block4)),
        (HERE, v2(0x21, 0x31, &[b'/'; 216])),
    ];
    for (client, header) in &cases {
        assert_eq!(client_of(&get_behind(address, header)), *client, "{header:?}");
    }
    assert_eq!(edge.report().proxy_headers_refused, 0);
    until("all have ended", || edge.report().connections == 0);
}

/// CRC-32C of a header of version 2 with `block` and a checksum, by tables as others have it.
fn checksum_of(block: &[u8]) -> u32 {
    let table: Vec<u32> = (0..256u32)
        .map(|byte| (0..8).fold(byte, |crc, _| if crc % 2 == 1 { (crc / 2) ^ 0x82f6_3b78 } else { crc / 2 }))
        .collect();
    let header = v2(0x21, 0x11, &[block, &[3, 0, 4, 0, 0, 0, 0]].concat());
    !header.iter().fold(!0, |crc: u32, byte| table[usize::from(crc as u8 ^ byte)] ^ (crc >> 8))
}

#[test]
fn a_header_may_come_byte_by_byte() {
    let origin = Origin::start("app-1");
    let (_edge, address) = edge_behind(HERE, &origin);
    let block = [203, 0, 113, 9, 127, 0, 0, 1, 0x12, 0x67, 1, 0xbb, 4, 0, 1, 0];
    for header in [v1("203.0.113.9"), v2(0x21, 0x11, &block)] {
        let mut forwarder = connect(address);
        forwarder.set_nodelay(true).expect("no delay");
        for byte in [header, request()].concat() {
            forwarder.write_all(&[byte]).expect("sent");
            // So that it is read alone.
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(client_of(&read_reply(&mut forwarder)), "203.0.113.9");
    }
}

#[test]
fn a_header_comes_before_tls() {
    let origin = Origin::start("app-1");
    let authority = Authority::generate("test").expect("an authority");
    let site_certificate = Some(authority.site(&plan().hosts).expect("a certificate"));
    let (edge, address) = edge("https", EdgePlan { site_certificate, ..plan_behind(HERE, &origin) });
    let mut forwarder = connect(address);
    forwarder.write_all(&v1("203.0.113.9")).expect("sent");
    let mut client = tls_over(forwarder, authority.certificate_pem());
    let reply = exchange(&mut client, &format!("GET / HTTP/1.1\nHost: {HOST}\n\n"));
    assert_eq!(client_of(&reply), "203.0.113.9");
    assert!(reply.text().contains("x-forwarded-proto: \"https\""), "{reply:?}");
    let mut other = connect_tls(address, authority.certificate_pem());
    assert!(other.write_all(&request()).is_err(), "a handshake is no header");
    until("it is counted", || edge.report().proxy_headers_refused == 1);
    assert_eq!(edge.report().handshake_failures, 0, "it never came so far");
}

#[test]
fn streams_of_http2_behind_a_header_are_its_clients() {
    let origin = Origin::start("app-1");
    let authority = Authority::generate("test").expect("an authority");
    let site_certificate = Some(authority.site(&plan().hosts).expect("a certificate"));
    let (_edge, address) = edge("https", EdgePlan { site_certificate, ..plan_behind(HERE, &origin) });
    let mut forwarder = connect(address);
    forwarder.write_all(&v1("203.0.113.9")).expect("sent");
    forwarder.set_nonblocking(true).expect("non-blocking");
    let clients = http2::run(async {
        let tcp = tokio::net::TcpStream::from_std(forwarder).expect("a stream");
        let client = http2::client(http2::handshake(tcp, &authority, &[ALPN_HTTP2]).await).await;
        let ask = || async { http2::ask(&client, http2::request("GET", "/")).await.expect("an answer").text() };
        [client_in(&ask().await), client_in(&ask().await)]
    });
    assert_eq!(clients, ["203.0.113.9"; 2]);
}

#[test]
fn the_longest_header_is_taken_whole_and_nothing_behind_it() {
    let origin = Origin::start("app-1");
    let (_edge, address) = edge_behind(HERE, &origin);
    let block = [203, 0, 113, 9, 127, 0, 0, 1, 0x12, 0x67, 1, 0xbb];
    let filler = 4096 - block.len() - 3;
    let tlv =
        |length: usize| [&[4][..], &u16::try_from(length).expect("short").to_be_bytes(), &vec![0; length]].concat();
    let header = |filler| v2(0x21, 0x11, &[&block[..], &tlv(filler)].concat());
    assert_eq!(client_of(&get_behind(address, &header(filler))), "203.0.113.9");
    assert_eq!(all_of(address, &[header(filler + 1), request()].concat()), b"");
}

#[test]
fn who_forwards_changes_with_a_reload() {
    let origin = Origin::start("app-1");
    let (edge, address) = edge_behind(HERE, &origin);
    assert_eq!(client_of(&get_behind(address, &v1("203.0.113.9"))), "203.0.113.9");
    edge.reload(plan_behind("127.0.0.2", &origin)).expect("a plan");
    assert_eq!(get_behind(address, &v1("203.0.113.9")).status, 400);
    assert_eq!(client_of(&get_behind(address, b"")), HERE);
}

/// Long before its header is late.
#[test]
fn a_silent_forwarder_holds_no_drain() {
    let origin = Origin::start("app-1");
    let (edge, address) = edge_behind(HERE, &origin);
    let silent = connect(address);
    let mut partial = connect(address);
    partial.write_all(b"PROXY TCP4").expect("sent");
    until("both are open", || edge.report().connections == 2);
    assert_eq!(edge.drain(Duration::from_secs(4)), 0, "none had to be cut");
    drop((silent, partial));
}

/// What its forwarder is about to say may be on its way.
#[test]
fn a_retired_edge_waits_for_a_forwarder_as_for_a_request() {
    let origin = Origin::start("app-1");
    let (edge, address) = edge_behind(HERE, &origin);
    let mut late = connect(address);
    until("it is open", || edge.report().connections == 1);
    edge.retire(Duration::from_secs(60), Duration::from_secs(60));
    // Time to close it, for an edge that would.
    std::thread::sleep(Duration::from_millis(100));
    late.write_all(&[v1("203.0.113.9"), request()].concat()).expect("sent");
    assert_eq!(client_of(&read_reply(&mut late)), "203.0.113.9");
    until("nothing is left to do", || edge.is_done());
}

#[test]
fn a_forwarder_without_a_header_is_closed_without_an_answer() {
    let origin = Origin::start("app-1");
    let (edge, address) = edge_behind(HERE, &origin);
    let cases = [
        request(),
        [b" ", &v1("203.0.113.9")[..], &request()].concat(),
        [b"PROXY TCP4 203.0.113.9 127.0.0.1 4711\r\n", &request()[..]].concat(),
        [v2(0x21, 0x11, b"short"), request()].concat(),
        [v2(0x21, 0x11, &[0; 5000]), request()].concat(),
        [b"PROXY UNKNOWN ", &[b'x'; 200][..]].concat(),
    ];
    for bytes in &cases {
        assert_eq!(all_of(address, bytes), b"", "{bytes:?}");
    }
    until("all are counted", || edge.report().proxy_headers_refused == cases.len() as u64);
    let mut partial = connect(address);
    partial.write_all(b"PROXY TCP4 203.0.113.9").expect("sent");
    partial.shutdown(std::net::Shutdown::Write).expect("half closed");
    until("one that breaks off counts", || edge.report().proxy_headers_refused == cases.len() as u64 + 1);
    drop(connect(address));
    assert_eq!(get_behind(address, &v1("203.0.113.9")).status, 200);
    until("all have ended", || edge.report().connections == 0);
    assert_eq!(edge.report().proxy_headers_refused, cases.len() as u64 + 1, "a look at the port does not count");
    assert_eq!(origin.state.requests.load(SeqCst), 1);
}

#[test]
fn a_stranger_is_not_listened_to() {
    let origin = Origin::start("app-1");
    let (edge, address) = edge_behind("127.0.0.2", &origin);
    for header in [v1("203.0.113.9"), v2(0x21, 0x11, &[0; 12])] {
        let answer = all_of(address, &[header, request()].concat());
        assert!(answer.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(client_of(&get_behind(address, b"")), HERE, "nothing is expected of it either");
    assert_eq!(origin.state.requests.load(SeqCst), 1);
    assert_eq!(edge.report().proxy_headers_refused, 0);
}

#[test]
fn of_two_headers_the_first_counts_and_the_second_is_no_request() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("access.log");
    let origin = Origin::start("app-1");
    let (edge, address) = edge("http", EdgePlan { access_log: Some(log.clone()), ..plan_behind(HERE, &origin) });
    let answer = all_of(address, &[v1("203.0.113.9"), v1("198.51.100.1"), request()].concat());
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(get_behind(address, &v1("203.0.113.8")).status, 200);
    edge.drain(Duration::from_secs(20));
    let text = std::fs::read_to_string(log).expect("a log");
    let line = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("an object");
    let clients: Vec<_> =
        text.lines().map(|text| (line(text)["client"].clone(), line(text)["status"].clone())).collect();
    assert_eq!(clients, [("203.0.113.9".into(), 400.into()), ("203.0.113.8".into(), 200.into())]);
}

#[test]
fn limits_are_the_announced_clients() {
    let origin = Origin::start("app-1");
    let limits = Limits { requests_per_s: Some(1), burst: 2, connections: Some(1), ..Limits::default() };
    let (edge, address) = edge("http", EdgePlan { limits: Some(limits), ..plan_behind(HERE, &origin) });
    // However many the forwarder has open, nobody's are counted before it says whose they are.
    let silent: Vec<TcpStream> = (0..3).map(|_| connect(address)).collect();
    let mut open = connect(address);
    open.write_all(&v1("203.0.113.9")).expect("sent");
    let keep = format!("GET / HTTP/1.1\nHost: {HOST}\n\n");
    assert_eq!(exchange(&mut open, &keep).status, 200);
    assert_eq!(all_of(address, &[v1("203.0.113.9"), request()].concat()), b"", "a second connection of one client");
    assert_eq!(edge.report().connections_refused, 1);
    assert_eq!(get_behind(address, &v1("203.0.113.8")).status, 200, "another client");
    assert_eq!(exchange(&mut open, &keep).status, 200);
    assert_eq!(exchange(&mut open, &keep).status, 429);
    drop((open, silent));
    until("all have ended", || edge.report().connections == 0);
    assert_eq!(get_behind(address, &v1("203.0.113.9")).status, 429, "it may connect again, and is remembered");
}

#[test]
fn a_hash_of_the_source_goes_by_the_announced_client() {
    let origins = ["srv2", "srv3", "srv4"].map(Origin::start);
    let backends = origins.iter().zip(["srv2", "srv3", "srv4"]).map(|(it, name)| backend(name, it.address, 1));
    let mut balancer = pool(backends.collect()).expect("a pool");
    balancer.algorithm = Algorithm::Source;
    let proxy_protocol_from = vec!["127.0.0.0/8".parse().expect("a network")];
    let (_edge, address) = edge("http", EdgePlan { balancer: Some(balancer), proxy_protocol_from, ..plan() });
    let names = || {
        let clients = (1..=24).map(|last| Ipv4Addr::new(203, 0, 113, last).to_string());
        clients.map(|client| get_behind(address, &v1(&client)).name()).collect::<Vec<_>>()
    };
    let first = names();
    assert_eq!(names(), first, "the same client, the same backend");
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 3, "many clients, all backends");
}

#[test]
fn another_edge_sends_no_header() {
    let origin = Origin::start("app-1");
    let (_edge, address) = edge("hop", plan_behind(HERE, &origin));
    assert_eq!(client_of(&get_behind(address, b"")), HERE);
}
