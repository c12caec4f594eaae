//! What holds of any stream to a server: messages cross whole, however they are written; nobody is made to remember
//! more than the bounds; and no more are open than the server allows.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, duplex};
use triad_http1::{BodyReader, Method, ResponseHead, write_chunk, write_last_chunk};
use triad_http2::limits::{SEND_BUFFER_BYTES_MAX, STREAMS_MAX};
use triad_http2::{Client, ClientStream, Server, connect};

use super::bed::{read_request, serve};

/// A body in HTTP/1.1: by its length, or in chunks of a size with trailers.
#[derive(Clone, Debug)]
struct Body {
    payload: Vec<u8>,
    chunk: Option<usize>,
    trailers: Vec<String>,
}

impl Body {
    fn any() -> impl Strategy<Value = Self> {
        let payload =
            prop_oneof![prop::collection::vec(any::<u8>(), 0..300), (0usize..300_000).prop_map(|n| vec![7; n])];
        let trailers = prop::collection::vec("x-[a-z]{1,8}: [a-z]{0,9}", 0..3);
        (payload, prop::option::of(1usize..50_000), trailers).prop_map(|(payload, chunk, trailers)| {
            let trailers = if chunk.is_some() { trailers } else { Vec::new() };
            Self { payload, chunk, trailers }
        })
    }

    /// A message that begins with `line`.
    fn message(&self, line: &str) -> Vec<u8> {
        let mut out = format!("{line}\r\nhost: www.foobar.com\r\n").into_bytes();
        let Some(chunk) = self.chunk else {
            out.extend(format!("content-length: {}\r\n\r\n", self.payload.len()).into_bytes());
            out.extend(&self.payload);
            return out;
        };
        out.extend(b"transfer-encoding: chunked\r\n\r\n");
        self.payload.chunks(chunk).for_each(|part| write_chunk(&mut out, part));
        let lines: Vec<String> = self.trailers.iter().map(|line| format!("{line}\r\n")).collect();
        write_last_chunk(&mut out, lines.iter().map(|line| line.as_bytes()));
        out
    }

    /// Its trailers as they may come: in the order of their names' first lines, without blanks at the end.
    fn sorted(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.trailers.iter().map(|line| line.trim_end().to_owned()).collect();
        lines.sort();
        lines
    }
}

/// Writes `message`, the head and then pieces of `piece` bytes, while `read` is waited for.
async fn exchange(stream: &mut ClientStream, message: &[u8], piece: usize) -> (Vec<u8>, Vec<String>) {
    let head = message.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
    let mut pieces = std::iter::once(&message[..head]).chain(message[head..].chunks(piece)).peekable();
    let (mut bytes, mut memory) = (Vec::new(), vec![0; 10_000]);
    poll_fn(|context| {
        while let Some(next) = pieces.peek() {
            match Pin::new(&mut *stream).poll_write(context, next) {
                Poll::Ready(written) => {
                    assert_eq!(written.expect("room"), next.len());
                    pieces.next();
                }
                Poll::Pending => break,
            }
        }
        let _ = stream.poll_push(context);
        loop {
            let mut buffer = ReadBuf::new(&mut memory);
            match Pin::new(&mut *stream).poll_read(context, &mut buffer) {
                Poll::Ready(read) => read.expect("an answer"),
                Poll::Pending => return Poll::Pending,
            }
            if buffer.filled().is_empty() {
                return Poll::Ready(());
            }
            bytes.extend_from_slice(buffer.filled());
        }
    })
    .await;
    assert!(stream.is_over(), "both have said all");
    taken_apart(&bytes)
}

/// Payload and trailers of an answer.
fn taken_apart(bytes: &[u8]) -> (Vec<u8>, Vec<String>) {
    let mut head = ResponseHead::default();
    let mut at = head.parse(bytes).expect("an answer").expect("whole");
    let mut reader = BodyReader::new(head.framing(Method::Post));
    let mut payload = Vec::new();
    while !reader.is_done() {
        let piece = reader.next(&bytes[at..]).expect("a body");
        payload.extend_from_slice(&bytes[at..][piece.payload]);
        at += piece.consumed;
    }
    assert_eq!(at, bytes.len(), "nothing follows");
    (payload, lines(&String::from_utf8_lossy(reader.trailers())))
}

fn lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.sort();
    lines
}

async fn crosses(request: Body, answer: Body, piece: usize) {
    let (near, far) = duplex(64 * 1024);
    let (expected, response) = (request.clone(), answer.message("HTTP/1.1 200 OK"));
    let serving = tokio::spawn(async move {
        let server = Server::handshake_with_edge(far).await.expect("a connection");
        serve(server, move |mut stream| {
            let (expected, response) = (expected.clone(), response.clone());
            async move {
                let (_, body, trailers) = read_request(&mut stream).await.expect("a request");
                assert!(body == expected.payload, "{} bytes came", body.len());
                assert_eq!(lines(&trailers), expected.sorted());
                stream.write_all(&response).await.expect("sent");
                stream.shutdown().await.expect("the end");
            }
        })
        .await;
    });
    let (mut client, connection) = connect(near, true).await.expect("a connection");
    tokio::spawn(connection.run(None));
    let mut stream = client.stream().expect("room");
    let (payload, trailers) = exchange(&mut stream, &request.message("POST / HTTP/1.1"), piece).await;
    assert!(payload == answer.payload, "{} bytes came back", payload.len());
    assert_eq!(trailers, answer.sorted());
    drop((stream, client));
    serving.await.expect("no panic");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn messages_cross_as_they_were_written(request in Body::any(), answer in Body::any(), piece in 1usize..70_000) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        // A byte at a time would take long for long ones.
        let piece = piece.max(request.payload.len() / 1000 + 1);
        runtime.block_on(crosses(request, answer, piece));
    }
}

/// A server that takes so many streams at one time and answers none.
async fn silent(streams: u32) -> Client {
    let (near, far) = duplex(64 * 1024);
    tokio::spawn(async move {
        let mut server =
            h2::server::Builder::new().max_concurrent_streams(streams).handshake::<_, Bytes>(far).await.expect("one");
        let mut kept = Vec::new();
        while let Some(Ok(stream)) = server.accept().await {
            kept.push(stream);
        }
    });
    let (client, connection) = connect(near, false).await.expect("a connection");
    tokio::spawn(connection.run(None));
    client
}

#[tokio::test]
async fn no_more_streams_are_open_than_either_end_allows() {
    for (allowed, expected) in [(3, 3), (1_000_000, STREAMS_MAX as usize), (0, 0)] {
        let mut client = silent(allowed).await;
        let mut open: Vec<_> = std::iter::from_fn(|| client.stream()).collect();
        assert_eq!((open.len(), client.open_streams()), (expected, expected));
        if open.pop().is_some() {
            assert!(client.stream().is_some(), "one went");
        }
    }
}

#[tokio::test]
async fn a_body_that_nobody_reads_is_not_gathered() {
    let mut client = silent(10).await;
    let mut stream = client.stream().expect("room");
    let head = b"POST / HTTP/1.1\r\nhost: www.foobar.com\r\ncontent-length: 100000000\r\n\r\n";
    stream.write_all(head).await.expect("sent");
    let mut written = 0;
    while tokio::time::timeout(std::time::Duration::from_millis(200), stream.write_all(&[7; 10_000])).await.is_ok() {
        written += 10_000;
        // The server's window is 64 KiB, as `h2` has it; one write waits.
        assert!(written < 2 * SEND_BUFFER_BYTES_MAX + 10_000, "{written} bytes were taken");
    }
    assert!(stream.holds_back());
}

#[tokio::test]
async fn a_dropped_stream_is_broken_off_as_not_wanted() {
    let (near, far) = duplex(64 * 1024);
    let opening = async {
        let (client, connection) = connect(near, false).await.expect("a connection");
        (client, tokio::spawn(connection.run(None)))
    };
    // Nothing moves at either end that nobody waits for.
    let accepting = async {
        let mut server = h2::server::handshake::<_>(far).await.expect("a connection");
        let first = server.accept().await.expect("a stream").expect("a request");
        (server, first)
    };
    let asking = async {
        let (mut client, connection) = opening.await;
        let mut stream = client.stream().expect("room");
        stream.write_all(b"GET / HTTP/1.1\r\nhost: www.foobar.com\r\n\r\n").await.expect("sent");
        (client, connection, stream)
    };
    let ((mut server, (_request, mut respond)), (client, connection, stream)) = tokio::join!(accepting, asking);
    drop(stream);
    tokio::spawn(async move { while server.accept().await.is_some() {} });
    let reason = poll_fn(|context| respond.poll_reset(context)).await.expect("a reason");
    assert_eq!(reason, h2::Reason::CANCEL);
    drop(client);
    connection.await.expect("no panic").expect("it ends when nobody needs it");
}
