//! The PROXY protocol on its way out: instances are told who the client is.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use triad_model::ProxyProtocol;
use triad_model::Verdict::Up;
use triad_proxy::{BackendPlan, EdgePlan, Target};

use crate::bed::*;

/// A connection as an instance sees it: its header, and the first lines of its requests.
#[derive(Clone, Debug, Default)]
struct Seen {
    header: Vec<u8>,
    requests: Vec<String>,
}

impl Seen {
    fn is_check(&self) -> bool {
        self.requests.iter().all(|request| request.starts_with("GET /up "))
    }
}

/// An application that insists on a header, and would keep its connections.
struct Instance {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Instance {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let connections = seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let connections = connections.clone();
                std::thread::spawn(move || serve(stream, &connections));
            }
        });
        Self { address, seen }
    }

    /// Connections that carried requests or checks.
    fn seen(&self, checks: bool) -> Vec<Seen> {
        let seen = self.seen.lock().expect("seen");
        seen.iter().filter(|one| !one.requests.is_empty() && one.is_check() == checks).cloned().collect()
    }

    fn backend(&self, version: ProxyProtocol) -> BackendPlan {
        BackendPlan { proxy_protocol: Some(version), ..backend("app-1", self.address, 1) }
    }
}

fn serve(mut stream: TcpStream, connections: &Mutex<Vec<Seen>>) {
    let Some(header) = read_header(&mut stream) else { return };
    let number = {
        let mut connections = connections.lock().expect("seen");
        connections.push(Seen { header, requests: Vec::new() });
        connections.len() - 1
    };
    while let Some(head) = read_head(&mut stream) {
        let first = head.lines().next().unwrap_or_default().to_owned();
        connections.lock().expect("seen")[number].requests.push(first);
        if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").is_err() {
            return;
        }
    }
}

/// A header of either version, by its own rules.
fn read_header(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 2];
    stream.read_exact(&mut bytes).ok()?;
    let mut more = |bytes: &mut Vec<u8>, count: usize| {
        let before = bytes.len();
        bytes.resize(before + count, 0);
        stream.read_exact(&mut bytes[before..]).ok()
    };
    if bytes == b"PR" {
        while !bytes.ends_with(b"\r\n") {
            more(&mut bytes, 1)?;
        }
        return Some(bytes);
    }
    more(&mut bytes, 14)?;
    let length = u16::from_be_bytes([bytes[14], bytes[15]]);
    more(&mut bytes, length.into())?;
    Some(bytes)
}

/// A header of version 2 for `client` at `port`, sent to `instance`.
fn v2(client: [u8; 4], port: u16, instance: SocketAddr) -> Vec<u8> {
    let fixed: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c";
    [fixed, &client, &[127, 0, 0, 1], &port.to_be_bytes(), &instance.port().to_be_bytes()].concat()
}

#[test]
fn each_request_has_a_connection_that_begins_with_the_client() {
    for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
        let instance = Instance::start();
        let plan = EdgePlan { local: pool(vec![instance.backend(version)]), ..plan() };
        let (edge, address) = edge("http", plan);
        until_backend(&edge, "app-1", Up);
        let mut clients = [connect(address), connect(address)];
        let ports = clients.each_ref().map(|client| client.local_addr().expect("connected").port());
        for index in [0, 0, 1, 0, 1] {
            let request = format!("GET /{index} HTTP/1.1\nHost: {HOST}\n\n");
            assert_eq!(exchange(&mut clients[index], &request).text(), "ok");
        }
        let seen = instance.seen(false);
        let expected = [0, 0, 1, 0, 1].map(|index: usize| {
            let header = match version {
                ProxyProtocol::V1 => {
                    let to = instance.address.port();
                    format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {to}\r\n", ports[index]).into_bytes()
                }
                ProxyProtocol::V2 => v2([127, 0, 0, 1], ports[index], instance.address),
            };
            (header, vec![format!("GET /{index} HTTP/1.1")])
        });
        let seen: Vec<_> = seen.into_iter().map(|one| (one.header, one.requests)).collect();
        assert_eq!(seen, expected);
    }
}

#[test]
fn checks_speak_for_nobody() {
    for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
        let instance = Instance::start();
        let header = match version {
            ProxyProtocol::V1 => format!("PROXY TCP4 127.0.0.1 127.0.0.1 0 {}\r\n", instance.address.port()),
            ProxyProtocol::V2 => "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_owned(),
        };
        let (edge, _) = edge("http", EdgePlan { local: pool(vec![instance.backend(version)]), ..plan() });
        until_backend(&edge, "app-1", Up);
        let checks = instance.seen(true);
        assert!(!checks.is_empty() && checks.iter().all(|check| check.header == header.as_bytes()), "{checks:?}");
    }
}

#[test]
fn behind_a_hop_the_user_is_announced_and_not_the_other_edge() {
    let instance = Instance::start();
    let local = pool(vec![instance.backend(ProxyProtocol::V2)]);
    let (_back, hop) = edge("hop", EdgePlan { local, ..plan() });
    let srv2 = BackendPlan { target: Target::Plain(hop), ..backend("srv2", hop, 1) };
    let here = Ipv4Addr::LOCALHOST;
    let proxy_protocol_from = vec![std::net::IpAddr::from(here).into()];
    let (_front, address) = edge("http", EdgePlan { balancer: pool(vec![srv2]), proxy_protocol_from, ..plan() });
    for last in [8, 9] {
        let mut client = connect(address);
        write!(client, "PROXY TCP4 203.0.113.{last} {here} 4711 80\r\n").expect("sent");
        let request = format!("GET / HTTP/1.1\nHost: {HOST}\nX-Forwarded-For: 198.51.100.1\n\n");
        assert_eq!(exchange(&mut client, &request).text(), "ok");
    }
    let headers: Vec<_> = instance.seen(false).into_iter().map(|seen| seen.header).collect();
    assert_eq!(headers, [8, 9].map(|last| v2([203, 0, 113, last], 0, instance.address)));
}

#[test]
fn a_user_with_ipv6_is_announced_in_one_family() {
    let instance = Instance::start();
    let local = pool(vec![instance.backend(ProxyProtocol::V1)]);
    let proxy_protocol_from = vec![std::net::IpAddr::from(Ipv4Addr::LOCALHOST).into()];
    let (_edge, address) = edge("http", EdgePlan { local, proxy_protocol_from, ..plan() });
    let mut client = connect(address);
    client.write_all(b"PROXY TCP6 2001:db8::9 ::1 4711 80\r\n").expect("sent");
    assert_eq!(exchange(&mut client, &format!("GET / HTTP/1.1\nHost: {HOST}\n\n")).text(), "ok");
    let header = format!("PROXY TCP6 2001:db8::9 ::ffff:7f00:1 4711 {}\r\n", instance.address.port());
    assert_eq!(instance.seen(false)[0].header, header.as_bytes());
}

#[test]
fn who_stands_in_for_an_instance_is_told_as_well() {
    let instance = Instance::start();
    let broken = backend("app-2", raw_origin(drop), 1);
    let (edge, address) =
        edge("http", EdgePlan { local: pool(vec![instance.backend(ProxyProtocol::V2), broken]), ..plan() });
    until_backend(&edge, "app-1", Up);
    until_backend(&edge, "app-2", Up);
    let mut client = connect(address);
    let port = client.local_addr().expect("connected").port();
    // Their turns: one of two requests goes to the broken one first.
    for _ in 0..2 {
        assert_eq!(exchange(&mut client, &format!("GET / HTTP/1.1\nHost: {HOST}\n\n")).text(), "ok");
    }
    assert!(edge.report().backends.iter().any(|backend| backend.name == "app-2" && backend.failures > 0));
    let headers: Vec<_> = instance.seen(false).into_iter().map(|seen| seen.header).collect();
    assert_eq!(headers, [(); 2].map(|()| v2([127, 0, 0, 1], port, instance.address)));
}
