//! A server's bytes of HTTP/2, behind its settings and the PING it answers. Whatever they are, each stream reads as heads
//! that end where the parser says, and no field brings a line of its own; and nothing panics.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use triad_http1::ResponseHead;
use triad_http2::{ClientStream, connect};

const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
const REQUESTS: [&[u8]; 3] = [
    b"GET / HTTP/1.1\r\nhost: www.foobar.com\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nhost: www.foobar.com\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: www.foobar.com\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-sum: 1\r\n\r\n",
];
const HEADERS: u8 = 1;
const PING: u8 = 6;
/// More than any input is.
const PIPE_BYTES: usize = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let (near, mut server) = duplex(PIPE_BYTES);
        let (opened, ()) = tokio::join!(connect(near, false), answer_ping(&mut server));
        let Ok((mut client, connection)) = opened else { return };
        let connection = tokio::spawn(connection.run(None));
        let mut streams = Vec::new();
        for request in REQUESTS {
            let mut stream = client.stream().expect("room");
            stream.write_all(request).await.expect("room");
            while read_frame(&mut server).await.0 != HEADERS {}
            streams.push(stream);
        }
        server.write_all(bytes).await.expect("room");
        server.shutdown().await.expect("an end");
        for stream in streams {
            judge(stream).await;
        }
        drop(client);
        let _ = connection.await.expect("no panic");
    });
});

async fn answer_ping(server: &mut DuplexStream) {
    server.read_exact(&mut [0; 24]).await.expect("a preface");
    server.write_all(SETTINGS).await.expect("room");
    loop {
        let (kind, payload) = read_frame(server).await;
        if kind == PING {
            server.write_all(b"\0\0\x08\x06\x01\0\0\0\0").await.expect("room");
            return server.write_all(&payload).await.expect("room");
        }
    }
}

async fn read_frame(server: &mut DuplexStream) -> (u8, Vec<u8>) {
    let mut head = [0; 9];
    server.read_exact(&mut head).await.expect("a frame");
    let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    server.read_exact(&mut payload).await.expect("its payload");
    (head[3], payload)
}

async fn judge(mut stream: ClientStream) {
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text).await;
    let mut at = 0;
    let mut head = ResponseHead::default();
    while let Ok(Some(length)) = head.parse(&text[at..]) {
        let end = text[at..].windows(4).position(|window| window == b"\r\n\r\n").expect("an end") + 4;
        assert_eq!(end, length, "a field brought an empty line");
        let lines = text[at..at + length].split(|byte| *byte == b'\n').count();
        // The status line, the fields, the empty line, and nothing behind it.
        assert_eq!(lines, head.fields.len() + 3, "a field brought a line");
        at += length;
        if !head.is_interim() {
            return;
        }
    }
}
