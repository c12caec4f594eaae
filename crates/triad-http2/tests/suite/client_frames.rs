//! What a server gets wrong, in frames made by hand: it ends the stream or the connection, never more, and nobody is
//! made to remember what nobody asked for. The `h2` crate sees to most of that; these tests see that it does.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::Instant;
use triad_http2::limits::{SHARED_HEADER_LIST_BYTES_MAX, STREAM_WINDOW_BYTES};
use triad_http2::{Client, ClientStream, Connection, Fate, connect};

use super::frames::*;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: www.foobar.com\r\n\r\n";
/// More than any of it takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A client, and the bytes of its server, which has answered the first PING.
async fn opened() -> (Client, DuplexStream) {
    let (client, connection, far) = open().await;
    tokio::spawn(connection.run(None));
    (client, far)
}

async fn open() -> (Client, Connection<DuplexStream>, DuplexStream) {
    let (near, mut far) = duplex(1 << 20);
    let serving = async {
        let mut preface = [0; 24];
        far.read_exact(&mut preface).await.expect("a preface");
        far.write_all(&frame(SETTINGS, 0, 0, &[])).await.expect("sent");
        loop {
            let (kind, payload) = read_frame(&mut far).await.expect("a frame");
            if kind == PING {
                return far.write_all(&frame(PING, ACK, 0, &payload)).await.expect("sent");
            }
        }
    };
    let (opened, ()) = tokio::join!(connect(near, false), serving);
    let (client, connection) = opened.expect("a connection");
    (client, connection, far)
}

/// Two streams that asked, as `server` has seen; the first is 1, the second 3.
async fn asked(client: &mut Client, server: &mut DuplexStream) -> [ClientStream; 2] {
    let mut streams = [client.stream().expect("room"), client.stream().expect("room")];
    for stream in &mut streams {
        stream.write_all(REQUEST).await.expect("sent");
    }
    for _ in &streams {
        while read_frame(server).await.expect("a frame").0 != HEADERS {}
    }
    streams
}

/// Reads an answer: its text, or how it broke.
async fn read(stream: &mut ClientStream) -> Result<String, Fate> {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("in time");
    read.map(|_| String::from_utf8_lossy(&bytes).into_owned()).map_err(|_| stream.fate())
}

/// What both streams of a connection come to, of which the server sends `bytes`, then a good answer to the second one.
/// That is read first.
async fn after(bytes: &[u8]) -> [Result<String, Fate>; 2] {
    let (mut client, mut server) = opened().await;
    let [mut first, mut second] = asked(&mut client, &mut server).await;
    let good = [frame(HEADERS, END_HEADERS, 3, &STATUS_200), frame(DATA, END_STREAM, 3, b"ok")].concat();
    let bytes = [bytes, &good].concat();
    // It may be gone before it has all.
    tokio::spawn(async move {
        let _ = server.write_all(&bytes).await;
        while read_frame(&mut server).await.is_some() {}
    });
    let second = read(&mut second).await;
    [read(&mut first).await, second]
}

#[tokio::test]
async fn a_stream_that_is_wrong_breaks_alone() {
    let head = |list: &[(&str, &str)]| frame(HEADERS, END_HEADERS, 1, &fields(list));
    let beyond = frame(DATA, 0, 1, &[0; 16_000]).repeat(STREAM_WINDOW_BYTES as usize / 16_000 + 1);
    for (wrong, bytes) in [
        ("a field of a connection", head(&[(":status", "200"), ("connection", "close")])),
        ("two statuses", head(&[(":status", "200"), (":status", "204")])),
        ("no status", head(&[("x-a", "1")])),
        ("DATA beyond the window", [head(&[(":status", "200")]), beyond].concat()),
    ] {
        let [first, second] = after(&bytes).await;
        assert!(first.is_err(), "{wrong}: {first:?}");
        assert!(second.is_ok_and(|text| text.ends_with("\r\n\r\n2\r\nok\r\n0\r\n\r\n")), "{wrong}");
    }
    let [first, second] = after(&frame(RST_STREAM, 0, 1, &2u32.to_be_bytes())).await;
    assert_eq!((first, second.is_ok()), (Err(Fate::Reset), true));
}

#[tokio::test]
async fn a_head_beyond_the_bound_is_not_gathered() {
    let long = "x".repeat(100);
    let line = fields(&[("x-long", &long)]);
    let lines = line.repeat(SHARED_HEADER_LIST_BYTES_MAX as usize / long.len() + 1);
    let mut blocks = frame(HEADERS, 0, 1, &STATUS_200);
    lines.chunks(16_000).for_each(|part| blocks.extend(frame(CONTINUATION, 0, 1, part)));
    blocks.extend(frame(CONTINUATION, END_HEADERS, 1, &[]));
    let [first, second] = after(&blocks).await;
    assert!(first.is_err() && second.is_ok(), "{first:?} {second:?}");
    // One that never ends costs the connection.
    let endless: Vec<u8> = std::iter::repeat_n(frame(CONTINUATION, 0, 1, &line), 10_000).flatten().collect();
    let [first, second] = after(&[frame(HEADERS, 0, 1, &STATUS_200), endless].concat()).await;
    assert!(first.is_err() && second.is_err(), "{first:?} {second:?}");
}

#[tokio::test]
async fn a_connection_that_is_wrong_ends() {
    let whole = frame(HEADERS, END_HEADERS | END_STREAM, 1, &STATUS_200);
    let goaway = frame(GOAWAY, 0, 0, &[&1u32.to_be_bytes()[..], &2u32.to_be_bytes()].concat());
    let upper = fields(&[(":status", "200"), ("X-Upper", "1")]);
    for (wrong, bytes) in [
        ("HPACK", frame(HEADERS, END_HEADERS, 1, &[0xff; 16])),
        ("a name in upper case", frame(HEADERS, END_HEADERS, 1, &upper)),
        ("DATA before a head", frame(DATA, 0, 1, b"x")),
        ("DATA on an idle stream", frame(DATA, 0, 9, b"x")),
        ("HEADERS on an idle stream", frame(HEADERS, END_HEADERS, 9, &STATUS_200)),
        ("a promise", frame(PUSH_PROMISE, END_HEADERS, 1, &[&2u32.to_be_bytes()[..], &STATUS_200].concat())),
        ("a window too large", frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes())),
        ("a frame too large", frame(DATA, 0, 1, &[0; 20_000])),
        ("SETTINGS of no length", frame(SETTINGS, 0, 0, &[0; 5])),
        ("HTTP/1.1", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec()),
        ("the end", [whole, goaway].concat()),
    ] {
        let [_, second] = after(&bytes).await;
        assert!(second.is_err(), "{wrong}: {second:?}");
    }
}

#[tokio::test]
async fn floods_are_read_over() {
    for flood in [frame(SETTINGS, 0, 0, &[]), frame(PING, 0, 0, &[0; 8])] {
        let (mut client, mut server) = opened().await;
        let [_first, mut second] = asked(&mut client, &mut server).await;
        let good = frame(HEADERS, END_HEADERS | END_STREAM, 3, &STATUS_200);
        let (mut reads, mut writes) = tokio::io::split(server);
        tokio::spawn(async move { while read_frame(&mut reads).await.is_some() {} });
        writes.write_all(&[flood.repeat(10_000), good].concat()).await.expect("sent");
        let answer = read(&mut second).await;
        assert!(answer.is_ok(), "{answer:?}");
    }
}

#[tokio::test]
async fn what_a_goaway_says_of_streams_is_believed() {
    let last_is_1 = frame(GOAWAY, 0, 0, &[&1u32.to_be_bytes()[..], &0u32.to_be_bytes()].concat());
    let (mut client, mut server) = opened().await;
    let [mut first, mut second] = asked(&mut client, &mut server).await;
    server.write_all(&last_is_1).await.expect("sent");
    assert_eq!(read(&mut second).await, Err(Fate::Unprocessed));
    assert!(client.is_over() && client.stream().is_none(), "no more requests");
    server.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &STATUS_200)).await.expect("sent");
    assert!(read(&mut first).await.is_ok(), "what it took it answers");
    // A connection that just ends says nothing.
    let (mut client, mut server) = opened().await;
    let [mut first, _second] = asked(&mut client, &mut server).await;
    drop(server);
    assert_eq!(read(&mut first).await, Err(Fate::Unknown));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_answers_no_ping_is_none_or_is_dead() {
    let (near, mut far) = duplex(1 << 20);
    let reading = tokio::spawn(async move { while read_frame(&mut far).await.is_some() {} });
    assert!(tokio::time::timeout(PATIENCE, connect(near, false)).await.is_err(), "nothing says that it speaks HTTP/2");
    reading.abort();
    // This one answered once.
    const EVERY: Duration = Duration::from_secs(2);
    let (mut client, connection, mut server) = open().await;
    let from = Instant::now();
    let running = tokio::spawn(connection.run(Some(EVERY)));
    let [mut first, _second] = asked(&mut client, &mut server).await;
    assert_eq!(read(&mut first).await, Err(Fate::Unknown));
    assert_eq!(running.await.expect("no panic").expect_err("dead").kind(), ErrorKind::TimedOut);
    assert_eq!(from.elapsed().as_millis(), (2 * EVERY).as_millis());
    assert!(client.is_over());
}
