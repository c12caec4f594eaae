//! A client's bytes of HTTP/2 behind its preface. Whatever they are, each stream reads as one head that ends where the
//! parser says, and no field brings a line of its own; and nothing panics.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use triad_http1::RequestHead;
use triad_http2::{Server, Stream};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-sum: 1\r\n\r\n";
/// More than any input is.
const PIPE_BYTES: usize = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let (mut client, far) = duplex(PIPE_BYTES);
        client.write_all(PREFACE).await.expect("room");
        client.write_all(bytes).await.expect("room");
        client.shutdown().await.expect("an end");
        let Ok(mut server) = Server::handshake(far).await else { return };
        while let Some(stream) = server.accept().await {
            tokio::spawn(serve(stream));
        }
    });
});

async fn serve(mut stream: Stream) {
    let mut text = Vec::new();
    let mut head = RequestHead::default();
    let parsed = loop {
        match head.parse(&text) {
            Ok(None) => {}
            parsed => break parsed,
        }
        if !matches!(stream.read_buf(&mut text).await, Ok(1..)) {
            return;
        }
    };
    if let Ok(Some(length)) = parsed {
        let end = text.windows(4).position(|window| window == b"\r\n\r\n").expect("an end") + 4;
        assert_eq!(end, length, "a field brought an empty line");
        let lines = text[..length].split(|byte| *byte == b'\n').count();
        // The request line, the fields, the empty line, and nothing behind it.
        assert_eq!(lines, head.fields.len() + 3, "a field brought a line");
    }
    let _ = stream.write_all(ANSWER).await;
    let _ = stream.shutdown().await;
    let _ = stream.read_to_end(&mut text).await;
}
