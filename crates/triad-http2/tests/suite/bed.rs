//! A client and a server, joined in memory.

use std::future::{Future, poll_fn};

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use triad_http1::{BodyReader, RequestHead};
use triad_http2::{Server, Stream};

/// A server, and a client whose own connection is driven in the background.
pub async fn pair(client: &h2::client::Builder) -> (Server<DuplexStream>, SendRequest<Bytes>) {
    let (near, far) = duplex(64 * 1024);
    let (server, client) = tokio::join!(Server::handshake(far), client.handshake(near));
    let (requests, connection) = client.expect("a client");
    tokio::spawn(async { _ = connection.await });
    (server.expect("a server"), requests)
}

/// Serves every stream with `serve` until the connection is over.
pub async fn serve<F: Future<Output = ()> + Send + 'static>(
    mut server: Server<DuplexStream>,
    serve: impl Fn(Stream) -> F,
) {
    while let Some(stream) = server.accept().await {
        tokio::spawn(serve(stream));
    }
}

/// A request to `path`, for which the client is ready.
pub fn request(method: &str, path: &str) -> http::Request<()> {
    let uri = format!("https://www.foobar.com{path}");
    http::Request::builder().method(method).uri(uri).body(()).expect("a request")
}

/// Reads a request whole, as a server of HTTP/1.1 would: its head, its body as payload, its trailers. The error is what
/// the parser refuses.
pub async fn read_request(stream: &mut Stream) -> Result<(String, Vec<u8>, String), String> {
    let mut bytes = Vec::new();
    let mut head = RequestHead::default();
    let length = loop {
        match head.parse(&bytes) {
            Ok(Some(length)) => break length,
            Ok(None) => fill(stream, &mut bytes).await?,
            Err(refusal) => return Err(refusal.to_string()),
        }
    };
    let text = String::from_utf8_lossy(&bytes[..length]).replace("\r\n", "\n");
    let mut rest = bytes.split_off(length);
    let mut reader = BodyReader::new(head.framing);
    let mut body = Vec::new();
    while !reader.is_done() {
        if rest.is_empty() {
            fill(stream, &mut rest).await?;
        }
        let piece = reader.next(&rest).map_err(|refusal| refusal.to_string())?;
        body.extend_from_slice(&rest[piece.payload]);
        rest.drain(..piece.consumed);
    }
    assert!(rest.is_empty(), "more than the request: {rest:?}");
    let trailers = String::from_utf8_lossy(reader.trailers()).replace("\r\n", "\n");
    Ok((text, body, trailers))
}

async fn fill(stream: &mut Stream, bytes: &mut Vec<u8>) -> Result<(), String> {
    match stream.read_buf(bytes).await {
        Ok(0) => Err("the end".to_owned()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.kind().to_string()),
    }
}

/// Sends `body` as far as the server lets it.
pub async fn send_body(send: &mut h2::SendStream<Bytes>, mut body: Bytes, ends: bool) {
    while !body.is_empty() {
        send.reserve_capacity(body.len());
        let room = match send.capacity() {
            0 => poll_fn(|context| send.poll_capacity(context)).await.expect("an open stream").expect("room"),
            room => room,
        };
        let part = body.split_to(room.min(body.len()));
        send.send_data(part, false).expect("sent");
    }
    if ends {
        send.send_data(Bytes::new(), true).expect("ended");
    }
}
