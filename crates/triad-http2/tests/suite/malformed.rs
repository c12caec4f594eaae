//! Heads that no client library would send, in frames made by hand (RFC 9113 §8.1.1): none becomes a stream.

use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use triad_http2::Server;

use super::frames::*;

const GOOD: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "https"), (":authority", "www.foobar.com"), (":path", "/")];

/// What a server makes of a request with these fields: whether it is a stream, and the frames that end it if not.
async fn becomes_a_stream(list: &[(&str, &str)]) -> bool {
    let (mut client, far) = duplex(64 * 1024);
    let headers = frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields(list));
    let sent = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, &[]), headers].concat();
    client.write_all(&sent).await.expect("sent");
    let mut server = Server::handshake(far).await.expect("a connection");
    tokio::select! {
        stream = server.accept() => stream.is_some(),
        kind = ending(&mut client) => {
            assert!([RST_STREAM, GOAWAY].contains(&kind));
            false
        }
    }
}

/// The first frame that ends a stream or the connection.
async fn ending(client: &mut DuplexStream) -> u8 {
    loop {
        let (kind, _) = read_frame(client).await.expect("a frame");
        if [RST_STREAM, GOAWAY].contains(&kind) {
            return kind;
        }
    }
}

#[tokio::test]
async fn a_malformed_head_is_no_stream() {
    assert!(becomes_a_stream(&GOOD).await, "the others are this one with one change");
    for wrong in [
        ("connection", "close"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "close"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
        ("X-Upper", "1"),
        ("with blank", "1"),
        ("", "1"),
        ("x-line", "1\r\nhost: evil.example"),
        ("x-zero", "\0"),
        (":path", "/twice"),
        (":status", "200"),
        (":unknown", "1"),
    ] {
        let list: Vec<_> = GOOD.into_iter().chain([wrong]).collect();
        assert!(!becomes_a_stream(&list).await, "{wrong:?} was taken");
    }
    for absent in [0, 1, 3] {
        let list: Vec<_> = (0..4).filter(|at| *at != absent).map(|at| GOOD[at]).collect();
        assert!(!becomes_a_stream(&list).await, "taken without {}", GOOD[absent].0);
    }
    let late: Vec<_> = [("accept", "*/*")].into_iter().chain(GOOD).collect();
    assert!(!becomes_a_stream(&late).await, "pseudo fields come first");
    for (pseudo, value) in [(0, "GET /"), (3, "/a b"), (3, "/\r\n"), (2, "a\r\nb"), (0, "")] {
        let mut list = GOOD;
        list[pseudo].1 = value;
        assert!(!becomes_a_stream(&list).await, "{:?} was taken", list[pseudo]);
    }
}
