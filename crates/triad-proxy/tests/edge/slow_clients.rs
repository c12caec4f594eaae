//! Clients that send or read just enough not to be silent, and what may not be taken for one.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use triad_proxy::{Edge, EdgePlan, MinRate};
use triad_tls::{ALPN_HTTP2, Authority};

use crate::bed::*;
use crate::http2::{Site, dial, run};

/// A client is given up after one to two seconds, so that nobody waits for it as long as users may.
const QUICK: MinRate = MinRate { bytes_per_s: 10_000, grace_ms: 1_000, credit_ms_max: 1_000 };
/// Longer than that, and than what a client is allowed that must not be given up.
const LONGER: Duration = Duration::from_secs(5);
/// How often a slow client moves a byte.
const DRIP: Duration = Duration::from_millis(50);
/// More than all buffers on the way hold.
const LARGE: usize = 64 * 1024 * 1024;

fn quick(address: SocketAddr) -> EdgePlan {
    EdgePlan { local: pool(vec![backend("app-1", address, 1)]), min_rate: QUICK, ..plan() }
}

/// Sends a byte now and then until `stream` takes no more.
fn drip(mut stream: TcpStream) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(DRIP);
        }
    })
}

/// An origin of bytes that answers checks all the while.
fn busy_origin(act: impl Fn(TcpStream, String) + Clone + Send + 'static) -> SocketAddr {
    raw_origin_with_heads(move |stream, head| {
        let act = act.clone();
        std::thread::spawn(move || act(stream, head));
    })
}

/// An application that answers with a large body as fast as it is taken, then says how its connection ended.
fn endless() -> (SocketAddr, mpsc::Receiver<ErrorKind>) {
    let (ended, end) = mpsc::channel();
    let address = busy_origin(move |mut stream, _| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n");
        let written = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&vec![b'x'; LARGE]));
        let _ = ended.send(written.expect_err("nobody takes all of it").kind());
    });
    (address, end)
}

/// Reads a byte of `stream` now and then until the edge has closed it.
fn read_slowly(edge: &Edge, mut stream: TcpStream) {
    until("the connection is cut", || {
        let _ = stream.read(&mut [0]);
        std::thread::sleep(DRIP);
        edge.report().connections == 0
    });
}

#[test]
fn a_body_that_drips_in_is_answered_408_and_blames_no_backend() {
    let origin = Origin::start("app-1");
    let (edge, address) = edge("http", quick(origin.address));
    for fields in ["Content-Length: 1000000", "Transfer-Encoding: chunked"] {
        let mut client = connect(address);
        // Read to the end by the application, so no answer is under way yet.
        write!(client, "POST /wait HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n\r\nffffff\r\n").expect("sent");
        let dripping = drip(client.try_clone().expect("a handle"));
        let reply = read_reply(&mut client);
        assert_eq!((reply.status, reply.header("connection")), (408, Some("close")), "{fields}");
        drop(client);
        dripping.join().expect("it ends");
    }
    assert_eq!(edge.report().backends[0].failures, 0);
}

#[test]
fn a_body_that_drips_in_behind_the_begin_of_an_answer_is_cut() {
    let origin = Origin::start("app-1");
    let (edge, address) = edge("http", quick(origin.address));
    let mut client = connect(address);
    write!(client, "POST /echo HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1000000\r\n\r\n").expect("sent");
    assert!(read_head(&mut client).is_some_and(|head| head.starts_with("HTTP/1.1 200")), "the echo has begun");
    let dripping = drip(client.try_clone().expect("a handle"));
    until("the connection is cut", || edge.report().connections == 0);
    dripping.join().expect("it ends");
}

#[test]
fn an_answer_that_is_read_byte_by_byte_is_cut_and_frees_the_backend() {
    let (application, end) = endless();
    let (edge, address) = edge("http", quick(application));
    let mut client = connect(address);
    write!(client, "GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").expect("sent");
    read_head(&mut client).expect("an answer");
    read_slowly(&edge, client);
    end.recv_timeout(Duration::from_secs(20)).expect("the application's connection ends as well");
    assert_eq!(edge.report().backends[0].failures, 0);
}

#[test]
fn an_answer_over_tls_that_is_read_byte_by_byte_is_cut() {
    let (application, end) = endless();
    let authority = Authority::generate("test").expect("an authority");
    let plan = quick(application);
    let site_certificate = Some(authority.site(&plan.hosts).expect("a certificate"));
    let (edge, address) = edge("https", EdgePlan { site_certificate, ..plan });
    let mut client = connect_tls(address, authority.certificate_pem());
    write!(client, "GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").expect("sent");
    read_head(&mut client).expect("an answer");
    read_slowly(&edge, client.sock);
    end.recv_timeout(Duration::from_secs(20)).expect("the application's connection ends as well");
}

#[test]
fn a_file_that_is_read_byte_by_byte_is_cut() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("large"), vec![b'x'; LARGE]).expect("a file");
    let plan = EdgePlan { root: Some(folder.path().to_owned()), min_rate: QUICK, ..plan() };
    let (edge, address) = edge("http", plan);
    let mut client = connect(address);
    write!(client, "GET /large HTTP/1.1\r\nHost: {HOST}\r\n\r\n").expect("sent");
    assert!(read_head(&mut client).is_some_and(|head| head.starts_with("HTTP/1.1 200")));
    read_slowly(&edge, client);
}

#[test]
fn the_backends_time_is_not_the_clients() {
    let slow = busy_origin(|mut stream, _| {
        // Reads late, answers late, and goes on late.
        std::thread::sleep(LONGER);
        stream.read_exact(&mut vec![0; 8_000_000]).expect("the whole body");
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfirst").expect("sent");
        std::thread::sleep(LONGER);
        stream.write_all(b" last").expect("sent");
    });
    // A busy machine may be slow as well.
    let min_rate = MinRate { grace_ms: 2_500, credit_ms_max: 2_500, ..QUICK };
    let (_edge, address) = edge("http", EdgePlan { min_rate, ..quick(slow) });
    let mut client = connect(address);
    let head = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 8000000\r\n\r\n");
    client.write_all(head.as_bytes()).expect("sent");
    client.write_all(&vec![b'x'; 8_000_000]).expect("the backend takes it in the end");
    let reply = read_reply(&mut client);
    assert_eq!((reply.status, reply.text().as_str()), (200, "first last"));
}

#[test]
fn another_edge_may_be_as_slow_as_its_client() {
    let origin = Origin::start("app-1");
    let (_edge, address) = edge("hop", quick(origin.address));
    let mut client = connect(address);
    write!(client, "POST /echo HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 4\r\n\r\n").expect("sent");
    client.write_all(b"ab").expect("sent");
    std::thread::sleep(LONGER);
    client.write_all(b"cd").expect("sent");
    let reply = read_reply(&mut client);
    assert_eq!(reply.status, 200);
}

#[test]
fn a_switched_connection_may_be_silent() {
    let echo = busy_origin(|mut stream, _| {
        let head = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        stream.write_all(head).expect("sent");
        let mut bytes = [0; 4];
        stream.read_exact(&mut bytes).expect("four bytes");
        stream.write_all(&bytes).expect("sent");
    });
    let (_edge, address) = edge("http", quick(echo));
    let mut client = connect(address);
    write!(client, "GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        .expect("sent");
    assert!(read_head(&mut client).is_some_and(|head| head.starts_with("HTTP/1.1 101")));
    std::thread::sleep(LONGER);
    client.write_all(b"ping").expect("sent");
    let mut bytes = [0; 4];
    client.read_exact(&mut bytes).expect("an echo");
    assert_eq!(&bytes, b"ping");
}

#[test]
fn a_stream_whose_window_opens_byte_by_byte_is_cut_and_its_neighbours_are_not() {
    let (application, end) = endless();
    let other = Origin::start("app-2");
    let site = Site::with(quick(application));
    run(async {
        let session = dial(site.address, &site.authority, &[ALPN_HTTP2]).await;
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(1_000);
        let (client, connection) = builder.handshake::<_, Bytes>(session).await.expect("HTTP/2");
        tokio::spawn(async { _ = connection.await });
        let get = || Request::get(format!("https://{HOST}/")).body(()).expect("a request");
        let mut client = client.ready().await.expect("a connection");
        let (answer, _) = client.send_request(get(), true).expect("sent");
        let mut body = answer.await.expect("an answer").into_body();
        let error = loop {
            match body.data().await.expect("not the end") {
                Ok(part) => {
                    // As much room as a slow reader makes: some bytes, and often enough not to be silent.
                    tokio::time::sleep(DRIP).await;
                    body.flow_control().release_capacity(part.len().min(10)).expect("room");
                }
                Err(error) => break error,
            }
        };
        assert!(error.is_reset(), "{error}");
        end.recv_timeout(Duration::from_secs(20)).expect("the application's connection ends as well");
        let plan = EdgePlan {
            site_certificate: Some(site.authority.site(&plan().hosts).expect("one")),
            ..quick(other.address)
        };
        site.edge.reload(plan).expect("a plan");
        let (answer, _) = client.send_request(get(), true).expect("sent");
        assert_eq!(answer.await.expect("an answer").status(), 200, "the connection goes on");
    });
}

#[test]
fn a_body_that_drips_in_over_a_stream_is_answered_408() {
    let origin = Origin::start("app-1");
    let site = Site::with(quick(origin.address));
    run(async {
        let mut client = site.client().await.ready().await.expect("a connection");
        let request = Request::post(format!("https://{HOST}/wait")).body(()).expect("a request");
        let (answer, mut send) = client.send_request(request, false).expect("sent");
        tokio::spawn(async move {
            while send.send_data(Bytes::from_static(b"x"), false).is_ok() {
                tokio::time::sleep(DRIP).await;
            }
        });
        assert_eq!(answer.await.expect("an answer").status(), 408);
    });
}
