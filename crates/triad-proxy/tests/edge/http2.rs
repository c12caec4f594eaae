//! Clients that speak HTTP/2, with the client of the `h2` crate.

use std::future::{Future, poll_fn};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use triad_model::{HeaderRules, Headers, Hsts, Maintenance, Redirect};
use triad_proxy::{Edge, EdgePlan, MaintenancePlan, PoolPlan};
use triad_tls::{ALPN_HTTP1, ALPN_HTTP2, Authority};

use crate::bed::*;
use crate::limits::ban;
use crate::proxying::{front_plan, hop_edge};

/// An edge with HTTPS in front of one application, and a client's part of it.
pub struct Site {
    pub edge: Edge,
    pub address: SocketAddr,
    pub authority: Authority,
}

impl Site {
    fn new(application: SocketAddr) -> Self {
        Self::with(EdgePlan { local: pool(vec![backend("app-1", application, 1)]), ..plan() })
    }

    /// In front of whatever `plan` has behind it.
    pub fn with(plan: EdgePlan) -> Self {
        Self::of(Authority::generate("test").expect("an authority"), plan)
    }

    /// The same, in a design that has its authority already.
    pub fn of(authority: Authority, plan: EdgePlan) -> Self {
        let site_certificate = Some(authority.site(&plan.hosts).expect("a certificate"));
        let (edge, address) = edge("https", EdgePlan { site_certificate, ..plan });
        Self { edge, address, authority }
    }

    /// A connection; its own side is driven in the background.
    pub async fn client(&self) -> SendRequest<Bytes> {
        client(dial(self.address, &self.authority, &[ALPN_HTTP2, ALPN_HTTP1]).await).await
    }
}

/// HTTP/2 in `session`; its own side is driven in the background.
pub async fn client(session: TlsStream<TcpStream>) -> SendRequest<Bytes> {
    let (client, connection) = h2::client::handshake(session).await.expect("HTTP/2");
    tokio::spawn(async { _ = connection.await });
    client
}

/// A TLS session for which the client offers `protocols`.
pub async fn dial(address: SocketAddr, authority: &Authority, protocols: &[&[u8]]) -> TlsStream<TcpStream> {
    handshake(TcpStream::connect(address).await.expect("the edge accepts"), authority, protocols).await
}

/// The same over a connection that is there.
pub async fn handshake(tcp: TcpStream, authority: &Authority, protocols: &[&[u8]]) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(authority.certificate_pem().as_bytes());
    roots.add(authority.expect("a certificate")).expect("a root");
    let mut config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let name = ServerName::try_from(HOST).expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await.expect("a handshake")
}

/// Runs a client's part of a test; it must come to an end.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(30), test).await.expect("in time") })
}

pub fn request(method: &str, path: &str) -> Request<()> {
    let uri = format!("https://{HOST}{path}");
    Request::builder().method(method).uri(uri).body(()).expect("a request")
}

/// An answer, read to its end; the error is what broke it off.
#[derive(Debug)]
pub struct Got {
    pub status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
}

impl Got {
    pub fn status(&self) -> u16 {
        self.status
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

pub async fn ask(client: &SendRequest<Bytes>, request: Request<()>) -> Result<Got, h2::Error> {
    let mut client = client.clone().ready().await?;
    let (response, _send) = client.send_request(request, true)?;
    got(response.await?).await
}

pub async fn got(response: http::Response<h2::RecvStream>) -> Result<Got, h2::Error> {
    let (parts, mut receive) = response.into_parts();
    let mut body = Vec::new();
    while let Some(part) = receive.data().await {
        let part = part?;
        receive.flow_control().release_capacity(part.len())?;
        body.extend_from_slice(&part);
    }
    let trailers = receive.trailers().await?;
    Ok(Got { status: parts.status.as_u16(), headers: parts.headers, body, trailers })
}

#[test]
fn a_connection_of_a_banned_client_ends_with_its_next_request() {
    let origin = Origin::start("app-1");
    let site = Site::new(origin.address);
    run(async {
        let client = site.client().await;
        let running = client.clone();
        let running = tokio::spawn(async move { ask(&running, request("GET", "/wait")).await });
        while origin.state.requests.load(SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        site.edge.ban(&[ban("127.0.0.1/32", 3600)]);
        let refused = ask(&client, request("GET", "/")).await.expect("an answer");
        assert_eq!((refused.status, origin.state.requests.load(SeqCst)), (403, 1), "{refused:?}");
        origin.state.release.notify_waiters();
        assert_eq!(running.await.expect("no panic").expect("what runs is finished").status, 200);
        // GOAWAY reaches the client sooner or later; until then it is refused.
        while let Ok(answer) = ask(&client, request("GET", "/")).await {
            assert_eq!(answer.status, 403);
        }
    });
    assert_eq!(site.edge.report().refusals.connections_banned, 0);
}

#[test]
fn a_request_reaches_the_application_as_any_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("access.log");
    let origin = Origin::start("app-1");
    let local = pool(vec![backend("app-1", origin.address, 1)]);
    let site = Site::with(EdgePlan { local, access_log: Some(log.clone()), ..plan() });
    let answer = run(async {
        let mut request = request("GET", "/page?q=1");
        let headers = request.headers_mut();
        headers.insert("x-forwarded-for", "203.0.113.9".parse().expect("a value"));
        headers.insert("x-kept", "2".parse().expect("a value"));
        headers.append("cookie", "a=1".parse().expect("a value"));
        headers.append("cookie", "b=2".parse().expect("a value"));
        ask(&site.client().await, request).await.expect("an answer")
    });
    let id = answer.headers["x-request-id"].to_str().expect("text");
    let expected = format!(
        "app-1\nGET /page?q=1\ncookie: \"a=1; b=2\"\nhost: \"{HOST}\"\nx-forwarded-for: \"127.0.0.1\"\n\
         x-forwarded-host: \"{HOST}\"\nx-forwarded-proto: \"https\"\nx-kept: \"2\"\nx-request-id: \"{id}\""
    );
    assert_eq!((answer.status, answer.text()), (200, expected));
    assert!(answer.headers.contains_key("date") && !answer.headers.contains_key("connection"), "{:?}", answer.headers);
    until("it is counted", || site.edge.report().requests_total() == 1);
    drop(site);
    let line = std::fs::read_to_string(&log).expect("a log");
    assert!(line.contains("\"HTTP/2.0\"") && line.contains(id), "{line}");
}

#[test]
fn the_designs_rules_hold_as_for_any_other() {
    let origin = Origin::start("app-1");
    let set = |name: &str| HeaderRules { set: vec![(name.to_owned(), "foobar".to_owned())], ..HeaderRules::default() };
    let redirect =
        |from: &str, to: &str| Redirect { from: from.parse().expect(from), to: to.parse().expect(to), status: 301 };
    let open = EdgePlan {
        local: pool(vec![backend("app-1", origin.address, 1)]),
        headers: Headers { request: set("X-Asked"), response: set("X-Answered"), ..Headers::default() },
        redirects: vec![redirect("/old/*", "/new/*")],
        hsts: Some(Hsts { max_age_s: 300, include_subdomains: false }),
        ..plan()
    };
    let site = Site::with(open.clone());
    let site_certificate = Some(site.authority.site(&open.hosts).expect("a certificate"));
    run(async {
        let client = site.client().await;
        let answer = ask(&client, request("GET", "/page")).await.expect("an answer");
        assert!(answer.text().contains("x-asked: \"foobar\""), "{}", answer.text());
        assert_eq!(answer.headers["x-answered"], "foobar");
        assert_eq!(answer.headers["strict-transport-security"], "max-age=300");
        let moved = ask(&client, request("GET", "/old/a?b")).await.expect("an answer");
        assert_eq!(
            (moved.status, &moved.headers["location"]),
            (301, &"https://www.foobar.com/new/a?b".parse().expect("a value"))
        );
        let order = Some(Maintenance { message: Some("until nine".to_owned()) });
        let maintenance = MaintenancePlan { order, ..MaintenancePlan::default() };
        site.edge.reload(EdgePlan { maintenance, site_certificate, ..open }).expect("a plan");
        let closed = ask(&client, request("GET", "/page")).await.expect("an answer");
        assert_eq!((closed.status, &closed.headers["retry-after"]), (503, &"120".parse().expect("a value")));
        assert!(closed.text().contains("until nine"), "{}", closed.text());
    });
}

#[test]
fn the_client_chooses_the_version_unless_the_file_does() {
    let origin = Origin::start("app-1");
    let local = || pool(vec![backend("app-1", origin.address, 1)]);
    let chosen = |site: &Site, offered: &[&[u8]]| {
        let session = run(dial(site.address, &site.authority, offered));
        session.get_ref().1.alpn_protocol().map(<[u8]>::to_vec)
    };
    let both = Site::with(EdgePlan { local: local(), ..plan() });
    let old = Site::with(EdgePlan { local: local(), http2: false, ..plan() });
    assert_eq!(chosen(&both, &[ALPN_HTTP1, ALPN_HTTP2]).as_deref(), Some(ALPN_HTTP2), "ours goes first");
    assert_eq!(chosen(&both, &[ALPN_HTTP1]).as_deref(), Some(ALPN_HTTP1));
    assert_eq!(chosen(&both, &[]), None, "which means HTTP/1.1");
    assert_eq!(chosen(&old, &[ALPN_HTTP2, ALPN_HTTP1]).as_deref(), Some(ALPN_HTTP1));
}

#[test]
fn many_requests_share_a_connection_and_wait_for_none_of_each_other() {
    let origin = Origin::start("app-1");
    let site = Site::new(origin.address);
    run(async {
        let client = site.client().await;
        assert_eq!(ask(&client, request("GET", "/")).await.expect("an answer").status, 200);
        let slow: Vec<_> = (0..50)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { ask(&client, request("GET", "/wait")).await })
            })
            .collect();
        while origin.state.requests.load(SeqCst) < 51 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(ask(&client, request("GET", "/quick")).await.expect("an answer").status, 200);
        origin.state.release.notify_waiters();
        for slow in slow {
            assert_eq!(slow.await.expect("no panic").expect("an answer").status, 200);
        }
        assert_eq!(site.edge.report().connections, 1);
    });
}

#[test]
fn bodies_stream_both_ways() {
    let origin = Origin::start("app-1");
    let site = Site::new(origin.address);
    let body: Vec<u8> = (0..1_000_000).map(|at| (at % 251) as u8).collect();
    let answer = run(async {
        let mut client = site.client().await.ready().await.expect("a connection");
        let (response, mut send) = client.send_request(request("POST", "/echo"), false).expect("begun");
        let mut left = Bytes::from(body.clone());
        let sending = async {
            while !left.is_empty() {
                send.reserve_capacity(left.len());
                let room = match send.capacity() {
                    0 => poll_fn(|context| send.poll_capacity(context)).await.expect("open").expect("room"),
                    room => room,
                };
                send.send_data(left.split_to(room.min(left.len())), left.is_empty()).expect("sent");
            }
        };
        let receiving = async { got(response.await.expect("an answer")).await.expect("a body") };
        tokio::join!(sending, receiving).1
    });
    assert!(answer.body == body, "{} bytes came back", answer.body.len());
}

#[test]
fn what_is_refused_is_refused_alone() {
    let origin = Origin::start("app-1");
    let site = Site::new(origin.address);
    run(async {
        let client = site.client().await;
        let mut other = request("GET", "/");
        *other.uri_mut() = "https://evil.example/".parse().expect("a target");
        assert_eq!(ask(&client, other).await.expect("an answer").status, 421);
        let mut two = request("GET", "/");
        two.headers_mut().insert("host", "foobar.com".parse().expect("a value"));
        assert_eq!(ask(&client, two).await.expect("an answer").status, 400);
        let mut long = request("GET", "/");
        long.headers_mut().insert("x-long", "x".repeat(40_000).parse().expect("a value"));
        assert_eq!(ask(&client, long).await.expect("an answer").status, 431);
        assert_eq!(ask(&client, request("TRACE", "/")).await.expect("an answer").status, 501);
        assert_eq!(ask(&client, request("GET", "/")).await.expect("an answer").status, 200);
    });
    assert_eq!(origin.state.requests.load(SeqCst), 1);
}

#[test]
fn a_request_without_body_gets_the_head_of_its_answer() {
    let origin = Origin::start("app-1");
    let site = Site::new(origin.address);
    let answer = run(async { ask(&site.client().await, request("HEAD", "/")).await.expect("an answer") });
    assert!(answer.headers.contains_key("content-length") && answer.body.is_empty(), "{answer:?}");
}

#[test]
fn early_hints_and_trailers_arrive() {
    let place = raw_origin(|mut stream| {
        let answer = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n\
                      HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\ngrpc-status: 0\r\n\r\n";
        stream.write_all(answer.as_bytes()).expect("sent");
    });
    let site = Site::new(place);
    run(async {
        let mut client = site.client().await.ready().await.expect("a connection");
        let mut request = request("GET", "/");
        request.headers_mut().insert("te", "trailers".parse().expect("a value"));
        let (mut response, _send) = client.send_request(request, true).expect("begun");
        let hint = poll_fn(|context| response.poll_informational(context)).await.expect("a hint").expect("whole");
        assert_eq!((hint.status().as_u16(), &hint.headers()["link"]), (103, &"</a.css>".parse().expect("a value")));
        let answer = got(response.await.expect("an answer")).await.expect("a body");
        assert_eq!(answer.text(), "ok");
        assert_eq!(answer.trailers.expect("trailers")["grpc-status"], "0");
    });
}

#[test]
fn trailers_cross_the_hop_between_servers() {
    let place = raw_origin_with_heads(|mut stream, head| {
        assert!(head.contains("\nconnection: te\n") && head.contains("\nte: trailers\n"), "{head}");
        let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\ngrpc-status: 0\r\n\r\n";
        stream.write_all(answer.as_bytes()).expect("sent");
    });
    let authority = Authority::generate("test").expect("an authority");
    let (_back, hop) = hop_edge(&authority, place);
    let (edge, address) = edge("https", front_plan(&authority, hop));
    let site = Site { edge, address, authority };
    let mut request = request("GET", "/");
    request.headers_mut().insert("te", "trailers".parse().expect("a value"));
    let answer = run(async { ask(&site.client().await, request).await.expect("an answer") });
    assert_eq!(answer.text(), "ok");
    assert_eq!(answer.trailers.expect("trailers")["grpc-status"], "0");
}

#[test]
fn a_websocket_passes_through() {
    let place = raw_origin_with_heads(|mut stream, head| {
        assert!(head.contains("\nupgrade: websocket\n") && head.contains("\nsec-websocket-key: "), "{head}");
        let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        stream.write_all(head.as_bytes()).expect("sent");
        let mut text = Vec::new();
        stream.read_to_end(&mut text).expect("the client's end");
        stream.write_all(&text.to_ascii_uppercase()).expect("sent");
    });
    let site = Site::new(place);
    run(async {
        let mut client = site.client().await.ready().await.expect("a connection");
        while !client.is_extended_connect_protocol_enabled() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let mut request = request("CONNECT", "/chat");
        request.extensions_mut().insert(h2::ext::Protocol::from("websocket"));
        let (response, mut send) = client.send_request(request, false).expect("begun");
        let response = response.await.expect("an answer");
        assert_eq!(response.status(), 200);
        send.send_data("hello".into(), true).expect("sent");
        assert_eq!(got(response).await.expect("the rest").text(), "HELLO");
    });
}

#[test]
fn who_breaks_off_is_forgotten_by_the_backend_too() {
    let origin = Origin::start("app-1");
    let site = Site::new(origin.address);
    let in_flight = || site.edge.report().backends[0].in_flight;
    run(async {
        let mut client = site.client().await.ready().await.expect("a connection");
        let (_response, mut send) = client.send_request(request("POST", "/never"), false).expect("begun");
        send.send_data("some of a body".into(), false).expect("sent");
        while in_flight() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        send.send_reset(h2::Reason::CANCEL);
        while in_flight() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let next = ask(&client, request("GET", "/next")).await.expect("an answer");
        assert!(next.text().starts_with("app-1\nGET /next\n"), "nothing of it is left: {}", next.text());
    });
}

#[test]
fn who_breaks_off_while_it_waits_leaves_the_queue() {
    let origin = Origin::start("app-1");
    let local = pool(vec![bounded("app-1", origin.address, 1)]);
    // Longer than the test may take.
    let local = local.map(|pool| PoolPlan { queue_timeout_ms: 60_000, ..pool });
    let site = Site::with(EdgePlan { local, ..plan() });
    let waiting = || site.edge.report().pools[0].waiting;
    run(async {
        let mut client = site.client().await.ready().await.expect("a connection");
        let (_holding, _) = client.send_request(request("GET", "/never"), true).expect("begun");
        while site.edge.report().backends[0].in_flight == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut client = client.ready().await.expect("a connection");
        let (_response, mut send) = client.send_request(request("GET", "/gone"), true).expect("begun");
        while waiting() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        send.send_reset(h2::Reason::CANCEL);
        while waiting() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert_eq!(origin.state.requests.load(SeqCst), 1);
}

#[test]
fn an_answer_that_breaks_off_does_not_look_whole() {
    let place = raw_origin(|mut stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n").expect("sent");
    });
    let site = Site::new(place);
    let broken = run(async { ask(&site.client().await, request("GET", "/")).await.expect_err("not whole") });
    assert_eq!(broken.reason(), Some(h2::Reason::INTERNAL_ERROR));
}

#[test]
fn a_drain_answers_what_runs_and_sends_the_client_elsewhere() {
    let origin = Origin::start("app-1");
    let Site { edge, address, authority } = Site::new(origin.address);
    let (begun, is_begun) = std::sync::mpsc::channel();
    let client = std::thread::spawn(move || {
        run(async {
            let session = dial(address, &authority, &[ALPN_HTTP2]).await;
            let (client, connection) = h2::client::handshake(session).await.expect("HTTP/2");
            let connection = tokio::spawn(connection);
            let running = tokio::spawn(async move { ask(&client, request("GET", "/wait")).await });
            begun.send(()).expect("the test waits");
            let answer = running.await.expect("no panic").expect("an answer");
            (answer.status, connection.await.expect("no panic").map_err(|error| error.to_string()))
        })
    });
    is_begun.recv().expect("begun");
    origin.until_asked(1);
    let draining = std::thread::spawn(move || edge.drain(Duration::from_secs(20)));
    until("the door is closed", || std::net::TcpStream::connect(address).is_err());
    origin.state.release.notify_waiters();
    assert_eq!(client.join().expect("no panic"), (200, Ok(())), "answered, and closed in order");
    assert_eq!(draining.join().expect("no panic"), 0, "nothing was cut");
}
